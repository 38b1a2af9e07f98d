package authority

import (
	"errors"
	"fmt"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
)

// TestHealNeedsAWord: where there is no anchor that can be read, nothing is taken over
// before somebody vouches for the peer's head, also if a history or a journal is there.
// What is there already is not fetched again.
func TestHealNeedsAWord(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, g *estate)
		from uint64 // length of the journal that is kept
	}{
		"the anchor is lost":    {func(t *testing.T, g *estate) { must(t, g.m.Remove("/data/authority/anchor")) }, 4},
		"the anchor is damaged": {func(t *testing.T, g *estate) { scribble(t, g.m, "/data/authority/anchor") }, 4},
		"anchor and history are lost": {func(t *testing.T, g *estate) {
			must(t, g.m.Remove("/data/authority/anchor"))
			must(t, g.m.Remove("/data/authority/anchor.log"))
		}, 4},
		"everything is lost": {func(_ *testing.T, g *estate) { g.m = durable.NewMemory() }, 0},
	} {
		for _, missing := range []int{0, 2} {
			t.Run(fmt.Sprint(name, ", missing ", missing), func(t *testing.T) {
				g := newEstate(t, 3)
				here := g.copied()
				g.grow(t, missing)
				head := g.head(t)
				theirs := open(t, g.options())
				defer theirs.Close()
				c.harm(t, here)
				before := here.m.Tree("/data/authority")
				var need *NeedWordError
				if err := Heal(t.Context(), here.options(), peerOf{theirs}, &Healing{}); !errors.As(err, &need) {
					t.Fatalf("without a word: %v", err)
				}
				if c := need.Head.Unverified(); c.LogLength != head.Length || c.LogRoot != head.LogRoot.AnyHash() {
					t.Errorf("it asks for a word about %+v, the peer's head is %s", c, head)
				}
				var no *RefusedError
				for _, w := range []Word{{head.Length, warg.Sum(nil)}, {head.Length + 1, head.LogRoot}, {head.Length - 1, head.LogRoot}} {
					if err := Heal(t.Context(), here.options(), peerOf{theirs}, &Healing{Word: &w}); !errors.As(err, &no) || no.Untrue {
						t.Errorf("vouching for %s: %v", w, err)
					}
				}
				if after := here.m.Tree("/data/authority"); len(before) > 0 && !maps.Equal(before, after) {
					t.Error("what was refused changed something")
				}
				h := &Healing{Word: &head}
				must(t, Heal(t.Context(), here.options(), peerOf{theirs}, h))
				if h.From != c.from && missing == 0 || h.From > c.from || h.To != head.Length {
					t.Errorf("%d to %d were taken over", h.From, h.To)
				}
				must(t, theirs.Close())
				here.complete(t, 3+missing)
			})
		}
	}
}

// TestHealTellsLiesFromTooLittle: a peer that has not seen enough is told from one whose
// log cannot be ours.
func TestHealTellsLiesFromTooLittle(t *testing.T) {
	base := newEstate(t, 3)
	// other returns a peer whose log goes on from here in another way.
	other := func(t *testing.T, packages int) *Authority {
		g := base.copied()
		g.n += 10
		g.grow(t, packages)
		return open(t, g.options())
	}
	for name, c := range map[string]struct {
		here   int // packages that we published since
		peer   func(t *testing.T) *Authority
		untrue bool
	}{
		"behind":                         {2, func(t *testing.T) *Authority { return other(t, 1) }, false},
		"another log of the same length": {2, func(t *testing.T) *Authority { return other(t, 2) }, true},
		"another log that is longer":     {2, func(t *testing.T) *Authority { return other(t, 3) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			theirs := c.peer(t)
			defer theirs.Close()
			here := base.copied()
			here.grow(t, c.here)
			before := here.m.Tree("/data/authority")
			var no *RefusedError
			if err := Heal(t.Context(), here.options(), peerOf{theirs}, &Healing{}); !errors.As(err, &no) || no.Untrue != c.untrue {
				t.Errorf("untrue is to be %t: %v", c.untrue, err)
			}
			if after := here.m.Tree("/data/authority"); !maps.Equal(before, after) {
				t.Error("something changed")
			}
			here.complete(t, 3+c.here)
		})
	}
}

// TestHealKeepsTime: a peer that holds an earlier signature of the same state does not
// set the time back.
func TestHealKeepsTime(t *testing.T) {
	g := newEstate(t, 2)
	old := g.copied()
	theirs := open(t, old.options())
	defer theirs.Close()
	g.c.Add(2 * time.Hour)
	a := open(t, g.options())
	must(t, a.command(t.Context(), func() error { return a.signAgain(g.c.Now()) }))
	later, err := a.Checkpoint(t.Context())
	must(t, err)
	must(t, a.Close())
	must(t, Heal(t.Context(), g.options(), peerOf{theirs}, &Healing{}))
	a = open(t, g.options())
	defer a.Close()
	if v, err := a.Checkpoint(t.Context()); err != nil || v.Signed != later.Signed {
		t.Errorf("the head became %+v, %v; it was %+v", v.Checkpoint, err, later.Checkpoint)
	}
}

// TestHealAfterErrors: whatever call of the disk reports an error, with its effect or
// without, a healing that ends with it can be done again, and one that does not is whole.
func TestHealAfterErrors(t *testing.T) {
	g := newEstate(t, 2)
	old := g.copied()
	g.grow(t, 2)
	theirs := open(t, g.options())
	defer theirs.Close()
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted} {
		for at := 1; ; at++ {
			here := old.copied()
			f := durable.NewFault(here.m)
			f.SetPlan(durable.Plan{At: at, Outcome: outcome, Err: syscall.EIO})
			o := here.options()
			o.FS = f
			err := Heal(t.Context(), o, peerOf{theirs}, &Healing{})
			reached := f.Reached()
			f.Kill()
			here.m, here.base = here.m.Crash(nil), new(kv.Memory)
			if err != nil {
				must(t, Heal(t.Context(), here.options(), peerOf{theirs}, &Healing{}))
			}
			if at%20 == int(outcome) || !reached { // it takes a while
				here.complete(t, 4)
			} else if w := here.anchored(t); w.Length != 5 {
				t.Errorf("anchored at %d", w.Length)
			}
			if t.Failed() {
				t.Fatalf("call %d reported an error (%d)", at, outcome)
			}
			if !reached {
				break
			}
		}
	}
}

// anchored returns what the anchor says.
func (g *estate) anchored(t *testing.T) Word {
	t.Helper()
	r, err := openRescue(g.options())
	must(t, err)
	must(t, r.closeFiles())
	c := r.anchor.Signed.Unverified()
	root, err := c.LogRoot.Digest()
	must(t, err)
	return Word{c.LogLength, root}
}
