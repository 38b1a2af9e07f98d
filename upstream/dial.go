package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// newHTTPTransport returns a transport that connects only where p allows. The
// address is checked after the name was resolved and is the one that is connected
// to, so a name that resolves to something else a moment later changes nothing.
func newHTTPTransport(p places, o *ClientOptions) *http.Transport {
	t := &http.Transport{
		DialContext:            dialer(p, o.Resolver),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true, // identity only: see exchange
		MaxConnsPerHost:        o.MaxConnections,
		MaxIdleConnsPerHost:    o.MaxConnections,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  o.Timing.Head,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ForceAttemptHTTP2:      true,
	}
	if o.Proxy != nil {
		t.Proxy = http.ProxyURL(o.Proxy)
	}
	return t
}

func dialer(p places, resolver *net.Resolver) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, hostPortDialed string) (net.Conn, error) {
		d := net.Dialer{
			Timeout:  dialTimeout,
			Resolver: resolver,
			Control: func(_, address string, _ syscall.RawConn) error {
				ap, err := netip.ParseAddrPort(address)
				if err != nil {
					return fmt.Errorf("reading the resolved address `%s`: %w", address, err)
				}
				return p.checkDial(hostPortDialed, ap.Addr())
			},
		}
		return d.DialContext(ctx, network, hostPortDialed)
	}
}

// checkRedirect lets nothing but content be redirected, and that at most
// maxContentRedirects times, each target judged like a content source. It is the
// client's CheckRedirect; which exchange may be redirected stands in its context.
func checkRedirect(p places, h *hosts) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		if !redirectable(next.Context()) {
			return refuse(ClassAnswer, "answered with a redirect to `%s`", next.URL.Redacted())
		}
		if len(via) > maxContentRedirects {
			return refuse(ClassAnswer, "redirected more than %d times", maxContentRedirects)
		}
		if err := p.checkURL(next.URL); err != nil {
			return err
		}
		next.Header.Del("Authorization")
		return h.pass(next.URL, time.Now())
	}
}

type redirectKey struct{}

func withRedirects(ctx context.Context) context.Context {
	return context.WithValue(ctx, redirectKey{}, true)
}

func redirectable(ctx context.Context) bool {
	ok, _ := ctx.Value(redirectKey{}).(bool)
	return ok
}

// parseOrigin reads the configured base URL; a path is a mount point.
func parseOrigin(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading base URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("base URL `%s` is not an http or https URL without user and query", u.Redacted())
	}
	if len(u.Path) == 0 || u.Path[len(u.Path)-1] != '/' {
		u.Path += "/"
		u.RawPath = ""
	}
	return u, nil
}
