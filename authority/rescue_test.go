package authority

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// estate is a registry in memory with some packages in it.
type estate struct {
	m    *durable.Memory
	base *kv.Memory
	c    *clock
	n    int // packages
}

func newEstate(t *testing.T, packages int) *estate {
	t.Helper()
	g := &estate{m: durable.NewMemory(), base: new(kv.Memory), c: newClock()}
	g.grow(t, packages)
	return g
}

func (g *estate) options() Options {
	o := memoryOptions(g.m, g.c)
	o.Index = index.InMemory(g.base)
	return o
}

// grow publishes further packages, each with content.
func (g *estate) grow(t *testing.T, packages int) {
	t.Helper()
	a := open(t, g.options())
	for range packages {
		g.n++
		content := wargtest.Component(fmt.Sprint("content ", g.n))
		_, req := first(fmt.Sprintf("test:p%d", g.n), content)
		publish(t, a, req)
		must(t, a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum(content), bytes.NewReader(content)))
		settled(t, a, req)
		g.c.Add(time.Second)
	}
	must(t, a.Close())
}

// copied returns a copy of the registry as a snapshot of the machine would have it: even
// its directory is the same.
func (g *estate) copied() *estate {
	return &estate{m: g.m.Crash(nil), base: new(kv.Memory), c: g.c, n: g.n}
}

// head returns the newest checkpoint.
func (g *estate) head(t *testing.T) (w Word) {
	t.Helper()
	a := open(t, g.options())
	v, err := a.Checkpoint(t.Context())
	must(t, err)
	must(t, a.Close())
	return Word{v.Checkpoint.LogLength, v.Checkpoint.LogRoot}
}

// fenced opens the registry and returns its fence.
func (g *estate) fenced(t *testing.T, o Options) *Fence {
	t.Helper()
	a, err := Open(t.Context(), o)
	must(t, err)
	defer a.Close()
	f := a.Status().Fence
	if f == nil {
		t.Fatal("it is not fenced")
	}
	return f
}

// complete checks that everything that was published is there, and that it goes on.
func (g *estate) complete(t *testing.T, packages int) {
	t.Helper()
	a := open(t, g.options())
	for i := 1; i <= packages; i++ {
		_, req := first(fmt.Sprintf("test:p%d", i), wargtest.Component(fmt.Sprint("content ", i)))
		if st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
			t.Errorf("package %d: %s, %v", i, st.State, err)
		}
		if _, err := a.Stat(t.Context(), warg.Sum(wargtest.Component(fmt.Sprint("content ", i)))); err != nil {
			t.Errorf("content of package %d: %v", i, err)
		}
	}
	audit(t, a)
	must(t, a.Close())
	g.n = packages
	g.grow(t, 1)
}

// elsewhere copies the registry to another disk.
func (g *estate) elsewhere(t *testing.T) {
	t.Helper()
	fresh := durable.NewMemory()
	must(t, durable.MkdirAll(fresh, "/other")) // other inodes
	must(t, durable.MkdirAll(fresh, "/data"))
	for name, content := range g.m.Tree("/data") {
		must(t, durable.MkdirAll(fresh, filepath.Dir(name)))
		must(t, durable.Replace(fresh, name, []byte(content), nil))
	}
	g.m = fresh
}

func TestAccept(t *testing.T) {
	remove := func(names ...string) func(t *testing.T, g *estate) {
		return func(t *testing.T, g *estate) {
			for _, name := range names {
				must(t, g.m.Remove("/data/authority/"+name))
			}
		}
	}
	cases := map[string]func(t *testing.T, g *estate){
		"the directory was copied":    func(t *testing.T, g *estate) { g.elsewhere(t) },
		"the anchor is lost":          remove("anchor"),
		"anchor and history are lost": remove("anchor", "anchor.log"),
		"anchor and index are lost":   func(t *testing.T, g *estate) { remove("anchor")(t, g); g.base = new(kv.Memory) },
		"the anchor is damaged":       func(t *testing.T, g *estate) { scribble(t, g.m, "/data/authority/anchor") },
	}
	for name, harm := range cases {
		t.Run(name, func(t *testing.T) {
			g := newEstate(t, 3)
			head := g.head(t)
			harm(t, g)
			if f := g.fenced(t, g.options()); f.Kind != FenceBehind {
				t.Errorf("the fence is of kind %s", f.Kind)
			}
			for _, w := range []Word{{head.Length, warg.Sum(nil)}, {head.Length - 1, head.LogRoot}, {head.Length + 1, head.LogRoot}, {}} {
				if err := Accept(t.Context(), g.options(), w); err == nil {
					t.Errorf("%s was accepted, the head is %s", w, head)
				}
			}
			must(t, Accept(t.Context(), g.options(), head))
			g.complete(t, 3)
		})
	}
}

