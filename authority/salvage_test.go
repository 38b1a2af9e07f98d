package authority

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

const (
	historyPath  = "/data/authority/anchor.log"
	historyBlock = 192 // bytes
)

// edit changes the history's bytes.
func (g *estate) edit(t *testing.T, change func(b []byte) []byte) {
	t.Helper()
	b := []byte(g.m.Tree("/data/authority")[historyPath])
	must(t, durable.Replace(g.m, historyPath, change(b), nil))
}

// lines returns the history as it can be read.
func (g *estate) lines(t *testing.T) []warg.SignedCheckpoint {
	t.Helper()
	a, err := anchor.NewFile(g.m, "/data/authority/anchor", "").Load()
	must(t, err)
	r, err := anchor.Salvage(g.m, historyPath, a.Registry)
	must(t, err)
	return r.Lines
}

// aside returns the name and content of the history that is kept beside.
func (g *estate) aside() (name, content string) {
	for name, content := range g.m.Tree("/data/authority") {
		if strings.HasPrefix(name, historyPath+".damaged-") {
			return name, content
		}
	}
	return "", ""
}

// damages of a history of seven lines, and which of them are lost by that.
func historyDamages() map[string]struct {
	change func(b []byte) []byte
	lost   []int
} {
	flip := func(at int) func(b []byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	return map[string]struct {
		change func(b []byte) []byte
		lost   []int
	}{
		"header":            {flip(20), nil},
		"a line":            {flip(3*historyBlock + 10), []int{2}},
		"first and header":  {func(b []byte) []byte { return flip(30)(flip(historyBlock + 100)(b)) }, []int{0}},
		"a line of zeros":   {func(b []byte) []byte { clear(b[4*historyBlock : 5*historyBlock]); return b }, []int{3}},
		"two lines swapped": {func(b []byte) []byte { return swapped(b, 2, 3) }, nil},
		"a page of zeros":   {func(b []byte) []byte { clear(b[:4*historyBlock]); return b }, []int{0, 1, 2}},
		"noise behind":      {flip(100 * historyBlock), nil},
		"only noise":        {func(b []byte) []byte { return []byte("noise") }, []int{0, 1, 2, 3, 4}},
	}
}

// swapped exchanges two blocks.
func swapped(b []byte, i, j int) []byte {
	x, y := b[i*historyBlock:][:historyBlock], b[j*historyBlock:][:historyBlock]
	for n := range x {
		x[n], y[n] = y[n], x[n]
	}
	return b
}

// TestDamagedHistory: however the history is damaged, an operator's word or a peer brings
// the registry back, with every line that still verifies and the damaged file beside.
// What a lost line said is not denied afterwards.
func TestDamagedHistory(t *testing.T) {
	for name, tt := range historyDamages() {
		for _, byPeer := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", peer", false: ", word"}[byPeer], func(t *testing.T) {
				g := newEstate(t, 5)
				head, before, peer := g.head(t), g.lines(t), open(t, g.copied().options())
				g.edit(t, tt.change)
				damaged := g.m.Tree("/data/authority")[historyPath]
				g.base = new(kv.Memory) // no index remembers what the lines said
				if byPeer {
					must(t, Heal(t.Context(), g.options(), peerOf{peer}, &Healing{}))
				} else {
					must(t, Accept(t.Context(), g.options(), head))
				}
				if _, kept := g.aside(); kept != damaged {
					t.Error("the damaged file is not kept as it was")
				}
				a := open(t, g.options())
				for i, c := range before {
					want := warg.Verified
					for _, n := range tt.lost {
						if n == i {
							want = warg.Unverified
						}
					}
					judged(t, a, c, want)
				}
				must(t, a.Close())
				g.complete(t, 5)
				if after := g.lines(t); len(after) != len(before)-len(tt.lost)+1 {
					t.Errorf("%d lines, before %d, of which %d were lost, and one more was issued", len(after), len(before), len(tt.lost))
				}
			})
		}
	}
}

// judged checks what is said of a checkpoint that was issued, of another one of its
// length, and what can be proven there.
func judged(t *testing.T, a *Authority, c warg.SignedCheckpoint, want warg.Verdict) {
	t.Helper()
	claims := c.Unverified()
	got, err := a.VerifyCheckpoint(t.Context(), c)
	if err != nil || got.Checkpoint != want || got.Signature != warg.Verified {
		t.Errorf("length %d: %+v, %v; want %v", claims.LogLength, got, err, want)
	}
	root, err := claims.MapRoot.Digest()
	must(t, err)
	other := warg.Checkpoint{LogLength: claims.LogLength, LogRoot: warg.Sum(nil), MapRoot: root, Timestamp: claims.Timestamp}.Sign(wargtest.Alice())
	if got, err := a.VerifyCheckpoint(t.Context(), other); err != nil || got.Checkpoint != warg.Invalid {
		t.Errorf("length %d, another root: %+v, %v", claims.LogLength, got, err)
	}
	_, err = a.Inclusion(t.Context(), claims.LogLength, []uint64{0})
	if known := want == warg.Verified; known && err != nil || !known && !isKind(err, warg.KindLengthNotFound) {
		t.Errorf("proof at length %d: %v", claims.LogLength, err)
	}
	if _, err := a.Consistency(t.Context(), claims.LogLength, length(t, a)); err != nil {
		t.Errorf("consistency from length %d: %v", claims.LogLength, err)
	}
}

// TestLostHistory: without any history left, what was issued is known by the log's root
// alone, or by an index that survived; the newest is known by the word.
func TestLostHistory(t *testing.T) {
	for _, index := range []bool{false, true} {
		g := newEstate(t, 3)
		head, before := g.head(t), g.lines(t)
		must(t, g.m.Remove(historyPath))
		if !index {
			g.base = new(kv.Memory)
		}
		must(t, Accept(t.Context(), g.options(), head))
		a := open(t, g.options())
		for _, c := range before {
			want := warg.Unverified
			if index || c.Unverified().LogLength == head.Length {
				want = warg.Verified
			}
			judged(t, a, c, want)
		}
		must(t, a.Close())
		g.complete(t, 3)
	}
}

// TestWholeHistoryDeniesForgeries: where nothing was lost, a checkpoint that was never
// issued is none, although its roots may be right.
func TestWholeHistoryDeniesForgeries(t *testing.T) {
	o := memoryOptions(durable.NewMemory(), newClock())
	o.byHand = true
	a := open(t, o)
	for _, name := range []string{"test:one", "test:two"} {
		_, req := first(name, nil)
		publish(t, a, req)
	}
	_, err := a.turn() // both at once
	must(t, err)
	root, _, err := a.logRootAt(2, length(t, a))
	must(t, err)
	never := warg.Checkpoint{LogLength: 2, LogRoot: root, MapRoot: warg.Sum(nil)}.Sign(wargtest.Alice())
	if got, err := a.VerifyCheckpoint(t.Context(), never); err != nil || got.Checkpoint != warg.Invalid || got.Signature != warg.Verified {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestForeignHistory: a history of another registry is no damage, and is not made ours.
func TestForeignHistory(t *testing.T) {
	g, other := newEstate(t, 2), &estate{m: durable.NewMemory(), base: new(kv.Memory), c: newClock()}
	other.c.Add(time.Hour) // or it would be the same registry
	other.grow(t, 1)
	head := g.head(t)
	foreign := other.m.Tree("/data/authority")[historyPath]
	g.edit(t, func([]byte) []byte { return []byte(foreign) })
	err := Accept(t.Context(), g.options(), head)
	if !errors.As(err, new(*anchor.DamageError)) {
		t.Errorf("accepted: %v", err)
	}
}
