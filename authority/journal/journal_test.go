package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var registry = warg.Sum([]byte("a registry"))

// signed is the envelope whose signature all frames of these tests have.
var signed = sync.OnceValue(func() warg.Envelope {
	k, err := warg.ParsePrivateKey("ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk=")
	if err != nil {
		panic(err)
	}
	return warg.Envelope{KeyID: k.Public().ID(), Signature: k.SignPackageRecord([]byte("x"))}
})

func dir(fsys durable.FS) *segment.Dir {
	return &segment.Dir{FS: fsys, Path: "/log", Grow: 4 << 10, Max: 8 << 10}
}

// frame returns a frame like those of a real log. The signature is of other
// content, which the journal does not look at.
func frame(t testing.TB, index uint64) Frame {
	t.Helper()
	content := fmt.Appendf(nil, "record %d", index)
	env := warg.Envelope{Content: content, KeyID: signed().KeyID, Signature: signed().Signature}
	if index%5 == 0 {
		return NewFrame(index, warg.PackageName{}, env)
	}
	name, err := warg.ParsePackageName(fmt.Sprintf("test:p%c", 'a'+index%26))
	must(t, err)
	return NewFrame(index, name, env)
}

func frames(t testing.TB, from, to uint64) (list []Frame) {
	t.Helper()
	for i := from; i < to; i++ {
		list = append(list, frame(t, i))
	}
	return list
}

func root(list []Frame) warg.Digest {
	var e vlog.Edge
	for _, f := range list {
		e.Append(f.Leaf)
	}
	return e.Root()
}

// fill writes frames in batches as the sequencer does.
func fill(t testing.TB, j *Journal, to, batch uint64) []Position {
	t.Helper()
	var all []Position
	for j.Length() < to {
		places, err := j.Append(frames(t, j.Length(), min(to, j.Length()+batch)))
		must(t, err)
		must(t, j.Sync())
		all = append(all, places...)
	}
	return all
}

func newMemory(t testing.TB) *durable.Memory {
	t.Helper()
	m := durable.NewMemory()
	must(t, durable.MkdirAll(m, "/log"))
	return m
}

func check(t *testing.T, j *Journal, want []Frame) {
	t.Helper()
	var got []Frame
	must(t, j.Scan(0, uint64(len(want)), func(f Frame, p Position) error {
		again, err := j.Read(p)
		if err != nil || !reflect.DeepEqual(again, f) {
			t.Errorf("frame %d read by its position: %v", f.Index, err)
		}
		got = append(got, f)
		return nil
	}))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("scan yields %d frames, want %d", len(got), len(want))
	}
}

func TestAppendReadReopen(t *testing.T) {
	m := newMemory(t)
	j, err := Open(dir(m), registry, 0)
	must(t, err)
	const n = 100
	places := fill(t, j, n, 7)
	if places[n-1].Segment < 4 {
		t.Fatalf("all in %d segments: nothing is tested", places[n-1].Segment)
	}
	all := frames(t, 0, n)
	if e := j.Edge(); e.Root() != root(all) {
		t.Error("wrong root")
	}
	check(t, j, all)
	must(t, j.Close())

	j, err = Open(dir(m.Crash(nil)), registry, n)
	must(t, err)
	if tail, _ := j.Tail(); j.Root() != root(all) || j.Length() != n || len(tail) > 0 {
		t.Errorf("reopened with length %d, tail of %d", j.Length(), len(tail))
	}
	fill(t, j, n+30, 3)
	check(t, j, frames(t, 0, n+30))
	var tail []Frame
	must(t, j.Scan(57, 63, func(f Frame, _ Position) error { tail = append(tail, f); return nil }))
	if !reflect.DeepEqual(tail, frames(t, 57, 63)) {
		t.Errorf("scan from 57 below 63 yields %d frames", len(tail))
	}
	if err := j.Scan(120, 131, func(Frame, Position) error { return nil }); !errors.As(err, new(*Damage)) {
		t.Errorf("scan beyond the end: %v", err)
	}
	if _, err := j.Append(frames(t, 3, 4)); err == nil {
		t.Error("a frame with a wrong index was appended")
	}
}