// TestAcceptIsSafe: whatever kills the process, the registry is fenced or as accepted,
// and accepting again helps.
func TestAcceptIsSafe(t *testing.T) {
	for at := 1; ; at++ {
		g := newEstate(t, 2)
		head := g.head(t)
		must(t, g.m.Remove("/data/authority/anchor"))
		f := durable.NewFault(g.m)
		f.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
		o := g.options()
		o.FS = f
		err := Accept(t.Context(), o, head)
		f.Kill()
		g.m = g.m.Crash(nil)
		g.base = new(kv.Memory)
		if err != nil {
			must(t, Accept(t.Context(), g.options(), head))
		}
		g.complete(t, 2)
		if !f.Reached() {
			return
		}
	}
}

// peerOf is a peer that holds everything of a registry.
type peerOf struct {
	a *Authority
}

func (p peerOf) Head(ctx context.Context) (warg.SignedCheckpoint, error) {
	v, err := p.a.Checkpoint(ctx)
	return v.Signed, err
}

func (p peerOf) Leaves(_ context.Context, from, to uint64) iter.Seq2[PeerLeaf, error] {
	return func(yield func(PeerLeaf, error) bool) {
		stop := errors.New("stop")
		err := p.a.journal.Scan(from, to, func(f journal.Frame, _ journal.Position) error {
			if !yield(PeerLeaf{f.Name, f.Envelope}, nil) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			yield(PeerLeaf{}, err)
		}
	}
}

func (p peerOf) Content(ctx context.Context, d warg.Digest) (io.ReadCloser, error) {
	return p.a.Open(ctx, d)
}

// TestHealAfterRestore: a snapshot of yesterday is brought back, and who mirrored us
// has the rest.
func TestHealAfterRestore(t *testing.T) {
	for _, missing := range []int{0, 1, 7} {
		g := newEstate(t, 3)
		old := g.copied()
		g.grow(t, missing)
		theirs := open(t, g.options())
		o := old.options()
		o.Peers = []string{"peer.example"}
		a, err := Open(t.Context(), o)
		must(t, err)
		if f := a.Status().Fence; f == nil || f.Kind != FencePeers {
			t.Fatalf("with a peer that was not heard: %+v", f)
		}
		if _, err := a.Checkpoint(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
			t.Errorf("the head is shown: %v", err)
		}
		head, err := peerOf{theirs}.Head(t.Context())
		must(t, err)
		must(t, a.PeerSaw("peer.example", &head))
		switch f := a.Status().Fence; {
		case missing == 0 && f != nil:
			t.Errorf("nothing is missing, and it is fenced: %+v", f)
		case missing > 0 && (f == nil || f.Kind != FenceBehind):
			t.Errorf("the peer saw more: %+v", f)
		}
		must(t, a.Close())
		h := &Healing{}
		must(t, Heal(t.Context(), old.options(), peerOf{theirs}, h))
		if got := int(h.To - h.From); got != missing || len(h.Lacking) != 0 {
			t.Errorf("%d records were taken over, not %d; lacking %v", got, missing, h.Lacking)
		}
		must(t, theirs.Close())
		old.complete(t, 3+missing)
	}
}

// TestHealFromNothing: only the key is left, and an operator vouches for the peer.
func TestHealFromNothing(t *testing.T) {
	g := newEstate(t, 5)
	head := g.head(t)
	theirs := open(t, g.options())
	fresh := &estate{m: durable.NewMemory(), base: new(kv.Memory), c: g.c}
	err := Heal(t.Context(), fresh.options(), peerOf{theirs}, &Healing{})
	if !errors.As(err, new(*NeedWordError)) {
		t.Fatalf("without a word: %v", err)
	}
	if err := Heal(t.Context(), fresh.options(), peerOf{theirs}, &Healing{Word: &Word{head.Length, warg.Sum(nil)}}); !errors.As(err, new(*RefusedError)) {
		t.Errorf("with another word: %v", err)
	}
	must(t, Heal(t.Context(), fresh.options(), peerOf{theirs}, &Healing{Word: &head}))
	must(t, theirs.Close())
	fresh.complete(t, 5)
}

// TestHealIsSafe: wherever a healing is killed, it can be done again.
func TestHealIsSafe(t *testing.T) {
	g := newEstate(t, 2)
	old := g.copied()
	g.grow(t, 3)
	theirs := open(t, g.options())
	for at := 1; ; at++ {
		here := old.copied()
		f := durable.NewFault(here.m)
		f.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
		o := here.options()
		o.FS = f
		err := Heal(t.Context(), o, peerOf{theirs}, &Healing{})
		f.Kill()
		here.m = here.m.Crash(nil)
		if err != nil {
			must(t, Heal(t.Context(), here.options(), peerOf{theirs}, &Healing{}))
		}
		if at%5 == 1 || !f.Reached() { // it takes a while
			here.complete(t, 5)
		}
		if t.Failed() {
			t.Fatalf("killed at call %d", at)
		}
		if !f.Reached() {
			return
		}
	}
}

// TestHealRefusedChangesNothing: a peer that is refused costs nothing that is here: not
// what stands in the journal behind damage, and not a tail.
func TestHealRefusedChangesNothing(t *testing.T) {
	harms := map[string]func(t *testing.T, g *estate){
		"a damaged record": func(t *testing.T, g *estate) {
			name := "/data/authority/log/" + segment.Name(1)
			b, err := durable.ReadFile(g.m, name, 1<<20)
			must(t, err)
			at := bytes.Index(b, []byte("test:p2"))
			b[at] ^= 1
			must(t, durable.Replace(g.m, name, b, nil))
		},
		"a tail": func(t *testing.T, g *estate) {
			o := g.options()
			o.Step = func(name string) error {
				if name == "segSynced" {
					return errCrash
				}
				return nil
			}
			a, err := Open(t.Context(), o)
			must(t, err)
			_, req := first("test:tail", nil)
			publish(t, a, req)
			<-a.Done()
			_ = a.Close() // it failed
		},
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			g := newEstate(t, 3)
			here := g.copied()
			g.grow(t, 1)
			theirs := open(t, g.options())
			other := newEstate(t, 0) // another registry that the same key signs for
			other.n = 10
			other.grow(t, 6)
			liar := open(t, other.options())
			harm(t, here)
			before := here.m.Tree("/data/authority/log")
			if err := Heal(t.Context(), here.options(), peerOf{liar}, &Healing{}); err == nil {
				t.Fatal("another registry's log was taken over")
			}
			if after := here.m.Tree("/data/authority/log"); !maps.Equal(before, after) {
				t.Error("the journal changed")
			}
			must(t, Heal(t.Context(), here.options(), peerOf{theirs}, &Healing{}))
			here.complete(t, 4)
		})
	}
}

