package monitor

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestSplitView: two addresses of a registry show two histories, each without a flaw.
// Wherever they part, and whichever is longer, one of the watchers convicts it; a mirror
// that lags, and another registry, are no split view.
func TestSplitView(t *testing.T) {
	for _, test := range []struct {
		name        string
		here, there func(t *testing.T) *wargtest.Memory
		split       bool
	}{
		{"one history", grownTo(9, 0), grownTo(9, 0), false},
		{"a mirror that lags", grownTo(9, 0), grownTo(5, 0), false},
		{"as long", grownTo(8, 1), grownTo(9, 0), true},
		{"shorter", grownTo(4, 2), grownTo(9, 0), true},
		{"longer", grownTo(3, 12), grownTo(9, 0), true},
		{"another registry", grownTo(9, 0), func(t *testing.T) *wargtest.Memory {
			m := wargtest.NewMemory(wargtest.Options{Domain: "registry.test", Namespaces: []string{"test", "other"}})
			grow(t, m, "x", 5)
			return m
		}, false},
	} {
		for _, without := range []string{"", "ledger"} {
			t.Run(test.name+" "+without, func(t *testing.T) {
				board := new(Board)
				open := func(m *wargtest.Memory, name string) *watch {
					s := newSite(t, m)
					if without != "" {
						s.refuse[api.OpLedger] = 404
					}
					w := newWatch(t, s, func(o *Options) { o.Board = board })
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					var err error
					if w.Watcher, err = Open(name, w.options); err != nil {
						t.Fatal(err)
					}
					return w
				}
				a, b := open(test.here(t), "http://here.test/base"), open(test.there(t), "http://there.test/base")
				first := a.look(StatusConsistent)
				second, err := b.Look(t.Context())
				if err == nil {
					first, err = a.Compare(t.Context(), first)
				}
				if err != nil {
					t.Fatal(err)
				}
				forked := 0
				for i, r := range []Report{first, second} {
					if r.Status != StatusForked {
						continue
					}
					forked++
					if w := []*watch{a, b}[i]; !strings.Contains(r.Message, "split view") {
						t.Errorf("%s", r.Message)
					} else {
						convicts(t, w.evidence(r), ClassEquivocation)
					}
				}
				if test.split != (forked > 0) {
					t.Errorf("%d of both convict: %+v, %+v", forked, first, second)
				}
				if test.split {
					return
				}
				if r := a.look(StatusUnchanged); r.Message != "" {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

// grownTo is a registry that parts from newRegistry at a length and goes on.
func grownTo(length, more int) func(t *testing.T) *wargtest.Memory {
	return func(t *testing.T) *wargtest.Memory {
		m := newRegistry(t, length)
		grow(t, m, "elsewhere", more)
		return m
	}
}
