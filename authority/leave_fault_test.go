package authority

import (
	"os"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
)

// outcomesOf returns how the at-th call fails: in each way in the long form (FAULTS=all),
// else in one after the other.
func outcomesOf(at int) []durable.Outcome {
	all := []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed}
	if os.Getenv("FAULTS") == "all" {
		return all
	}
	return all[at%3 : at%3+1]
}

// eachFault does something to a registry with each call of the file interface failing in
// turn, until none is left. The process ends with it, what was not synced is lost, and
// judge is told of what is left and whether it was done.
func eachFault(t *testing.T, base *estate, act func(g *estate, fsys *durable.Fault, plan durable.Plan) error, judge func(g *estate, done bool)) {
	t.Helper()
	const enough = 2000
	for at := 1; at < enough; at++ {
		reached := false
		for _, outcome := range outcomesOf(at) {
			g := base.copied()
			fault := durable.NewFault(g.m)
			err := act(g, fault, durable.Plan{At: at, Outcome: outcome, Err: syscall.EIO})
			reached = reached || fault.Reached()
			if !fault.Reached() {
				must(t, err)
			}
			fault.Kill()
			g.m, g.base = g.m.Crash(nil), new(kv.Memory)
			judge(g, err == nil)
			if t.Failed() {
				t.Fatalf("call %d, outcome %d", at, outcome)
			}
		}
		if !reached {
			t.Logf("%d calls", at-1)
			return
		}
	}
	t.Fatal("there is no end of calls")
}

// TestAcceptAtEveryFault: whatever fails while an operator's word is taken, afterwards the
// registry is fenced as before, or goes on from that word; never anything between. A
// second call completes it, and what was damaged is still kept beside.
func TestAcceptAtEveryFault(t *testing.T) {
	harms := map[string]func(g *estate){
		"damaged history": func(g *estate) {
			g.edit(t, func(b []byte) []byte { b[20] ^= 1; b[2*historyBlock+9] ^= 1; return b })
		},
		"damaged anchor": func(g *estate) { scribble(t, g.m, "/data/authority/anchor") },
		"moved":          func(g *estate) { g.elsewhere(t) },
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			g := newEstate(t, 2)
			head := g.head(t)
			harm(g)
			history := g.m.Tree("/data/authority")[historyPath]
			act := func(g *estate, f *durable.Fault, p durable.Plan) error {
				f.SetPlan(p)
				o := g.options()
				o.FS = f
				return Accept(t.Context(), o, head)
			}
			eachFault(t, g, act, func(g *estate, done bool) {
				a, err := Open(t.Context(), g.options())
				must(t, err)
				f := a.Status().Fence
				must(t, a.Close())
				if f != nil && (done || f.Kind != FenceBehind) {
					t.Errorf("done %v, and fenced: %+v", done, f)
				}
				if f != nil {
					must(t, Accept(t.Context(), g.options(), head))
				}
				if _, kept := g.aside(); name == "damaged history" && kept != history {
					t.Error("the damaged history is not kept")
				}
				a = open(t, g.options())
				if n := length(t, a); n != head.Length {
					t.Errorf("length %d, accepted was %d", n, head.Length)
				}
				must(t, a.Close())
			})
		})
	}
}

// TestHealWithDamageAtEveryFault: the same where the history is damaged and the journal
// too short, and a peer has all of it.
func TestHealWithDamageAtEveryFault(t *testing.T) {
	g := newEstate(t, 2)
	old := g.copied()
	g.grow(t, 2)
	head, peer := g.head(t), open(t, g.options())
	old.edit(t, func(b []byte) []byte { b[2*historyBlock+9] ^= 1; b[20] ^= 1; return b })
	act := func(g *estate, f *durable.Fault, p durable.Plan) error {
		f.SetPlan(p)
		o := g.options()
		o.FS = f
		return Heal(t.Context(), o, peerOf{peer}, &Healing{})
	}
	eachFault(t, old, act, func(g *estate, done bool) {
		a, err := Open(t.Context(), g.options())
		must(t, err)
		f := a.Status().Fence
		must(t, a.Close())
		if f != nil {
			if done {
				t.Errorf("healed, and fenced: %+v", f)
			}
			must(t, Heal(t.Context(), g.options(), peerOf{peer}, &Healing{}))
		}
		a = open(t, g.options())
		if n := length(t, a); n != head.Length {
			t.Errorf("length %d, the peer has %d", n, head.Length)
		}
		must(t, a.Close())
	})
}

// TestFreezeAtEveryFault: a freeze that fails leaves a registry that goes on, or one that
// is frozen; freezing again ends it. What was answered stays.
func TestFreezeAtEveryFault(t *testing.T) {
	g := newEstate(t, 1)
	act := func(g *estate, f *durable.Fault, p durable.Plan) error {
		o := g.options()
		o.FS = f
		a, err := Open(t.Context(), o)
		must(t, err)
		defer a.Close()
		_, req := first("test:last", nil)
		publish(t, a, req)
		settled(t, a, req)
		f.SetPlan(p)
		return a.Freeze(t.Context())
	}
	eachFault(t, g, act, func(g *estate, done bool) {
		a, err := Open(t.Context(), g.options())
		must(t, err)
		defer a.Close()
		f := a.Status().Fence
		if frozen := f != nil && f.Kind == FenceFrozen; f != nil && !frozen || done && !frozen {
			t.Errorf("done %v, and the fence is %+v", done, f)
		}
		must(t, a.Freeze(t.Context()))
		if n := length(t, a); n != 3 {
			t.Errorf("length %d: what was published is lost", n)
		}
		on, err := anchor.NewFile(g.m, "/data/authority/anchor", "").Load()
		must(t, err)
		if !on.Frozen || on.Length() != 3 {
			t.Errorf("the anchor is %+v", on)
		}
	})
}
