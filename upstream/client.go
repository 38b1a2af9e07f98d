package upstream

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// ClientOptions say how a remote registry is reached.
type ClientOptions struct {
	Domain   string // the registry's name, what Domain returns
	URL      string // base URL; API paths are joined to it, a path is a mount point
	OnBehalf string // sent as Warg-Registry; "" for the registry's own answers

	// Token is sent as a bearer token with API calls, and nowhere else: not with
	// content, not with uploads, not to another origin.
	Token string

	// AllowPrivateAddresses permits a registry on loopback or a private network.
	AllowPrivateAddresses bool
	RootCAs               *x509.CertPool // nil = the system's
	Proxy                 *url.URL       // HTTP proxy, which then resolves the names; nil = none
	MaxConnections        int            // 0 = DefaultMaxConnections
	MaxBandwidth          int64          // bytes a second of all answers together, 0 = not limited
	MaxContent            int64          // bytes of one content, 0 = DefaultMaxContent
	TempDir               string         // where Open keeps content while it is read, "" = os.TempDir
	Timing                Timing
	Resolver              *net.Resolver // nil = the system's
}

// DefaultMaxConnections is how many connections to one registry are open at a time
// if the options do not say.
const DefaultMaxConnections = 8

// Client is a remote registry as it presents itself; nothing it returns was
// verified. It implements [warg.Registry] and [warg.Publisher], is safe for
// concurrent use, and retries nothing.
//
// Errors are [*warg.Error]: what the registry answered, and besides
//
//	KindUnavailable      it cannot be reached, or the connection broke
//	KindUpstreamTimeout  it did not answer in time, or too slowly
//	KindUpstreamInvalid  the answer is not one of the protocol; see [ClassOf]
type Client struct {
	o      ClientOptions
	places places
	http   *http.Client
	line   *bandwidth // nil = not limited
	hosts  *hosts
}

var (
	_ warg.Registry  = (*Client)(nil)
	_ warg.Publisher = (*Client)(nil)
	_ Transport      = (*Client)(nil)
)

// NewClient returns a client for the registry. It connects to nothing yet.
func NewClient(o ClientOptions) (*Client, error) {
	origin, err := parseOrigin(o.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream `%s`: %w", o.Domain, err)
	}
	if o.OnBehalf != "" {
		if _, err := api.ParseDomain(o.OnBehalf); err != nil {
			return nil, err
		}
	}
	if o.Proxy != nil && o.Proxy.Scheme != "http" && o.Proxy.Scheme != "https" {
		return nil, errors.New("the proxy's URL must begin with http:// or https://")
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = DefaultMaxConnections
	}
	if o.MaxContent <= 0 {
		o.MaxContent = DefaultMaxContent
	}
	o.Timing = o.Timing.withDefaults()
	p := places{origin, o.AllowPrivateAddresses, o.Proxy != nil}
	h := new(hosts)
	c := &http.Client{Transport: newHTTPTransport(p, &o), CheckRedirect: checkRedirect(p, h)}
	return &Client{o, p, c, newBandwidth(o.MaxBandwidth), h}, nil
}

// Domain implements [warg.Registry].
func (c *Client) Domain() string { return c.o.Domain }

// Close closes idle connections. Exchanges under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// url joins a relative path to the base URL.
func (c *Client) url(path string) string {
	return c.places.origin.String() + path
}
