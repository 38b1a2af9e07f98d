package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// use asks whichever registry a header names for a package of anybody's: each name has
// one registry that answers for it, whoever is up or down.
func (s *stranger) use(ctx context.Context, l *life, r *rand.Rand) {
	headers := []struct {
		domain string
		given  bool
	}{{"", false}, {ownDomain, true}, {upDomain, true}, {"nobody.example", true}, {"", true}}
	h := headers[r.IntN(len(headers))]
	registry, err := l.fed.Select(h.domain, h.given)
	if (err == nil) == (h.domain == "nobody.example" || h.given && h.domain == "") {
		s.wrong("selecting %q, given %t: %v", h.domain, h.given, err)
	}
	name, known := s.someName(r)
	if !known && ctx.Err() == nil {
		s.hint(ctx, l, name)
	}
	if err != nil || ctx.Err() != nil {
		return
	}
	v, err := registry.Checkpoint(ctx)
	if err != nil || ctx.Err() != nil {
		return
	}
	page, err := registry.Logs(ctx, warg.LogsRequest{LogLength: v.Checkpoint.LogLength, Packages: []warg.LogCursor{{LogID: name.LogID()}}})
	s.w.sched.tell("a user of %q asks for %s: %v", h.domain, name, err)
	owner := ownDomain
	if name.Namespace() == "up" {
		owner = upDomain
	}
	if err == nil && len(page.Packages) > 0 && (registry.Domain() != owner || !known) {
		s.wrong("registry %s answers for %s", registry.Domain(), name)
	}
	if err != nil && registry.Domain() != owner && !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) && ctx.Err() == nil && s.w.calm.Load() {
		s.wrong("registry %s is asked for %s of another, and says %v", registry.Domain(), name, err)
	}
}

// someName returns a package of ours, of the upstream's, or of nobody's.
func (s *stranger) someName(r *rand.Rand) (name warg.PackageName, known bool) {
	switch draw := r.IntN(3); {
	case draw == 0 && len(s.packages) > 0:
		return s.packages[r.IntN(len(s.packages))].Name(), true
	case draw == 1:
		if _, f, ok := s.w.pick(r); ok {
			return f.name, true
		}
	}
	return wargtest.Name(fmt.Sprintf("own:secret-p%d", r.IntN(3))), false
}

// hint: nobody is sent elsewhere for a name that nobody knows.
func (s *stranger) hint(ctx context.Context, l *life, name warg.PackageName) {
	if hint, _ := l.fed.Hint(ctx, name.LogID()); hint != "" {
		s.wrong("users of %s are sent to %s", name, hint)
	}
}

func (s *stranger) wrong(format string, args ...any) {
	s.w.judge.mu.Lock()
	defer s.w.judge.mu.Unlock()
	s.w.judge.wrong(format, args...)
}
