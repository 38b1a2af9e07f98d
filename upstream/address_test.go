package upstream

import (
	"net/netip"
	"net/url"
	"testing"
)

func TestReachOf(t *testing.T) {
	cases := map[string]reach{
		"1.1.1.1": reachPublic, "8.8.8.8": reachPublic, "2606:4700::1111": reachPublic, "172.32.0.1": reachPublic, "11.0.0.1": reachPublic,
		"10.0.0.1": reachPrivate, "10.255.255.255": reachPrivate, "172.16.0.1": reachPrivate, "172.31.255.255": reachPrivate,
		"192.168.1.1": reachPrivate, "100.64.0.1": reachPrivate, "100.127.255.255": reachPrivate, "fc00::1": reachPrivate, "fd12::1": reachPrivate,
		"198.18.0.1": reachPrivate, "fec0::1": reachPrivate,
		"127.0.0.1": reachLocal, "127.255.255.254": reachLocal, "::1": reachLocal, "::ffff:127.0.0.1": reachLocal,
		"169.254.169.254": reachLink, "fe80::1": reachLink, "fe80::1%eth0": reachLink, "::ffff:169.254.169.254": reachLink,
		"fd00:ec2::254": reachLink, "168.63.129.16": reachLink, "100.100.100.200": reachLink,
		"0.0.0.0": reachNever, "0.1.2.3": reachNever, "::": reachNever, "224.0.0.1": reachNever, "255.255.255.255": reachNever, "ff02::1": reachNever,
		"192.0.2.1": reachNever, "2001:db8::1": reachNever, "100::1": reachNever,
		"64:ff9b::7f00:1": reachLocal, "64:ff9b::a00:1": reachPrivate, "64:ff9b::808:808": reachPublic, "64:ff9b::a9fe:a9fe": reachLink,
		"2002:7f00:1::": reachLocal, "2002:a00:1::": reachPrivate, "2002:808:808::": reachPublic,
		"::127.0.0.1": reachLocal, "::10.0.0.1": reachPrivate,
		"2001:0:808:808:0:0:80ff:fffe": reachLocal, // Teredo, the client is 127.0.0.1
	}
	for text, want := range cases {
		if got := reachOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %d; want %d", text, got, want)
		}
	}
	if reachOf(netip.Addr{}) != reachNever {
		t.Error("no address")
	}
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCheckURL(t *testing.T) {
	public := places{origin: mustURL(t, "https://warg.example/base/")}
	private := places{origin: mustURL(t, "http://10.1.2.3:8090/"), allowPrivate: true}
	local := places{origin: mustURL(t, "http://localhost:8090/"), allowPrivate: true}
	privateTLS := places{origin: mustURL(t, "https://warg.corp/"), allowPrivate: true}
	cases := []struct {
		from places
		url  string
		ok   bool
	}{
		{public, "https://warg.example/content/x", true},
		{public, "https://warg.example:443/content/x", true},
		{public, "https://WARG.example/content/x", true},
		{public, "https://cdn.example/x", true},
		{public, "https://cdn.example:443/x", true},
		{public, "https://1.1.1.1/x", true},
		{public, "http://warg.example/content/x", false},
		{public, "http://cdn.example/x", false},
		{public, "https://cdn.example:22/x", false},
		{public, "https://cdn.example:6379/x", false},
		{public, "https://warg.example:8443/x", false},
		{public, "https://127.0.0.1/x", false},
		{public, "https://[::1]/x", false},
		{public, "https://[::ffff:127.0.0.1]/x", false},
		{public, "https://10.0.0.1/x", false},
		{public, "https://169.254.169.254/x", false},
		{public, "https://0.0.0.0/x", false},
		{public, "https://2130706433/x", false},
		{public, "https://0177.0.0.1/x", false},
		{public, "https://0x7f.0.0.1/x", false},
		{public, "https://0x7f000001/x", false},
		{public, "https://127.1/x", false},
		{public, "https://127.0.0.1./x", false},
		{public, "https://[fe80::1%25eth0]/x", false},
		{public, "https://user@cdn.example/x", false},
		{public, "https://user:pass@warg.example/x", false},
		{public, "https:///x", false},
		{public, "ftp://cdn.example/x", false},
		{public, "file:///etc/passwd", false},
		{public, "gopher://cdn.example/x", false},
		{public, "javascript:alert(1)", false},
		{public, "//cdn.example/x", false},
		{public, "https://ⓛocalhost/x", false},
		{private, "http://10.1.2.3:8090/content/x", true},
		{private, "http://10.9.9.9/x", true},
		{private, "http://store.corp:9000/x", true},
		{private, "http://127.0.0.1:9000/x", false},
		{private, "http://169.254.169.254/x", false},
		{private, "https://cdn.example/x", true},
		{local, "http://127.0.0.1:9000/x", true},
		{local, "http://169.254.169.254/x", false},
		{privateTLS, "http://store.corp/x", false},
		{privateTLS, "https://10.0.0.1/x", true},
	}
	for _, c := range cases {
		err := c.from.checkURL(mustURL(t, c.url))
		if (err == nil) != c.ok {
			t.Errorf("%s for an upstream at %s: %v", c.url, c.from.origin, err)
		}
		if err != nil && ClassOf(err) != ClassAddress {
			t.Errorf("%s: class %s", c.url, ClassOf(err))
		}
	}
}

