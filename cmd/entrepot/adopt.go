package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/upstream/adopt"
)

// adoptedFrom returns the namespaces whose packages are adopted from an upstream.
func adoptedFrom(u config.Upstream) []string {
	switch {
	case u.Kind != config.KindWarg:
		return nil
	case u.Mode == "adopt":
		return u.Namespaces
	}
	return u.Adopt
}

// wantedAdoptions returns all namespaces that are adopted, with the upstreams that
// they come from. Commands that only work on a registry adopt nothing new.
func (s *site) wantedAdoptions(o siteOptions) map[string]string {
	if !o.create {
		return nil
	}
	return adoptions(s.conf)
}

// checkNamespaces compares the table of namespaces with our own operator log: what one
// says is another registry's must not be ours in the other.
func (s *site) checkNamespaces(o siteOptions) error {
	if !o.create {
		return nil
	}
	wanted, adopted := s.wantedAdoptions(o), s.authority.Adopted()
	for _, ns := range slices.Sorted(maps.Keys(adopted)) {
		if _, ok := wanted[ns]; !ok {
			s.log.Warn("namespace was adopted and is not kept in step any more", "namespace", ns, "upstream", adopted[ns])
		}
	}
	for _, n := range s.authority.Namespaces() {
		for _, u := range s.conf.Upstreams {
			if !slices.Contains(u.Namespaces, n.Name) || slices.Contains(adoptedFrom(u), n.Name) {
				continue
			}
			if err := s.checkTable(u.Domain, n.Name, n.Registry, adopted[n.Name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTable judges a namespace of the table that the operator log knows.
func (s *site) checkTable(domain, ns, imported, adopted string) error {
	at := s.conf.Where("upstream", domain, "namespaces")
	switch {
	case imported == domain:
		return nil
	case imported != "":
		return exitf(exitConfig, "%s: namespace `%s` is given to `%s`, but the operator log says that it is `%s`'s", at, ns, domain, imported)
	case adopted == domain:
		return exitf(exitConfig, "%s: namespace `%s` was adopted from `%s`, so it has to stay adopted: set mode = \"adopt\" or name it in adopt", at, ns, domain)
	case adopted != "":
		return exitf(exitConfig, "%s: namespace `%s` is given to `%s`, but it was adopted from `%s`", at, ns, domain, adopted)
	}
	return exitf(exitConfig, "%s: namespace `%s` is given to `%s`, but it is our own: a namespace has exactly one registry", at, ns, domain)
}

// openKeepers makes what keeps adopted namespaces in step.
func (s *site) openKeepers(o siteOptions) {
	for _, u := range s.conf.Upstreams {
		namespaces := adoptedFrom(u)
		if !o.create || len(namespaces) == 0 {
			continue
		}
		s.keepers[u.Domain] = adopt.New(adopt.Options{
			Source:     s.replicas[u.Domain],
			Own:        s.authority,
			Namespaces: namespaces,
			Offline:    u.Offline,
			Now:        s.now,
			Log:        s.log,
		})
	}
}

// minAdopt is how often, at most, adopted namespaces are brought up to date: looking
// costs their registry one request.
const minAdopt = time.Second

// startKeepers keeps adopted namespaces in step from now on, as part of the background
// work of mirrors.
func (m *mirrors) startKeepers() {
	for _, u := range m.site.conf.Upstreams {
		if k, ok := m.site.keepers[u.Domain]; ok {
			m.work.Go(func() { k.Run(m.base, max(u.MaxAge, minAdopt)) })
		}
	}
}

// adoptionTrouble says why the adopted namespaces of an upstream are not in step, or
// "".
func (s *site) adoptionTrouble(domain string) string {
	k, ok := s.keepers[domain]
	if !ok {
		return ""
	}
	if err := k.Status().Err; err != nil {
		return fmt.Sprintf("adopting: %s", err)
	}
	return ""
}