// TestPeersThatLie: a peer cannot make us sign, forget or stop for nothing.
func TestPeersThatLie(t *testing.T) {
	g := newEstate(t, 3)
	old := g.copied()
	old.grow(t, 1)
	g.c.Add(time.Minute)
	g.n += 10
	g.grow(t, 2) // another history after the third package
	theirs := open(t, g.options())
	head, err := peerOf{theirs}.Head(t.Context())
	must(t, err)
	o := old.options()
	o.Peers = []string{"a.example", "b.example"}
	a, err := Open(t.Context(), o)
	must(t, err)
	forged := warg.Checkpoint{LogLength: 100}.Sign(wargtest.Bob())
	if err := a.PeerSaw("a.example", &forged); err == nil {
		t.Error("a checkpoint that we never signed counts")
	}
	if err := a.PeerSaw("c.example", nil); err == nil {
		t.Error("somebody who is no peer is heard")
	}
	must(t, a.PeerSaw("a.example", nil))
	if f := a.Status().Fence; f == nil || f.Kind != FencePeers {
		t.Errorf("one of two peers was heard: %+v", f)
	}
	// theirs has one record more than old, and another one in its place.
	must(t, a.PeerSaw("b.example", &head))
	if f := a.Status().Fence; f == nil || f.Kind != FenceBehind {
		t.Errorf("a longer history of ours: %+v", f)
	}
	must(t, a.Close())
	if err := Heal(t.Context(), old.options(), peerOf{theirs}, &Healing{}); !errors.As(err, new(*RefusedError)) {
		t.Errorf("healed to another history: %v", err)
	}
	must(t, theirs.Close())
	old.complete(t, 4)
}

