package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/monitor"
	"github.com/entrepot/entrepot/warg"
)

const (
	classUpstream = "upstream"
	classEvidence = "evidence"
)

// evidence checks what each file proves, as anybody could who has nothing else. That a
// registry's pinned key is the one whose word is broken is another question: it may have
// been another key when the file was written, so it is only noted.
func (r *siteReport) evidence(conf *config.Config) error {
	dir := filepath.Join(conf.Data, evidenceDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	pins := pinnedKeys(conf)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if durable.IsTemp(e.Name()) {
			continue // a crash came while it was written; it is written again
		}
		text, err := durable.ReadFile(durable.OS{}, name, monitor.MaxEvidence)
		if err != nil {
			return err
		}
		r.Evidence++
		verdict, err := monitor.CheckEvidence(text, nil)
		if err != nil {
			r.say(classEvidence, name, 0, "it proves nothing: "+err.Error())
			continue
		}
		if pin, ok := pins[verdict.Registry]; ok {
			if _, err := monitor.CheckEvidence(text, []warg.KeyID{pin}); err != nil {
				r.note(classEvidence, name, fmt.Sprintf("it does not hang on the key `%s` that is pinned for `%s`", pin, verdict.Registry))
			}
		}
	}
	return nil
}

// pinnedKeys returns the operator keys of the registries that are configured, as far as
// they are pinned.
func pinnedKeys(conf *config.Config) map[string]warg.KeyID {
	pins := map[string]warg.KeyID{}
	for _, u := range conf.Upstreams {
		if u.OperatorKey != "" {
			pins[u.Domain] = u.OperatorKey
		}
	}
	return pins
}

// signatures verifies what was accepted of upstreams with the ledgers and operator logs
// that the cache holds. A damaged cache is no judge, and opening it could make it anew.
func (r *siteReport) signatures(conf *config.Config) (err error) {
	dir := filepath.Join(conf.Data, cacheDir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || r.has(classCache) || r.Upstreams == 0 {
		return nil
	}
	c, err := cache.Open(cache.Options{Dir: dir, MaxContent: math.MaxInt64, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("opening the cache: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	pins := pinnedKeys(conf)
	for _, domain := range upstreamDomains(conf) {
		dir := filepath.Join(conf.Data, upstreamsDir, domain)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || r.hasBelow(dir) {
			continue
		}
		store, err := c.Registry(domain)
		if err != nil {
			return fmt.Errorf("opening what is cached of `%s`: %w", domain, err)
		}
		n, flaws, err := upstream.InspectSigned(durable.OS{}, dir, domain, store, pins[domain])
		switch {
		case errors.Is(err, upstream.ErrNotHeld):
			r.note(classUpstream, dir, "its signatures were not verified: "+err.Error())
			continue
		case err != nil:
			return err
		}
		r.Verified += n
		for _, f := range flaws {
			r.say(classUpstream, f.File, f.Offset, f.Reason)
		}
	}
	return nil
}

// has reports whether there is damage of a class.
func (r *siteReport) has(class string) bool {
	for _, f := range r.Findings {
		if f.Class == class {
			return true
		}
	}
	return false
}

// hasBelow reports whether there is damage in a folder.
func (r *siteReport) hasBelow(dir string) bool {
	for _, f := range r.Findings {
		if strings.HasPrefix(f.File, dir+string(filepath.Separator)) {
			return true
		}
	}
	return false
}
