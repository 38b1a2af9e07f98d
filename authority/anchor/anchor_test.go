package anchor

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func operator(t testing.TB) warg.PrivateKey {
	t.Helper()
	k, err := warg.ParsePrivateKey("ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk=")
	must(t, err)
	return k
}

func registry() warg.Digest { return warg.Sum([]byte("registry")) }

func signed(t testing.TB, length, time uint64) warg.SignedCheckpoint {
	t.Helper()
	c := warg.Checkpoint{LogLength: length, LogRoot: warg.Sum([]byte{byte(length)}), MapRoot: warg.Sum([]byte("map")), Timestamp: time}
	return c.Sign(operator(t))
}

func genesis(t testing.TB) Anchor {
	return Anchor{
		Registry: registry(), Domain: "pkg.example.com", KeyID: operator(t).Public().ID(),
		Directory: durable.Identity{Inode: 12, Birth: 1700000000000000001},
	}
}

func issued(t testing.TB, length uint64) Anchor {
	a := genesis(t)
	a.Signed = signed(t, length, 1000+length)
	return a
}

func TestEncodeParse(t *testing.T) {
	froze := issued(t, 3)
	froze.Frozen = true
	froze.Previous = warg.Sum([]byte("x"))
	for name, a := range map[string]Anchor{"genesis": genesis(t), "issued": issued(t, 7), "frozen": froze} {
		t.Run(name, func(t *testing.T) {
			b := a.encode()
			got, err := parse(b)
			must(t, err)
			if !reflect.DeepEqual(got, a) {
				t.Errorf("parsed %+v, want %+v", got, a)
			}
			for at := range b {
				for _, flip := range []byte{1, 0x20, 0x80} {
					bad := append([]byte(nil), b...)
					bad[at] ^= flip
					if _, err := parse(bad); err == nil {
						t.Errorf("flip of %#x at byte %d is not noticed", flip, at)
					}
				}
				if _, err := parse(b[:at]); err == nil {
					t.Errorf("the first %d bytes are an anchor", at)
				}
			}
			if _, err := parse(append(b, '\n')); err == nil {
				t.Error("bytes behind the sum are not noticed")
			}
		})
	}
	if !genesis(t).IsGenesis() || issued(t, 1).IsGenesis() || issued(t, 9).Length() != 9 || issued(t, 9).Time() != 1009 {
		t.Error("wrong view of an anchor")
	}
}

