package upstream

import (
	"context"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestSplitView: a registry that shows two replicas different histories is found out
// by both when they compare, whichever of the two logs is the longer.
func TestSplitView(t *testing.T) {
	open := func(packages ...string) *Replica {
		m := wargtest.NewMemory(wargtest.MemoryOptions())
		for _, name := range packages {
			p := wargtest.NewPackage(name)
			if _, err := m.Publish(t.Context(), p.Request(p.Next(wargtest.Alice(), wargtest.Init(wargtest.Alice())))); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Open(t.Context(), Options{
			Domain: "up.example", Transport: Adapt(m), Store: newMemStore(), OperatorKey: wargtest.Alice().Public().ID(),
			Dir: t.TempDir(), EvidenceDir: t.TempDir(), TempDir: t.TempDir(), Now: newClock().now,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, other := range map[string][]string{"same length": {"test:x", "test:b"}, "longer": {"test:x", "test:b", "test:c"}} {
		t.Run(name, func(t *testing.T) {
			a, b := open("test:a", "test:b"), open(other...)
			headA, _ := a.Held()
			headB, _ := b.Held()
			prove := func(r *Replica) Prove {
				return func(ctx context.Context, from, to uint64) ([]byte, error) { return r.Consistency(ctx, from, to) }
			}
			for who, try := range map[string]func() error{
				"A": func() error { _, err := a.Witness(t.Context(), headB, prove(b)); return err },
				"B": func() error { _, err := b.Witness(t.Context(), headA, prove(a)); return err },
			} {
				if err := try(); ClassOf(err) != ClassEquivocation || len(EvidenceOf(err)) == 0 {
					t.Errorf("%s: %v", who, err)
				}
			}
			if a.Status().Quarantine == nil || b.Status().Quarantine == nil {
				t.Error("not quarantined by both")
			}
		})
	}
	a, again := open("test:a"), open("test:a")
	head, _ := again.Held()
	if seen, err := a.Witness(t.Context(), head, nil); err != nil || seen != SightingKnown {
		t.Errorf("the same: %v, %v", seen, err)
	}
	longer := open("test:a", "test:b")
	head, _ = longer.Held()
	v, err := a.VerifyCheckpoint(t.Context(), head)
	if err != nil || v.Checkpoint != warg.Unverified || v.RetryAfter == 0 {
		t.Errorf("one that is news: %+v, %v", v, err)
	}
	if a.Status().Quarantine != nil {
		t.Error("quarantined for nothing")
	}
}
