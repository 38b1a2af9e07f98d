package config

import (
	"net/url"
	"slices"
)

func (c *Config) checkUpstream(u *Upstream, l *problems) {
	at := func(key string) Source { return c.Where("upstream", u.Domain, key) }
	if u.Domain == c.Authority.Domain {
		l.add(c.Where("upstream", u.Domain), "upstream `%s` has the name of this registry itself (authority.domain)", u.Domain)
	}
	c.checkUpstreamURL(u, l)
	for _, f := range []struct{ key, file string }{
		{"token_file", u.TokenFile}, {"password_file", u.PasswordFile},
		{"docker_config", u.DockerConfig}, {"ca_file", u.CAFile},
	} {
		c.wantFile(l, f.file, "upstream", u.Domain, f.key)
	}
	c.checkCredentials(u, l)
	if u.Kind != KindWarg {
		return
	}
	switch {
	case u.OperatorKey == "" && !u.TrustFirstKey && !c.Set("upstream", u.Domain, "operator_key"):
		l.add(c.Where("upstream", u.Domain), "upstream `%s` has neither operator_key nor trust_first_key = true; `entrepot key of %s` prints the key id to pin", u.Domain, u.URL)
	case u.OperatorKey != "" && u.TrustFirstKey:
		l.add(at("trust_first_key"), "trust_first_key contradicts operator_key, which pins the key")
	}
	if u.MaxStale > 0 && u.MaxStale < u.MaxAge {
		l.add(at("max_stale"), "max_stale (%s) is less than max_age (%s)", u.MaxStale, u.MaxAge)
	}
	if u.OnStale == "refuse" && u.MaxStale == 0 {
		l.add(at("on_stale"), "on_stale = \"refuse\" needs a max_stale; without one nothing is ever too stale")
	}
	c.checkAdopt(u, l)
}

func (c *Config) checkUpstreamURL(u *Upstream, l *problems) {
	at := func(key string) Source { return c.Where("upstream", u.Domain, key) }
	if u.URL == "" {
		if !c.Set("upstream", u.Domain, "url") {
			l.add(c.Where("upstream", u.Domain), "upstream `%s` needs a url", u.Domain)
		}
		return
	}
	link, err := url.Parse(u.URL)
	if err != nil {
		return // the value was judged already
	}
	switch {
	case c.ownAddress(link):
		l.add(at("url"), "url leads to this server itself")
	case isPrivate(link.Hostname()) && !u.AllowPrivateAddresses:
		l.add(at("url"), "url has an address on this machine or a private network; if that is meant, set allow_private_addresses = true")
	}
	if link.Scheme == "http" && !isLoopback(link.Hostname()) && (u.TokenFile != "" || u.PasswordFile != "") {
		c.warn(at("url"), "credentials for `%s` would travel over plain http", u.Domain)
	}
}

func (c *Config) checkCredentials(u *Upstream, l *problems) {
	at := func(key string) Source { return c.Where("upstream", u.Domain, key) }
	switch {
	case u.Username != "" && u.PasswordFile == "":
		l.add(at("username"), "username needs a password_file beside it")
	case u.PasswordFile != "" && u.Username == "":
		l.add(at("password_file"), "password_file needs a username beside it")
	}
	given := 0
	for _, v := range []string{u.Username + u.PasswordFile, u.TokenFile, u.DockerConfig} {
		if v != "" {
			given++
		}
	}
	if given > 1 {
		l.add(c.Where("upstream", u.Domain), "upstream `%s` has more than one of username with password_file, token_file, docker_config", u.Domain)
	}
}

func (c *Config) checkAdopt(u *Upstream, l *problems) {
	at := func(key string) Source { return c.Where("upstream", u.Domain, key) }
	switch {
	case u.Mode == "adopt" && len(u.Adopt) > 0:
		l.add(at("adopt"), "mode = \"adopt\" adopts all namespaces; to adopt some, leave mode out")
	case u.Mode == "adopt" && len(u.Namespaces) == 0:
		l.add(at("mode"), "mode = \"adopt\" needs namespaces")
	}
	for i, ns := range u.Adopt {
		if !slices.Contains(u.Namespaces, ns) {
			l.add(c.Where("upstream", u.Domain, "adopt", itoa(i)), "`%s` is to be adopted and is not among namespaces", ns)
		}
	}
}

// ownNamespaces maps the namespaces of the authority to its domain.
func (c *Config) ownNamespaces() map[string]string {
	owners := map[string]string{}
	for _, ns := range c.Authority.Namespaces {
		owners[ns] = c.Authority.Domain
	}
	return owners
}

// checkNamespaces complains about a namespace with two registries and warns about
// upstreams that are named like one: clients mix the two up.
func (c *Config) checkNamespaces(u *Upstream, owners map[string]string, l *problems) {
	if u.Kind != KindWarg {
		return
	}
	for i, ns := range u.Namespaces {
		at := c.Where("upstream", u.Domain, "namespaces", itoa(i))
		if owner, taken := owners[ns]; taken {
			l.add(at, "namespace `%s` belongs to `%s` already; a namespace has exactly one registry", ns, owner)
			continue
		}
		owners[ns] = u.Domain
	}
	for _, other := range c.Upstreams {
		if slices.Contains(other.Namespaces, u.Domain) || slices.Contains(c.Authority.Namespaces, u.Domain) {
			c.warn(c.Where("upstream", u.Domain), "upstream `%s` is named like a namespace; clients mix the two up", u.Domain)
			return
		}
	}
}
