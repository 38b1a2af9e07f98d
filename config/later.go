package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Prefetch configures hermetic requests; off while AllowedRepos is empty.
type Prefetch struct {
	AllowedRepos    []string // URL globs
	Managers        []string // package managers offered
	DefaultManagers []string
	UserHeader      string // header with the identity, set by a front end
	Workers         []string
	Representatives []string
	GoCommand       string
	Strict          bool
	MaxSourceSize   int64
	MaxArtifactSize int64
	MaxOpenRequests int
	Keep            time.Duration // a bundle after its request became complete
}

// OCI bounds the OCI face.
type OCI struct{ MaxBlobSize int64 }

// Bridge offers Warg releases as OCI artifacts and back.
type Bridge struct {
	Enabled bool
	Yanked  string // "hide" or "warn"
	KeyFile string
	Exclude []string // namespaces that are Warg only
}

// Access decides about HTTP callers.
type Access struct {
	Read       string // "anonymous" or "authenticated"
	Push       string // "auto" or "rule"
	UsersFile  string
	TokensFile string
	Rules      []AccessRule
}

// AccessRule lets some callers do something with some repositories.
type AccessRule struct {
	Who          []string
	Repositories []string
	Can          []string // "pull", "push", "delete"
}

func managers() []string {
	return []string{"git-submodule", "gomod", "npm", "yarn", "pip", "rubygems", "wkg", "warg", "oci-wasm"}
}

func (p *Prefetch) fields() []field {
	return []field{
		list("allowed_repos", &p.AllowedRepos, isURLGlob),
		list("managers", &p.Managers, oneOf(managers()...)),
		list("default_managers", &p.DefaultManagers, oneOf(managers()...)),
		text("user_header", &p.UserHeader, optional(isHeaderName)),
		list("workers", &p.Workers, notEmpty),
		list("representatives", &p.Representatives, notEmpty),
		program("go_command", &p.GoCommand),
		flag("strict", &p.Strict),
		bytesOf("max_source_size", &p.MaxSourceSize, 1),
		bytesOf("max_artifact_size", &p.MaxArtifactSize, 1),
		number("max_open_requests", &p.MaxOpenRequests, 1, 1_000_000),
		span("keep", &p.Keep, 0),
	}
}

func (b *Bridge) fields() []field {
	return []field{
		flag("enabled", &b.Enabled),
		text("yanked", &b.Yanked, oneOf("hide", "warn")),
		path("key_file", &b.KeyFile),
		list("exclude", &b.Exclude, isNamespace),
	}
}

func (a *Access) fields() []field {
	return []field{
		text("read", &a.Read, oneOf("anonymous", "authenticated")),
		text("push", &a.Push, oneOf("auto", "rule")),
		path("users_file", &a.UsersFile),
		path("tokens_file", &a.TokensFile),
	}
}

func (r *AccessRule) fields() []field {
	return []field{
		list("who", &r.Who, notEmpty),
		list("repositories", &r.Repositories, isGlob),
		list("can", &r.Can, oneOf("pull", "push", "delete")),
	}
}

// isURLGlob judges a pattern of repository URLs. Plain http must be written out,
// which is how an operator says that it is meant.
func isURLGlob(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return fmt.Errorf("is not a pattern of URLs, for example \"https://git.example/acme/**\": `%s`", v)
	}
	if strings.Contains(u.Host, "**") {
		return fmt.Errorf("must name a host: `%s`", v)
	}
	return nil
}

// isHeaderName judges the name of an HTTP header.
func isHeaderName(v string) error {
	for _, c := range []byte(v) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("is not the name of a header, for example \"X-Remote-User\": `%s`", v)
		}
	}
	return nil
}
