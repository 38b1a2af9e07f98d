package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// check judges what only several settings together, or the disk, can tell.
func (c *Config) check(l *problems) {
	c.checkAddresses(l)
	c.checkAuthority(l)
	c.checkLimits(l)
	c.checkAccess(l)
	owners := c.ownNamespaces()
	for i := range c.Upstreams {
		c.checkUpstream(&c.Upstreams[i], l)
		c.checkNamespaces(&c.Upstreams[i], owners, l)
	}
}

func (c *Config) warn(at Source, format string, args ...any) {
	(*problems)(&c.Warnings).add(at, format, args...)
}

func (c *Config) checkAddresses(l *problems) {
	if isWildcard(c.Listen) && c.BaseURL == "" && !c.Set("base_url") {
		l.add(c.Where("listen"), "listen means every address of this machine, so base_url must say how clients reach it, for example \"https://pkg.example.com\"")
	}
	if c.Data == "" {
		l.add(c.Where("data"), "data must not be empty")
	}
	if c.TLS.CertFile != "" && c.TLS.KeyFile == "" {
		l.add(c.Where("tls", "cert_file"), "cert_file needs a key_file beside it")
	}
	if c.TLS.KeyFile != "" && c.TLS.CertFile == "" {
		l.add(c.Where("tls", "key_file"), "key_file needs a cert_file beside it")
	}
	c.wantFile(l, c.TLS.CertFile, "tls", "cert_file")
	c.wantFile(l, c.TLS.KeyFile, "tls", "key_file")
	u, err := url.Parse(c.BaseURL)
	switch plain := err == nil && u.Scheme == "http"; {
	case plain && c.TLS.CertFile != "":
		c.warn(c.Where("base_url"), "base_url begins with http://, but with [tls] only https is spoken here")
	case plain && !isLoopback(u.Hostname()):
		c.warn(c.Where("base_url"), "clients of the protocol refuse plain http except on loopback addresses")
	}
}

// wantFile complains if a file that is named is not there. Whether it can be read
// is seen when it is.
func (c *Config) wantFile(l *problems, file string, path ...string) {
	if file == "" {
		return
	}
	switch s, err := os.Stat(file); {
	case err != nil:
		l.add(c.Where(path...), "%s: %s does not exist", path[len(path)-1], file)
	case s.IsDir():
		l.add(c.Where(path...), "%s: %s is a folder, not a file", path[len(path)-1], file)
	}
}

func (c *Config) checkAuthority(l *problems) {
	a := &c.Authority
	if _, err := os.Stat(a.KeyFile); a.KeyFile != "" && err != nil {
		l.add(c.Where("authority", "key_file"), "key_file: %s does not exist; make a key with `entrepot key new --out %s`", a.KeyFile, a.KeyFile)
	}
	c.wantFile(l, a.PolicyFile, "authority", "policy_file")
	for i, peer := range a.Peers {
		switch u := c.upstream(peer); {
		case u == nil || u.Kind != KindWarg:
			l.add(c.Where("authority", "peers", itoa(i)), "peer `%s` is not an upstream of kind `warg` in this file", peer)
		case u.Offline:
			l.add(c.Where("authority", "peers", itoa(i)), "peer `%s` is offline in this file, so it could never be asked", peer)
		}
	}
	if c.BaseURL != "" && !c.Set("authority", "domain") {
		c.warn(c.Where("authority"), "authority.domain is not set, so this registry calls itself `%s`, for good once it has started", a.Domain)
	}
}

func (c *Config) checkLimits(l *problems) {
	if c.Limits.PendingPerKey > c.Limits.Pending {
		l.add(c.Where("limits", "pending_per_key"), "pending_per_key (%d) is more than pending (%d)", c.Limits.PendingPerKey, c.Limits.Pending)
	}
	if c.Limits.ConnectionsPerAddress > c.Limits.Connections {
		l.add(c.Where("limits", "connections_per_address"), "connections_per_address (%d) is more than connections (%d)", c.Limits.ConnectionsPerAddress, c.Limits.Connections)
	}
}

func (c *Config) checkAccess(l *problems) {
	a := &c.Access
	c.wantFile(l, a.UsersFile, "access", "users_file")
	c.wantFile(l, a.TokensFile, "access", "tokens_file")
	if a.Read == "authenticated" && a.UsersFile == "" && a.TokensFile == "" {
		l.add(c.Where("access", "read"), "read = \"authenticated\" needs a users_file or a tokens_file, else nobody could read")
	}
	for i, r := range a.Rules {
		for _, s := range []struct {
			key  string
			list []string
		}{{"who", r.Who}, {"repositories", r.Repositories}, {"can", r.Can}} {
			if len(s.list) == 0 && !c.Set("access", "rule", itoa(i), s.key) {
				l.add(c.Where("access", "rule", itoa(i)), "a rule needs `%s`", s.key)
			}
		}
	}
	for i, m := range c.Prefetch.DefaultManagers {
		if len(c.Prefetch.Managers) > 0 && !slices.Contains(c.Prefetch.Managers, m) {
			l.add(c.Where("prefetch", "default_managers", itoa(i)), "default manager `%s` is not among managers", m)
		}
	}
	c.wantFile(l, c.Bridge.KeyFile, "bridge", "key_file")
	for i, ns := range c.Bridge.Exclude {
		if !slices.Contains(c.Authority.Namespaces, ns) {
			c.warn(c.Where("bridge", "exclude", itoa(i)), "`%s` is not among authority.namespaces", ns)
		}
	}
}

func (c *Config) upstream(domain string) *Upstream {
	for i := range c.Upstreams {
		if c.Upstreams[i].Domain == domain {
			return &c.Upstreams[i]
		}
	}
	return nil
}

// isPrivate reports whether a host is written as an address that is not of the
// public internet. Names are judged when they are dialled.
func isPrivate(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return isLoopback(host)
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()
}

// ownAddress reports whether u leads to this very server: to base_url, or to the
// port we listen on at an address of this machine that we can tell from the file.
func (c *Config) ownAddress(u *url.URL) bool {
	if base, err := url.Parse(c.BaseURL); err == nil && base.Host != "" && strings.EqualFold(hostPort(base), hostPort(u)) {
		return strings.TrimSuffix(base.Path, "/") == strings.TrimSuffix(u.Path, "/")
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil || port == "0" {
		return false
	}
	_, theirs, _ := net.SplitHostPort(hostPort(u))
	same := host == u.Hostname() || isLoopback(u.Hostname()) && (isLoopback(host) || isWildcard(c.Listen))
	return same && port == theirs
}

// hostPort returns host:port of a URL with the port that its scheme implies.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
