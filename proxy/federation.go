package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Federation is the registries that the server answers for, by domain. They never
// change; which namespaces are whose may.
type Federation struct {
	own       Own
	upstreams map[string]Upstream
	table     atomic.Pointer[namespaceTable]
}

// namespaceTable says which namespaces are those of which upstream. It does not change.
type namespaceTable struct {
	domains map[string]string // by namespace
	hinted  []string          // the domains, sorted
}

// target is the registry that a request is meant for.
type target struct {
	registry  warg.Registry
	publisher warg.Publisher // nil: nothing can be published there
	upstream  Upstream       // nil: our own
}

// NewFederation checks that domains and namespaces make sense together.
func NewFederation(own Own, upstreams map[string]Upstream, namespaces map[string]string) (*Federation, error) {
	f := &Federation{own: own, upstreams: maps.Clone(upstreams)}
	for domain := range f.upstreams {
		if _, err := api.ParseDomain(domain); err != nil {
			return nil, err
		}
		if domain == own.Domain() {
			return nil, fmt.Errorf("upstream %q has our own domain", domain)
		}
	}
	return f, f.setNamespaces(namespaces)
}

// setNamespaces replaces the table of namespaces.
func (f *Federation) setNamespaces(namespaces map[string]string) error {
	t := &namespaceTable{domains: maps.Clone(namespaces)}
	for ns, domain := range t.domains {
		if !warg.ValidNamespace(ns) {
			return fmt.Errorf("namespace %q of upstream %q is not a valid namespace", ns, domain)
		}
		if _, ok := f.upstreams[domain]; !ok {
			return fmt.Errorf("namespace %q is mapped to %q, which is no upstream", ns, domain)
		}
		t.hinted = append(t.hinted, domain)
	}
	slices.Sort(t.hinted)
	t.hinted = slices.Compact(t.hinted)
	f.table.Store(t)
	return nil
}

// SetNamespaces replaces the table of namespaces that clients are hinted to upstreams
// for. Requests under way may still see the one before.
func (s *Server) SetNamespaces(namespaces map[string]string) error {
	if err := s.federation.setNamespaces(namespaces); err != nil {
		return err
	}
	return s.renderPage()
}

// Select returns the one registry that is meant by the value of a Warg-Registry
// header, or our own if there is none. It never falls through to another one.
//
//	KindBadRequest  the value cannot name a registry
//	KindNotFound    no registry of that name is served here
func (f *Federation) Select(domain string, given bool) (warg.Registry, error) {
	t, err := f.find(domain, given)
	if err != nil {
		return nil, err
	}
	return t.registry, nil
}

// find is Select with what else is known of the registry.
func (f *Federation) find(domain string, given bool) (target, error) {
	if !given || domain == f.own.Domain() {
		return target{registry: f.own, publisher: f.own}, nil
	}
	if u, ok := f.upstreams[domain]; ok {
		p, _ := u.(warg.Publisher)
		return target{u, p, u}, nil
	}
	if _, err := api.ParseDomain(domain); err != nil {
		return target{}, warg.Errorf(warg.KindBadRequest, "malformed %s header: %w", api.HeaderRegistry, err)
	}
	return target{}, warg.Errorf(warg.KindNotFound, "registry `%s` is not served here", domain)
}

// Hint returns the value of the Warg-Registry-Hint header for a log that our own
// registry does not know, or "". Only what the operator mapped is ever hinted, and only
// replicas on this machine are asked, so that the name of a package that is not
// published yet goes nowhere. A log that an upstream has, whose name cannot be had now,
// is an error: that nobody has it would not be true. For a log that our registry has a
// record of, published or not, no upstream has a say.
func (f *Federation) Hint(ctx context.Context, log warg.LogID) (string, error) {
	if f.isOwn(ctx, log) {
		return "", nil
	}
	table := f.table.Load()
	var unnamed error
	for _, domain := range table.hinted {
		name, err := f.upstreams[domain].NameOf(ctx, log)
		switch {
		case err == nil && table.domains[name.Namespace()] == domain:
			return api.Hint(name.Namespace(), domain), nil
		case err != nil && !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}):
			unnamed = fmt.Errorf("log `%s` is one of registry `%s`, and its name is not known here: %w", log, domain, err)
		}
	}
	return "", unnamed
}

// isOwn reports whether our own registry has, or is about to have, a record of a log:
// it then says of any other record that this one is unknown, and not the log.
func (f *Federation) isOwn(ctx context.Context, log warg.LogID) bool {
	_, err := f.own.Record(ctx, log, warg.RecordID{})
	return errors.Is(err, &warg.Error{Kind: warg.KindRecordNotFound})
}

// explain turns the answer that our own registry does not have a namespace into the
// one that it is another registry's, where the operator's table says so: the
// publisher is at the wrong door, not before a typing error.
func (f *Federation) explain(err error, t target, name warg.PackageName) error {
	ns := name.Namespace()
	if _, mapped := f.table.Load().domains[ns]; !mapped || t.upstream != nil || !errors.Is(err, &warg.Error{Kind: warg.KindNamespaceNotFound}) {
		return err
	}
	return &warg.Error{Kind: warg.KindNamespaceImported, ID: ns, Err: err}
}

// domains returns the domains of the upstreams, sorted.
func (f *Federation) domains() []string { return slices.Sorted(maps.Keys(f.upstreams)) }

// viewer is an [Upstream] that can say without delay what it last answered with.
type viewer interface {
	LastView() (warg.View, bool)
}

// age returns how many whole seconds ago the view was known to be the newest.
func age(v warg.View, now time.Time) int64 {
	return max(int64(now.Sub(v.VerifiedAt)/time.Second), 0)
}
