package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Upstream is another registry that is answered for. Which fields matter depends
// on Kind.
type Upstream struct {
	Domain string // what clients name it by
	Kind   string // "warg", "oci", "goproxy", "npm", "pypi", "rubygems"
	URL    string

	// Kind "warg".
	OperatorKey    warg.KeyID    // the pin; "" only with TrustFirstKey
	TrustFirstKey  bool          // pin the key that is seen first
	Mode           string        // "pass-through" or "adopt"
	Adopt          []string      // namespaces to adopt, if not all
	Mirror         string        // "on-demand" or "full"
	MaxAge         time.Duration // of a checkpoint before it is asked for again
	MaxStale       time.Duration // 0 = for ever
	OnStale        string        // "serve" or "refuse"
	MirrorPackages []string      // "NS:NAME" or "NS:NAME@REQ": kept ahead of time

	// Kind "warg": namespaces that clients are hinted to this registry. Package
	// registries: the scopes or names that only this one answers for.
	Namespaces []string

	// Kind "oci".
	TagTTL      time.Duration
	Fetch       string // "online" or "fallback"
	OnMissing   string // "keep" or "drop"
	Allow, Deny []string

	// How it is reached.
	Offline               bool
	AllowPrivateAddresses bool
	TokenFile             string
	Username              string
	PasswordFile          string
	DockerConfig          string
	CAFile                string
	HTTPProxy             string
	MaxBandwidth          int64 // bytes a second, 0 = not limited
	MaxConnections        int
}

// Kinds of upstream.
const (
	KindWarg     = "warg"
	KindOCI      = "oci"
	KindGoProxy  = "goproxy"
	KindNPM      = "npm"
	KindPyPI     = "pypi"
	KindRubyGems = "rubygems"
)

func kinds() []string {
	return []string{KindWarg, KindOCI, KindGoProxy, KindNPM, KindPyPI, KindRubyGems}
}

func newUpstream(domain, kind string) *Upstream {
	return &Upstream{
		Domain: domain, Kind: kind,
		Mode: "pass-through", Mirror: "on-demand", MaxAge: time.Minute, OnStale: "serve",
		TagTTL: 5 * time.Minute, Fetch: "online", OnMissing: "keep",
		MaxConnections: 8,
	}
}

// fields returns the settings that the kind of u has.
func (u *Upstream) fields() []field {
	all := []field{
		text("kind", &u.Kind, oneOf(kinds()...)),
		text("url", &u.URL, isURL),
		flag("offline", &u.Offline),
		flag("allow_private_addresses", &u.AllowPrivateAddresses),
		path("token_file", &u.TokenFile),
		path("ca_file", &u.CAFile),
		text("http_proxy", &u.HTTPProxy, optional(isURL)),
		optionalBytes("max_bandwidth", &u.MaxBandwidth, 1<<10),
		number("max_connections", &u.MaxConnections, 1, 1024),
	}
	switch u.Kind {
	case KindWarg:
		return append(all, u.wargFields()...)
	case KindOCI:
		return append(all, u.ociFields()...)
	}
	return append(all,
		list("namespaces", &u.Namespaces, isScope(u.Kind)),
		text("username", &u.Username),
		path("password_file", &u.PasswordFile))
}

func (u *Upstream) wargFields() []field {
	return []field{
		text("operator_key", (*string)(&u.OperatorKey), isKeyID),
		flag("trust_first_key", &u.TrustFirstKey),
		list("namespaces", &u.Namespaces, isNamespace),
		text("mode", &u.Mode, oneOf("pass-through", "adopt")),
		list("adopt", &u.Adopt, isNamespace),
		text("mirror", &u.Mirror, oneOf("on-demand", "full")),
		span("max_age", &u.MaxAge, 0),
		span("max_stale", &u.MaxStale, 0),
		text("on_stale", &u.OnStale, oneOf("serve", "refuse")),
		list("mirror_packages", &u.MirrorPackages, isPackage),
	}
}

func (u *Upstream) ociFields() []field {
	return []field{
		span("tag_ttl", &u.TagTTL, 0),
		text("fetch", &u.Fetch, oneOf("online", "fallback")),
		text("on_missing", &u.OnMissing, oneOf("keep", "drop")),
		list("allow", &u.Allow, isGlob),
		list("deny", &u.Deny, isGlob),
		text("username", &u.Username),
		path("password_file", &u.PasswordFile),
		path("docker_config", &u.DockerConfig),
	}
}

// isScope judges what only one package registry answers for.
func isScope(kind string) check {
	return func(v string) error {
		scope, ok := strings.CutPrefix(v, "@")
		switch {
		case v == "" || strings.ContainsAny(v, " \t\n"):
			return fmt.Errorf("is not a name: `%s`", v)
		case kind == KindNPM && (!ok || scope == "" || strings.Contains(scope, "/")):
			return fmt.Errorf("is not an npm scope, for example \"@acme\": `%s`", v)
		}
		return nil
	}
}

// isPackage judges "NS:NAME" and "NS:NAME@REQ".
func isPackage(v string) error {
	name, requirement, ok := strings.Cut(v, "@")
	if _, err := warg.ParsePackageName(name); err != nil {
		return err
	}
	if !ok {
		return nil
	}
	if _, err := warg.ParseRequirement(requirement); err != nil {
		return fmt.Errorf("is not a version requirement, for example \"^1.2\": `%s`: %w", requirement, err)
	}
	return nil
}

// isGlob judges a pattern of repository names: "*" within a part, "**" across
// parts.
func isGlob(v string) error {
	parts := strings.Split(v, "/")
	if slices.Contains(parts, "") || strings.ContainsAny(v, " \t\n\\") {
		return fmt.Errorf("is not a pattern of repositories, for example \"acme/**\": `%s`", v)
	}
	for _, p := range parts {
		if strings.Contains(p, "**") && p != "**" {
			return fmt.Errorf("is not a pattern of repositories, `**` must stand alone between slashes: `%s`", v)
		}
	}
	return nil
}