func TestTailAboveTheAnchor(t *testing.T) {
	for _, anchored := range []uint64{0, 1, 20, 24} {
		m := newMemory(t)
		j, err := Open(dir(m), registry, 0)
		must(t, err)
		fill(t, j, anchored, 10)
		fill(t, j, anchored+4, 4)
		j, err = Open(dir(m), registry, anchored)
		must(t, err)
		tail, places := j.Tail()
		want := frames(t, anchored, anchored+4)
		if !reflect.DeepEqual(tail, want) || len(places) != 4 || j.Root() != root(frames(t, 0, anchored)) {
			t.Errorf("anchored %d: tail of %d frames", anchored, len(tail))
		}
		must(t, j.Cut(anchored+1))
		if e := j.Edge(); j.Length() != anchored+1 || e.Root() != root(frames(t, 0, anchored+1)) {
			t.Errorf("anchored %d: length %d after the cut", anchored, j.Length())
		}
		if err := j.Cut(anchored + 3); err == nil {
			t.Error("cutting above the end succeeds")
		}
		if anchored > 0 {
			if err := j.Cut(anchored - 1); err == nil {
				t.Error("cutting below the anchor succeeds")
			}
		}
		fill(t, j, anchored+20, 5)
		check(t, j, frames(t, 0, anchored+20))
		j, err = Open(dir(m.Crash(nil)), registry, anchored+20)
		must(t, err)
		check(t, j, frames(t, 0, anchored+20))
	}
}

// TestDamage flips one bit anywhere: below the anchor it is reported and nothing
// is written, above it the tail is cut there.
func TestDamage(t *testing.T) {
	const anchored, tail = 40, 4
	m := newMemory(t)
	j, err := Open(dir(m), registry, 0)
	must(t, err)
	places := fill(t, j, anchored, 8)
	places = append(places, fill(t, j, anchored+tail, tail)...)
	must(t, j.Close())
	first := places[anchored]
	files := m.Tree("/log")
	for name, content := range files {
		for at := 0; at < len(content); at += 23 {
			f, err := m.OpenWrite(name)
			must(t, err)
			_, err = f.WriteAt([]byte{content[at] ^ 0x10}, int64(at))
			must(t, err)
			above := filepath.Base(name) == segment.Name(first.Segment) && at >= int(first.Offset)
			j, err := Open(dir(m), registry, anchored)
			switch {
			case above:
				must(t, err)
				got, _ := j.Tail()
				if want := frames(t, anchored, anchored+uint64(len(got))); len(got) > tail || !reflect.DeepEqual(append([]Frame{}, got...), append([]Frame{}, want...)) {
					t.Errorf("%s, byte %d: tail of %d frames", name, at, len(got))
				}
			case err == nil:
				// The frames of a sealed segment are read only when they are needed.
				if err := j.Scan(0, anchored, func(Frame, Position) error { return nil }); !errors.As(err, new(*Damage)) {
					t.Errorf("%s, byte %d: scan of a damaged journal: %v", name, at, err)
				}
			case !errors.As(err, new(*Damage)):
				t.Errorf("%s, byte %d: %v", name, at, err)
			}
			if !above {
				_, err = f.WriteAt([]byte{content[at]}, int64(at))
				must(t, err)
				if m.Tree("/log")[name] != content {
					t.Fatalf("%s, byte %d: opening a damaged journal changed it", name, at)
				}
				continue
			}
			_, err = f.WriteAt([]byte(content), 0)
			must(t, err)
		}
	}
}

