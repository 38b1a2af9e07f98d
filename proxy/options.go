package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Own is our own registry.
type Own interface {
	warg.Registry
	warg.Publisher
}

// Upstream is a verified replica of another registry. If it is a
// [warg.Publisher] as well, records may be published through us.
type Upstream interface {
	warg.Registry

	// NameOf returns the name of a log that stands in the replicated ledger. It
	// asks nobody whether an unknown log exists.
	//
	//	KindLogNotFound  the log is not there, or has no name
	//
	// Any other error means that it is there and its name cannot be had now.
	NameOf(ctx context.Context, log warg.LogID) (warg.PackageName, error)
}

// Uploads takes content for records of other registries that are published through
// us. Who knows the capability may upload what it was given out for.
type Uploads interface {
	// Upload stores the content that a capability stands for, or hands it on.
	//
	//	KindNotFound  the capability does not hold, or does not any more
	//
	// and the kinds of [warg.Publisher].
	Upload(ctx context.Context, capability string, body io.Reader) error
}

// Options configure a [Server].
type Options struct {
	Own        Own
	Upstreams  map[string]Upstream // by domain, the value of the Warg-Registry header
	Namespaces map[string]string   // namespace -> domain of the upstream that clients are hinted to; see also SetNamespaces
	Uploads    Uploads             // where /v1/upload/… leads; nil: no capability holds

	// BaseURL is what absolute URLs handed to clients begin with, for example
	// "https://pkg.example.com/warg". Routes answer below its path as well.
	BaseURL string

	Limits Limits
	TLS    *tls.Config // nil: plain HTTP. Only HTTP/1.1 is spoken over it
	Log    *slog.Logger
	Now    func() time.Time            // nil: time.Now
	Ready  func(context.Context) error // why the server cannot serve; nil: always ready
	// Quarantined names the upstreams that are believed nothing more until the operator
	// decides. The server is ready all the same. nil: none.
	Quarantined func() []string
	Alive       func() error // why the process should be ended and started again; nil: never
	Version     string       // of the program, for people
	Admin       Admin
}

// Limits bound what clients can make the server do. A zero value means the
// default.
type Limits struct {
	Connections           int            // open at one time; 16384, and never more than descriptors allow
	ConnectionsPerAddress int            // of one IPv4 address or IPv6 /64; 1024
	TrustedProxies        []netip.Prefix // addresses exempt from ConnectionsPerAddress
	BodyMemory            int64          // bytes of all request bodies that are buffered at one time; 64 MiB
	ContentSize           int64          // bytes of one uploaded content; 256 MiB
	HeaderTimeout         time.Duration  // for a request head to arrive; 10 s
}

// Defaults of Limits, and bounds that are not configurable.
const (
	defaultConnections   = 16384
	defaultPerAddress    = 1024
	defaultBodyMemory    = 64 << 20
	defaultContentSize   = 256 << 20
	defaultHeaderTimeout = 10 * time.Second

	// idleTimeout is how long a connection may wait between requests.
	idleTimeout = 60 * time.Second

	// headBytes is the largest request head; real ones have about 500 bytes.
	headBytes = 16 << 10

	// requestsPerConn spreads long-lived connections anew over a restarted fleet.
	requestsPerConn = 10_000

	// reservedFiles are descriptors that connections never take, because a store
	// that meets "too many open files" must stop. Of few descriptors it is half.
	reservedFiles = 64

	// leastFiles is how many descriptors the program must have: what it has open when
	// nobody is connected is about a third of them.
	leastFiles = 64
)

func (l Limits) withDefaults() Limits {
	l.Connections = orDefault(l.Connections, defaultConnections)
	l.ConnectionsPerAddress = orDefault(l.ConnectionsPerAddress, defaultPerAddress)
	l.BodyMemory = orDefault(l.BodyMemory, defaultBodyMemory)
	l.ContentSize = orDefault(l.ContentSize, defaultContentSize)
	l.HeaderTimeout = orDefault(l.HeaderTimeout, defaultHeaderTimeout)
	return l
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// caps returns the limits on connections that a process with the given
// descriptor limit can hold; a limit that is not known is no limit.
func (l Limits) caps(files int, known bool) connCaps {
	caps := connCaps{total: l.Connections, perPeer: l.ConnectionsPerAddress, trusted: l.TrustedProxies}
	if known {
		caps.lastFile = files - min(reservedFiles, files/2)
		caps.total = min(caps.total, caps.lastFile)
	}
	return caps
}

// CheckDescriptors returns an error if the process may open too few files to serve
// anybody.
func CheckDescriptors() error {
	files, known := openFileLimit()
	return checkDescriptors(files, known)
}

func checkDescriptors(files int, known bool) error {
	if known && files < leastFiles {
		return fmt.Errorf("the process may open %d files and needs at least %d: raise the limit with `ulimit -n` or LimitNOFILE", files, leastFiles)
	}
	return nil
}

// parseBase checks a base URL and returns it without a trailing slash, and its path.
func parseBase(base string) (clean, path string, err error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", "", fmt.Errorf("reading base URL: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", "", fmt.Errorf("reading base URL %q: it must be absolute and begin with http:// or https://", base)
	case strings.ContainsAny(base, "?#") || u.User != nil:
		return "", "", fmt.Errorf("reading base URL %q: it must have neither user, query nor fragment", base)
	case strings.ContainsAny(u.Path, "{}?*:") || strings.Contains(u.Path, "//") || u.RawPath != "":
		return "", "", fmt.Errorf("reading base URL %q: its path has characters that need escapes or are reserved", base)
	}
	return strings.TrimRight(base, "/"), strings.TrimRight(u.Path, "/"), nil
}