// TestCheckDial: what counts is the address that a name resolved to.
func TestCheckDial(t *testing.T) {
	public := places{origin: mustURL(t, "https://warg.example/")}
	private := places{origin: mustURL(t, "https://warg.corp/"), allowPrivate: true}
	local := places{origin: mustURL(t, "http://[::1]:8090/"), allowPrivate: true}
	proxied := places{origin: mustURL(t, "https://warg.example/"), proxied: true}
	cases := []struct {
		from   places
		dialed string
		addr   string
		ok     bool
	}{
		{public, "warg.example:443", "1.1.1.1", true},
		{public, "warg.example:443", "127.0.0.1", false},
		{public, "warg.example:443", "10.0.0.1", false},
		{public, "warg.example:443", "169.254.169.254", false},
		{public, "cdn.example:443", "1.1.1.1", true},
		{public, "cdn.example:443", "192.168.0.1", false},
		{private, "warg.corp:443", "10.0.0.1", true},
		{private, "WARG.corp:443", "127.0.0.1", true},
		{private, "warg.corp:443", "0.0.0.0", false},
		{private, "store.corp:443", "10.0.0.2", true},
		{private, "store.corp:443", "127.0.0.1", false},
		{private, "store.corp:443", "169.254.169.254", false},
		{private, "warg.corp:6379", "127.0.0.1", false},
		{local, "[::1]:8090", "::1", true},
		{local, "localhost:9000", "127.0.0.1", true},
		{proxied, "proxy.corp:3128", "10.0.0.3", true},
		{proxied, "proxy.corp:3128", "224.0.0.1", false},
	}
	for _, c := range cases {
		err := c.from.checkDial(c.dialed, netip.MustParseAddr(c.addr))
		if (err == nil) != c.ok {
			t.Errorf("%s at %s for an upstream at %s: %v", c.dialed, c.addr, c.from.origin, err)
		}
	}
}

// FuzzCheckURL: whatever a URL looks like, one that is let through leads to no
// address that an upstream may not send us to.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://cdn.example/x", "https://127.0.0.1/x", "https://[::1]/", "https://0x7f.1/", "https://2130706433/", "https://a@b/",
		"http://warg.example/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a9fe:a9fe]/", "//x", "file:///x", "https://127.0.0.1.:443/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		p := places{origin: &url.URL{Scheme: "https", Host: "warg.example", Path: "/"}}
		if p.checkURL(u) != nil {
			return
		}
		if u.Scheme != "https" || u.User != nil || u.Hostname() == "" {
			t.Errorf("%q was let through", text)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && reachOf(a) != reachPublic {
			t.Errorf("%q leads to %s", text, a)
		}
	})
}
