package authority

import (
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// Policy says which keys may publish where, as the reference server's file of
// authorized keys does. Where neither the namespace nor the package has a rule,
// nobody may publish.
type Policy struct {
	Namespaces map[string]PolicyRule
	Packages   map[string]PolicyRule // by "namespace:name"
}

// PolicyRule is what is allowed in a namespace or a package.
type PolicyRule struct {
	Keys []warg.KeyID // may publish anything
	// Delegation lets every key publish what the package's own log lets it, except
	// the entry that begins a log.
	Delegation bool
}

// check returns an error unless the key may publish each of the entries. A nil
// policy allows everything.
func (p *Policy) check(name warg.PackageName, key warg.KeyID, entries []pkglog.Entry) error {
	if p == nil {
		return nil
	}
	for _, e := range entries {
		if !p.Namespaces[name.Namespace()].allows(key, e) && !p.Packages[name.String()].allows(key, e) {
			return unauthorizedKey(name, key)
		}
	}
	return nil
}

func unauthorizedKey(name warg.PackageName, key warg.KeyID) error {
	return warg.Errorf(warg.KindUnauthorized, "key id `%s` is not authorized to publish to package `%s`", key, name)
}

func (r PolicyRule) allows(key warg.KeyID, e pkglog.Entry) bool {
	if _, init := e.(pkglog.Init); r.Delegation && !init {
		return true
	}
	for _, k := range r.Keys {
		if k == key {
			return true
		}
	}
	return false
}
