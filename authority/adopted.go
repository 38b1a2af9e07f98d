package authority

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

const (
	maxAdoptedFile = 1 << 20 // bytes
	adoptedHead    = "# Namespaces whose packages are those of another registry: a namespace and the registry's domain on each line.\n"
)

// ours returns an error unless records may be published in a namespace by whoever
// signs them.
func (a *Authority) ours(namespace string) error {
	if _, ok := a.adopts[namespace]; ok {
		return &warg.Error{Kind: warg.KindNamespaceImported, ID: namespace}
	}
	return a.ops.check(namespace)
}

// openAdopted reads which namespaces are adopted, and takes up those that are to be.
// The operator log has been read as far as it is certain.
//
// The operator log itself cannot tell an adopted namespace from one of our own. So the
// file is there before the namespace is defined, and says so for ever after: packages
// of two registries would mix if a namespace could change hands unnoticed.
func (a *Authority) openAdopted() error {
	known, err := a.readAdopted()
	if err != nil {
		return err
	}
	a.adopts = maps.Clone(known)
	for ns, domain := range a.o.Adopt {
		if err := a.checkAdopted(known, ns, domain); err != nil {
			return err
		}
		a.adopts[ns] = domain
	}
	for _, ns := range a.o.Namespaces {
		if domain, ok := a.adopts[ns]; ok {
			return configErr("namespace `%s` is configured as our own, but its packages are those of `%s`; to take it over for good, remove its line from %s", ns, domain, a.path(adoptedFile))
		}
	}
	if len(a.adopts) == len(known) {
		return nil
	}
	for _, ns := range slices.Sorted(maps.Keys(a.adopts)) {
		if known[ns] == "" {
			if err := a.note(trail.Event{Kind: trail.Adopted, Namespace: ns, Upstream: a.adopts[ns]}); err != nil {
				return err
			}
		}
	}
	return a.writeAdopted()
}

// checkAdopted fails if a namespace cannot be adopted from a registry.
func (a *Authority) checkAdopted(known map[string]string, ns, domain string) error {
	before, ok := known[ns]
	err := a.ops.check(ns)
	switch {
	case !warg.ValidNamespace(ns) || domain == "" || strings.ContainsAny(domain, " \t\r\n"):
		return configErr("namespace `%s` cannot be adopted from `%s`", ns, domain)
	case domain == a.o.Domain:
		return configErr("namespace `%s` cannot be adopted from this registry itself", ns)
	case ok && before != domain:
		return configErr("namespace `%s` was adopted from `%s` and cannot be adopted from `%s`: packages of two registries would mix", ns, before, domain)
	case errors.Is(err, &warg.Error{Kind: warg.KindNamespaceImported}):
		return configErr("namespace `%s` is to be adopted from `%s`, but the operator log says that it is another registry's", ns, domain)
	case !ok && err == nil:
		return configErr("namespace `%s` is to be adopted from `%s`, but it is our own: a namespace has exactly one registry", ns, domain)
	}
	return nil
}

// defineAdopted defines adopted namespaces that the operator log does not have yet.
// The sequencer does not run yet.
func (a *Authority) defineAdopted() error {
	var entries []oplog.Entry
	for _, ns := range slices.Sorted(maps.Keys(a.o.Adopt)) {
		if errors.Is(a.ops.check(ns), &warg.Error{Kind: warg.KindNamespaceNotFound}) {
			entries = append(entries, oplog.DefineNamespace{Namespace: ns})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	j := &job{entries: entries, done: make(chan error, 1)}
	if err := a.run([]*job{j}, nil); err != nil {
		return fmt.Errorf("defining adopted namespaces: %w", err)
	}
	return <-j.done
}

// readAdopted reads the file of adopted namespaces; without one there are none.
func (a *Authority) readAdopted() (map[string]string, error) {
	known := map[string]string{}
	text, err := durable.ReadFile(a.fs, a.path(adoptedFile), maxAdoptedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading which namespaces are adopted: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 2 || !warg.ValidNamespace(words[0]) || known[words[0]] != "" {
			return nil, configErr("%s:%d: not a namespace and a domain: %q", a.path(adoptedFile), n, line)
		}
		known[words[0]] = words[1]
	}
	return known, lines.Err()
}

func (a *Authority) writeAdopted() error {
	text := []byte(adoptedHead)
	for _, ns := range slices.Sorted(maps.Keys(a.adopts)) {
		text = fmt.Appendf(text, "%s %s\n", ns, a.adopts[ns])
	}
	if err := durable.Replace(a.fs, a.path(adoptedFile), text, nil); err != nil {
		return fmt.Errorf("noting which namespaces are adopted: %w", err)
	}
	return nil
}

// Adopted returns the adopted namespaces with the domains that they come from.
func (a *Authority) Adopted() map[string]string { return maps.Clone(a.adopts) }