// TestFork: a peer that holds another checkpoint of a length that we know has proof
// that two histories were signed.
func TestFork(t *testing.T) {
	g := newEstate(t, 3)
	old := g.copied()
	old.grow(t, 1)
	g.n += 10
	g.grow(t, 1)
	theirs := open(t, g.options())
	head, err := peerOf{theirs}.Head(t.Context())
	must(t, err)
	o := old.options()
	o.Peers = []string{"a.example"}
	a, err := Open(t.Context(), o)
	must(t, err)
	defer a.Close()
	var fork *ForkError
	if err := a.PeerSaw("a.example", &head); !errors.As(err, &fork) || fork.Theirs != head || fork.Ours == head {
		t.Fatalf("got %v", err)
	}
	if f := a.Status().Fence; f == nil || f.Kind != FenceBehind {
		t.Errorf("the fence: %+v", f)
	}
}

func TestFreeze(t *testing.T) {
	g := newEstate(t, 2)
	a := open(t, g.options())
	_, waiting := first("test:waiting", []byte("never sent"))
	publish(t, a, waiting)
	must(t, a.Freeze(t.Context()))
	must(t, a.Freeze(t.Context()))
	frozen := func(a *Authority) {
		t.Helper()
		if f := a.Status().Fence; f == nil || f.Kind != FenceFrozen {
			t.Fatalf("the fence: %+v", f)
		}
		if st, err := a.Record(t.Context(), waiting.LogID, waiting.Record.PackageRecordID()); err != nil || st.State != warg.StateRejected {
			t.Errorf("what waited is %s, %v", st.State, err)
		}
		_, late := first("test:late", nil)
		if _, err := a.Publish(t.Context(), late); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
			t.Errorf("publishing: %v", err)
		}
		if err := a.DefineNamespace(t.Context(), "late"); err == nil {
			t.Error("a namespace was defined")
		}
	}
	frozen(a)
	before, err := a.Checkpoint(t.Context())
	must(t, err)
	must(t, a.Close())
	g.c.Add(24 * time.Hour)
	a, err = Open(t.Context(), g.options())
	must(t, err)
	defer a.Close()
	frozen(a)
	if after, err := a.Checkpoint(t.Context()); err != nil || after.Signed != before.Signed {
		t.Errorf("the last checkpoint became %+v, %v", after.Checkpoint, err)
	}
	audit(t, a)
}

func TestAcceptClock(t *testing.T) {
	g := newEstate(t, 1)
	a := open(t, g.options())
	if err := a.AcceptClock(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindConflict}) {
		t.Errorf("with nothing to accept: %v", err)
	}
	must(t, a.Close())
	g.c.Add(2 * maxJump)
	a, err := Open(t.Context(), g.options())
	must(t, err)
	if f := a.Status().Fence; f == nil || f.Kind != FenceJump {
		t.Fatalf("after two years: %+v", f)
	}
	must(t, a.AcceptClock(t.Context()))
	if f := a.Status().Fence; f != nil {
		t.Errorf("afterwards: %+v", f)
	}
	must(t, a.Close())
	g.complete(t, 1)
}

func scribble(t *testing.T, m *durable.Memory, name string) {
	t.Helper()
	b, err := durable.ReadFile(m, name, 1<<20)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, durable.Replace(m, name, b, nil))
}