// TestParseIsStrict: a right checksum does not make other lines acceptable.
func TestParseIsStrict(t *testing.T) {
	resum := func(text string) []byte {
		at := strings.LastIndex(text, sumWord)
		return []byte(text[:at] + sumWord + warg.Sum([]byte(text[:at])).Hex() + "\n")
	}
	good := string(issued(t, 7).encode())
	if _, err := parse(resum(good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"another version": strings.Replace(good, "entrepot-anchor 1", "entrepot-anchor 2", 1),
		"unknown line":    strings.Replace(good, "flags -\n", "flags -\ncolour red\n", 1),
		"twice":           strings.Replace(good, "flags -\n", "flags -\nflags -\n", 1),
		"missing":         strings.Replace(good, "flags -\n", "", 1),
		"spelling":        strings.Replace(good, "length 7", "length 07", 1),
		"bad root":        strings.Replace(good, "log-root sha256:", "log-root sha512:", 1),
		"genesis, length": strings.Replace(string(genesis(t).encode()), "length 0", "length 1", 1),
	} {
		if _, err := parse(resum(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSwap(t *testing.T) {
	m := durable.NewMemory()
	must(t, durable.MkdirAll(m, "/a"))
	first, second := NewFile(m, "/a/anchor", "first"), NewFile(m, "/a/anchor", "second")
	if _, err := first.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loading what is not there: %v", err)
	}
	must(t, first.Swap(genesis(t), nil))
	if err := second.Swap(genesis(t), nil); !errors.Is(err, ErrConflict) {
		t.Errorf("creating over another: %v", err)
	}
	a, err := second.Load()
	must(t, err)
	if !reflect.DeepEqual(a, genesis(t)) {
		t.Errorf("loaded %+v", a)
	}
	must(t, first.Swap(issued(t, 1), nil))
	must(t, first.Swap(issued(t, 2), nil))
	if err := second.Swap(issued(t, 1), nil); !errors.Is(err, ErrConflict) {
		t.Errorf("swapping an old anchor: %v", err)
	}
	a, err = second.Load()
	must(t, err)
	before := issued(t, 1)
	before.Previous = warg.Sum(genesis(t).encode())
	if a.Previous != warg.Sum(before.encode()) || a.Length() != 2 {
		t.Errorf("anchor %+v does not name the one before", a)
	}
	must(t, m.Remove("/a/anchor"))
	if err := first.Swap(issued(t, 3), nil); !errors.Is(err, ErrConflict) {
		t.Errorf("swapping a removed anchor: %v", err)
	}
	l, err := m.Lock("/a/anchor.lock", "third")
	must(t, err)
	if err := first.Swap(issued(t, 3), nil); !errors.As(err, new(*durable.HeldError)) {
		t.Errorf("swapping while somebody else does: %v", err)
	}
	must(t, l.Close())
}

// TestSwapWithFaults fails each call of Swap in each way: afterwards the file has
// the old anchor or the new one, and whoever loads it can go on.
func TestSwapWithFaults(t *testing.T) {
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed} {
		for at := 1; ; at++ {
			m := durable.NewMemory()
			must(t, NewFile(m, "/anchor", "").Swap(issued(t, 1), nil))
			fault := durable.NewFault(m)
			f := NewFile(fault, "/anchor", "")
			_, err := f.Load()
			must(t, err)
			fault.SetPlan(durable.Plan{At: at, Outcome: outcome, Err: syscall.EIO})
			err = f.Swap(issued(t, 2), nil)
			if !fault.Reached() {
				must(t, err)
				break
			}
			if err == nil && outcome != durable.Persisted { // removing what is not there may fail unnoticed
				t.Errorf("outcome %d, call %d: no error", outcome, at)
			}
			f = NewFile(m.Crash(nil), "/anchor", "")
			a, err := f.Load()
			must(t, err)
			if n := a.Length(); n != 1 && n != 2 {
				t.Errorf("outcome %d, call %d: length %d", outcome, at, n)
			}
			must(t, f.Swap(issued(t, 3), nil))
		}
	}
}

func openHistory(t testing.TB, fsys durable.FS) *History {
	t.Helper()
	h, err := OpenHistory(fsys, "/anchor.log", registry())
	must(t, err)
	return h
}

// lengths of the checkpoints that the tests of the history use: some lengths
// twice (signed again later), some not at all.
func lengths(n int) (list []uint64) {
	for i := range n {
		list = append(list, uint64(1+i/2*3))
	}
	return list
}

func TestHistory(t *testing.T) {
	m := durable.NewMemory()
	h, err := CreateHistory(m, "/anchor.log", registry())
	must(t, err)
	if _, ok, err := h.Last(); ok || err != nil {
		t.Errorf("empty history has a last checkpoint: %v", err)
	}
	const n = growBlocks + 50 // it has to grow twice
	for i, length := range lengths(n) {
		must(t, h.Append(signed(t, length, uint64(i)), nil))
	}
	for _, h := range []*History{h, openHistory(t, m.Crash(nil))} {
		if h.Len() != n {
			t.Fatalf("%d checkpoints, want %d", h.Len(), n)
		}
		for i, length := range lengths(n) {
			if i%17 != 0 {
				continue
			}
			c, err := h.At(uint64(i))
			must(t, err)
			if c != signed(t, length, uint64(i)) {
				t.Errorf("checkpoint %d is %v", i, c)
			}
			newest := uint64(i/2*2 + 1)
			c, place, ok, err := h.Find(length)
			must(t, err)
			if !ok || c != signed(t, length, newest) || place != newest {
				t.Errorf("length %d: found %v at %d", length, c.Unverified(), place)
			}
			if _, place, ok, err := h.Find(length + 1); ok || err != nil || place != newest+1 {
				t.Errorf("length %d: found at %d (%v)", length+1, place, err)
			}
		}
		if _, place, ok, err := h.Find(0); ok || err != nil || place != 0 {
			t.Errorf("length 0: found at %d (%v)", place, err)
		}
		if last, ok, err := h.Last(); !ok || err != nil || last.Unverified().Timestamp != n-1 {
			t.Errorf("last is %v (%v)", last.Unverified(), err)
		}
		if _, err := h.At(n); err == nil {
			t.Error("reading beyond the end succeeds")
		}
	}
}

func TestHistoryPowerCuts(t *testing.T) {
	for seed := range uint64(30) {
		for at := 1; ; at++ {
			m := durable.NewMemory()
			_, err := CreateHistory(m, "/anchor.log", registry())
			must(t, err)
			fault := durable.NewFault(m)
			h := openHistory(t, fault)
			fault.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
			var acked uint64
			for i := uint64(1); i <= 4 && h.Append(signed(t, i, i), nil) == nil; i++ {
				acked = i
			}
			after := openHistory(t, m.Crash(rand.New(rand.NewPCG(seed, uint64(at)))))
			if n := after.Len(); n < acked || n > acked+1 {
				t.Fatalf("seed %d, call %d: %d checkpoints after %d were acknowledged", seed, at, n, acked)
			}
			for i := range after.Len() {
				if c, err := after.At(i); err != nil || c != signed(t, i+1, i+1) {
					t.Fatalf("seed %d, call %d: checkpoint %d: %v", seed, at, i, err)
				}
			}
			must(t, after.Append(signed(t, 9, 9), nil))
			if !fault.Reached() {
				break
			}
		}
	}
}

func TestHistoryDamage(t *testing.T) {
	m := durable.NewMemory()
	h, err := CreateHistory(m, "/anchor.log", registry())
	must(t, err)
	for i := range uint64(5) {
		must(t, h.Append(signed(t, i+1, i), nil))
	}
	f, err := m.OpenWrite("/anchor.log")
	must(t, err)
	flip := func(at int64) (undo func()) {
		var b [1]byte
		_, err := f.ReadAt(b[:], at)
		must(t, err)
		_, err = f.WriteAt([]byte{b[0] ^ 4}, at)
		must(t, err)
		return func() { _, err := f.WriteAt(b[:], at); must(t, err) }
	}
	for at := int64(0); at < blockSize; at += 7 {
		undo := flip(at)
		if _, err := OpenHistory(m, "/anchor.log", registry()); err == nil {
			t.Errorf("damage at byte %d of the header is not noticed", at)
		}
		undo()
		undo = flip(3*blockSize + at)
		if _, err := openHistory(t, m).At(2); !errors.As(err, new(*DamageError)) {
			t.Errorf("damage at byte %d of a checkpoint: %v", at, err)
		}
		undo()
	}
	if _, err := OpenHistory(m, "/anchor.log", warg.Sum(nil)); !errors.As(err, new(*DamageError)) {
		t.Errorf("history of another registry: %v", err)
	}
	if _, err := OpenHistory(m, "/other", registry()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("history that is not there: %v", err)
	}
}

func TestStamp(t *testing.T) {
	m := durable.NewMemory()
	if _, ok, err := ReadStamp(m, "/key"); ok || err != nil {
		t.Errorf("stamp before writing: %v, %v", ok, err)
	}
	must(t, WriteStamp(m, "/key", registry(), "pkg.example.com"))
	s, ok, err := ReadStamp(m.Crash(nil), "/key")
	if !ok || err != nil || s != (Stamp{registry().Hex(), "pkg.example.com"}) {
		t.Errorf("stamp is %+v, %v, %v", s, ok, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(genesis(f).encode())
	f.Add(issued(f, 3).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parse(b); err == nil && string(a.encode()) != string(b) {
			t.Errorf("%q prints as %q", b, a.encode())
		}
	})
}
