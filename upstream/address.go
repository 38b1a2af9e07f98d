package upstream

import (
	"net/netip"
	"net/url"
	"strings"
)

// reach orders networks by how much harm a connection into them can do. An
// upstream chooses the URLs of its content, so without a rule it could make us
// talk to anything that we can reach and it cannot.
type reach uint8

const (
	reachPublic  reach = iota
	reachPrivate       // private and shared networks
	reachLocal         // this machine
	reachLink          // link-local, where cloud machines answer with credentials
	reachNever         // no host at all
)

var (
	privateNets = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
		"198.18.0.0/15", "192.0.0.0/24", "fec0::/10")
	linkNets  = prefixes("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "168.63.129.16/32", "100.100.100.200/32")
	neverNets = prefixes("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8", "::/128", "100::/64",
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
	// embeddingNets carry an IPv4 address in their last, or in inner, bytes.
	nat64Nets = prefixes("64:ff9b::/96", "64:ff9b:1::/48")
	sixToFour = netip.MustParsePrefix("2002::/16")
	teredo    = netip.MustParsePrefix("2001::/32")
	v4compat  = netip.MustParsePrefix("::/96")
)

func prefixes(text ...string) []netip.Prefix {
	nets := make([]netip.Prefix, len(text))
	for i, t := range text {
		nets[i] = netip.MustParsePrefix(t)
	}
	return nets
}

func within(a netip.Addr, nets []netip.Prefix) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// reachOf classifies an address, looking through every form in which an IPv6
// address stands for an IPv4 one.
func reachOf(a netip.Addr) reach {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return reachNever
	case a.IsLoopback():
		return reachLocal
	case within(a, linkNets):
		return reachLink
	case within(a, neverNets):
		return reachNever
	case within(a, privateNets):
		return reachPrivate
	}
	if inner, ok := embeddedIPv4(a); ok {
		return reachOf(inner)
	}
	return reachPublic
}

// embeddedIPv4 returns the IPv4 address to which a translator or tunnel would
// deliver what is sent to a.
func embeddedIPv4(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case within(a, nat64Nets), v4compat.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case teredo.Contains(a): // the client's address, inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	}
	return netip.Addr{}, false
}

// places decides which URLs and addresses may be connected to on behalf of one
// upstream.
type places struct {
	origin       *url.URL // the configured base URL
	allowPrivate bool     // the operator said that it may be on a private network
	proxied      bool     // the connections go to a proxy that the operator configured
}

// hostPort returns the address that a URL is dialed at.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// isOrigin reports whether u is at the origin that credentials were configured for.
func (p places) isOrigin(u *url.URL) bool {
	return u.Scheme == p.origin.Scheme && hostPort(u) == hostPort(p.origin)
}

// checkURL judges a URL that upstream gave before anything is dialed: a content
// source or the target of a redirect.
func (p places) checkURL(u *url.URL) error {
	host := u.Hostname()
	addr, addrErr := netip.ParseAddr(host)
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse(ClassAddress, "URL `%s`: the scheme must be http or https", u.Redacted())
	case u.User != nil:
		return refuse(ClassAddress, "URL `%s` carries a user name", u.Redacted())
	case host == "":
		return refuse(ClassAddress, "URL `%s` has no host", u.Redacted())
	case p.isOrigin(u):
		return nil
	case u.Scheme == "http" && !p.allowPrivate:
		return refuse(ClassAddress, "URL `%s` leaves https", u.Redacted())
	case u.Scheme == "http" && p.origin.Scheme == "https":
		return refuse(ClassAddress, "URL `%s` leaves https", u.Redacted())
	case !p.allowPrivate && u.Port() != "" && u.Port() != "443":
		return refuse(ClassAddress, "URL `%s`: another origin than `%s` may only be at port 443", u.Redacted(), p.origin.Host)
	case addrErr != nil && oddHost(host):
		return refuse(ClassAddress, "URL `%s`: not a host name", u.Redacted())
	case addrErr == nil:
		return p.checkForeign(addr)
	}
	return nil
}

// oddHost reports whether a host that is no address could still be read as one by
// some resolver: decimal, octal and hexadecimal forms, or with a zone.
func oddHost(host string) bool {
	last := strings.TrimSuffix(host, ".")
	if i := strings.LastIndexByte(last, '.'); i >= 0 {
		last = last[i+1:]
	}
	numeric := last != "" && strings.Trim(last, "0123456789") == ""
	hex := strings.HasPrefix(strings.ToLower(last), "0x")
	return numeric || hex || strings.ContainsAny(host, "%[]:@ ") || !isASCII(host)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// checkDial judges a resolved address at the moment of the connection. hostPort is
// what was to be dialed, before it was resolved.
func (p places) checkDial(hostPortDialed string, addr netip.Addr) error {
	own := p.proxied || strings.ToLower(hostPortDialed) == dialForm(hostPort(p.origin))
	r := reachOf(addr)
	switch {
	case !own:
		return p.checkForeign(addr)
	case r == reachNever:
		return refuse(ClassAddress, "`%s` resolves to %s, which is no host", hostPortDialed, addr)
	case r != reachPublic && !p.allowPrivate && !p.proxied:
		return refuse(ClassAddress, "`%s` resolves to %s, which is not a public address; set allow_private_addresses if it is meant", hostPortDialed, addr)
	}
	return nil
}

// dialForm writes an IPv6 host as net/http hands it to a dialer, in brackets.
func dialForm(hp string) string {
	i := strings.LastIndexByte(hp, ':')
	if strings.Contains(hp[:i], ":") {
		return "[" + hp[:i] + "]" + hp[i:]
	}
	return hp
}

// checkForeign judges the address of another origin than the configured one. It
// may be on a private network if the operator allows that for the upstream, on
// this machine only if the upstream itself is, and never link-local.
func (p places) checkForeign(addr netip.Addr) error {
	r := reachOf(addr)
	ok := r == reachPublic ||
		r == reachPrivate && p.allowPrivate ||
		r == reachLocal && p.allowPrivate && p.originIsLocal()
	if !ok {
		return refuse(ClassAddress, "%s is not an address that this upstream may send us to", addr)
	}
	return nil
}

func (p places) originIsLocal() bool {
	host := strings.ToLower(p.origin.Hostname())
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && reachOf(addr) == reachLocal
}