func TestWrongFiles(t *testing.T) {
	build := func(t *testing.T) *durable.Memory {
		m := newMemory(t)
		j, err := Open(dir(m), registry, 0)
		must(t, err)
		fill(t, j, 60, 6)
		return m
	}
	name := func(n uint64) string { return "/log/" + segment.Name(n) }
	cases := map[string]func(t *testing.T, m *durable.Memory) (registryID warg.Digest, anchored uint64){
		"another registry":  func(*testing.T, *durable.Memory) (warg.Digest, uint64) { return warg.Sum(nil), 60 },
		"anchor beyond":     func(*testing.T, *durable.Memory) (warg.Digest, uint64) { return registry, 61 },
		"anchor far behind": func(*testing.T, *durable.Memory) (warg.Digest, uint64) { return registry, 3 },
		"first file missing": func(t *testing.T, m *durable.Memory) (warg.Digest, uint64) {
			must(t, m.Remove(name(1)))
			return registry, 60
		},
		"middle file missing": func(t *testing.T, m *durable.Memory) (warg.Digest, uint64) {
			must(t, m.Remove(name(2)))
			return registry, 60
		},
		"all files missing": func(t *testing.T, m *durable.Memory) (warg.Digest, uint64) {
			for file := range m.Tree("/log") {
				must(t, m.Remove(file))
			}
			return registry, 60
		},
		"files swapped": func(t *testing.T, m *durable.Memory) (warg.Digest, uint64) {
			must(t, m.Rename(name(1), "/log/x"))
			must(t, m.Rename(name(2), name(1)))
			must(t, m.Rename("/log/x", name(2)))
			return registry, 60
		},
		"footer cut off": func(t *testing.T, m *durable.Memory) (warg.Digest, uint64) {
			f, err := m.OpenWrite(name(1))
			must(t, err)
			must(t, f.Truncate(200))
			return registry, 60
		},
	}
	for what, prepare := range cases {
		t.Run(what, func(t *testing.T) {
			m := build(t)
			id, anchored := prepare(t, m)
			before := m.Tree("/log")
			if _, err := Open(dir(m), id, anchored); !errors.As(err, new(*Damage)) {
				t.Errorf("open: %v", err)
			}
			if !reflect.DeepEqual(m.Tree("/log"), before) {
				t.Error("opening changed something")
			}
		})
	}
}

// TestPowerCutAtEveryCall cuts the power at every call of appending a batch that
// needs a new segment: what was synced before is there and sealed correctly.
// nearlyFull returns a journal that begins its second segment with the next batch of any
// size.
func nearlyFull(t *testing.T) (*durable.Memory, *durable.Fault, *Journal) {
	t.Helper()
	m := newMemory(t)
	fault := durable.NewFault(m)
	j, err := Open(dir(fault), registry, 0)
	must(t, err)
	for j.open == nil || j.open.Fits(4, 3000) {
		fill(t, j, j.Length()+1, 1)
	}
	return m, fault, j
}

func TestPowerCutAtEveryCall(t *testing.T) {
	for seed := range uint64(6) {
		for at := 1; ; at++ {
			m, fault, j := nearlyFull(t)
			anchored := j.Length()
			fault.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
			_, err := j.Append(frames(t, anchored, anchored+20))
			if err == nil {
				err = j.Sync()
			}
			if !fault.Reached() {
				must(t, err)
				break
			}
			if err == nil {
				t.Fatalf("call %d: no error", at)
			}
			after := m.Crash(rand.New(rand.NewPCG(seed, uint64(at))))
			j, err = Open(dir(after), registry, anchored)
			must(t, err)
			tail, _ := j.Tail()
			if j.Root() != root(frames(t, 0, anchored)) || len(tail) > 20 {
				t.Fatalf("seed %d, call %d: wrong root or tail of %d", seed, at, len(tail))
			}
			must(t, j.Cut(anchored))
			fill(t, j, anchored+40, 9)
			check(t, j, frames(t, 0, anchored+40))
		}
	}
}

// TestPowerCutAfterAKill: a process is killed at every call of a batch that begins a
// segment, the next goes on where it was, and the power is cut during that.
func TestPowerCutAfterAKill(t *testing.T) {
	for seed := range uint64(6) {
		for at := 1; ; at++ {
			m, fault, j := nearlyFull(t)
			anchored := j.Length()
			fault.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
			_, err := j.Append(frames(t, anchored, anchored+20))
			if err == nil {
				err = j.Sync()
			}
			if !fault.Reached() {
				must(t, err)
				break
			}
			j, err = Open(dir(m), registry, anchored)
			must(t, err)
			must(t, j.Cut(anchored))
			fill(t, j, anchored+20, 20)
			after, err := Open(dir(m.Crash(rand.New(rand.NewPCG(seed, uint64(at))))), registry, anchored+20)
			if err != nil {
				t.Fatalf("seed %d, call %d: %v", seed, at, err)
			}
			check(t, after, frames(t, 0, anchored+20))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(frame(f, 0).encode())
	f.Add(frame(f, 1).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(fr.encode())
		must(t, err)
		if !reflect.DeepEqual(again, fr) {
			t.Errorf("%+v prints as %+v", fr, again)
		}
	})
}
