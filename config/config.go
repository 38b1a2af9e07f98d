package config

import (
	"path/filepath"
	"time"
)

// Config is the whole configuration, with defaults where nothing was said.
type Config struct {
	Listen    string // host:port, port 0 = any free one
	BaseURL   string // what URLs handed to clients begin with; "" = the address in use
	Data      string // folder of everything that is kept
	Admin     string // "unix:PATH" or a loopback address; "" = a unix socket in Data/run
	LogFormat string // "text" or "json"
	LogLevel  string // "debug", "info", "warn", "error"
	TLS       TLS
	Authority Authority
	Content   Content
	Cache     Cache
	Upstreams []Upstream // in the order of the file
	Prefetch  Prefetch
	OCI       OCI
	Bridge    Bridge
	Access    Access
	Limits    Limits

	File     string    // the file that was read, "" if there was none
	Warnings []Problem // what is allowed and probably not meant

	sources map[string]Source // by path of keys
}

// TLS names the files of the server's certificate chain and key; both or none.
type TLS struct{ CertFile, KeyFile string }

// Authority is our own registry.
type Authority struct {
	Domain            string // our name as a registry
	KeyFile           string // the operator's private key; "" = DATA/operator.key
	Namespaces        []string
	CheckpointMaxIdle time.Duration // an unchanged checkpoint is signed again after this
	AnchorFile        string        // another place for the anchor
	Peers             []string      // upstreams that mirror us
	PolicyFile        string        // who may publish what; "" = everybody
}

// Content bounds the content of our own releases.
type Content struct {
	MaxSize int64  // bytes of one content
	Policy  string // "wasm" or "any"
}

// Cache bounds what is kept of others.
type Cache struct{ MaxSize int64 }

// Limits are bounds on what clients may use.
type Limits struct {
	Connections           int
	ConnectionsPerAddress int
	TrustedProxies        []string // addresses or networks that the limit per address does not count
	BodyMemory            int64    // bytes of all buffered request bodies together
	PendingPerKey         int      // records waiting for content, by signing key
	Pending               int      // in all
	PendingTTL            time.Duration
	FreeSpace             int64 // bytes; 0 = the smaller of 2 GiB and 5 % of the file system
	HeaderTimeout         time.Duration
}

// DefaultListen is where a server without configuration listens.
const DefaultListen = "127.0.0.1:8090"

// DefaultData is the folder of a server without configuration.
const DefaultData = "entrepot-data"

// DefaultDomain is our name as a registry if none is configured. It does not
// follow the address, since the name is signed into what the registry keeps.
const DefaultDomain = "localhost"

// DefaultNamespace is defined by a server without any configuration file.
const DefaultNamespace = "local"

// defaults returns the configuration of an empty file; folder is that of the
// file, or the working folder.
func defaults(folder string) *Config {
	return &Config{
		Listen:    DefaultListen,
		Data:      filepath.Join(folder, DefaultData),
		LogFormat: "text",
		LogLevel:  "info",
		Authority: Authority{Domain: DefaultDomain, CheckpointMaxIdle: time.Hour},
		Content:   Content{MaxSize: 256 << 20, Policy: "wasm"},
		Cache:     Cache{MaxSize: 20 << 30},
		Prefetch: Prefetch{
			Managers: managers(), DefaultManagers: []string{"gomod"}, Keep: 24 * time.Hour,
			MaxSourceSize: 2 << 30, MaxArtifactSize: 2 << 30, MaxOpenRequests: 1000,
		},
		OCI:    OCI{MaxBlobSize: 16 << 30},
		Bridge: Bridge{Enabled: true, Yanked: "hide"},
		Access: Access{Read: "anonymous", Push: "auto"},
		Limits: Limits{
			Connections: 16384, ConnectionsPerAddress: 1024,
			BodyMemory: 64 << 20, PendingPerKey: 256, Pending: 65536,
			PendingTTL: 24 * time.Hour, HeaderTimeout: 10 * time.Second,
		},
		sources: map[string]Source{},
	}
}

// KeyFile returns the operator's key file, configured or not.
func (c *Config) KeyFile() string {
	if c.Authority.KeyFile != "" {
		return c.Authority.KeyFile
	}
	return filepath.Join(c.Data, "operator.key")
}

// Where returns where a setting was made, or, if it was not, the nearest table
// around it, or the file itself.
func (c *Config) Where(path ...string) Source {
	for n := len(path); n >= 0; n-- {
		if s, ok := c.sources[join(path[:n]...)]; ok {
			return s
		}
	}
	return Source{Name: c.File}
}

// Set reports whether a setting was made, rather than left at its default.
func (c *Config) Set(path ...string) bool {
	_, ok := c.sources[join(path...)]
	return ok
}
