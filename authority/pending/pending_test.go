package pending

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// signed is the envelope whose signature all entries of these tests have.
var signed = sync.OnceValue(func() warg.Envelope {
	k, err := warg.ParsePrivateKey("ecdsa-p256:2CV1EpLaSYEn4In4OAEDAj5O4Hzu8AFAxgHXuG310Ew=")
	if err != nil {
		panic(err)
	}
	return warg.Envelope{KeyID: k.Public().ID(), Signature: k.SignPackageRecord([]byte("x"))}
})

func accepted(t testing.TB, i int) Entry {
	t.Helper()
	name, err := warg.ParsePackageName("test:package")
	must(t, err)
	env := signed()
	env.Content = fmt.Appendf(nil, "record %d", i)
	return Accept(time.Unix(int64(i), 5), name, env)
}

func rejected(t testing.TB, i int) Entry {
	e := accepted(t, i)
	return Reject(time.Unix(int64(i), 7), e.Log, e.Record, fmt.Sprintf("reason %d", i))
}

// book is what a caller of the log knows, as the authority does.
type book struct {
	mu       sync.Mutex
	live     map[warg.RecordID]Entry
	rejected map[warg.RecordID]Entry
}

func newBook() *book {
	return &book{live: map[warg.RecordID]Entry{}, rejected: map[warg.RecordID]Entry{}}
}

func (b *book) visit(e Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Kind == Rejected {
		b.rejected[e.Record] = e
		delete(b.live, e.Record)
	} else if _, done := b.rejected[e.Record]; !done {
		b.live[e.Record] = e
	}
	return nil
}

func (b *book) all() iter.Seq[Entry] {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Values(maps.Clone(b.live))
}

func newMemory(t testing.TB) *durable.Memory {
	t.Helper()
	m := durable.NewMemory()
	must(t, durable.MkdirAll(m, "/pending"))
	return m
}

func open(t testing.TB, fsys durable.FS, b *book) *Log {
	t.Helper()
	l, err := Open(options(fsys, b), b.visit)
	must(t, err)
	return l
}

func options(fsys durable.FS, b *book) Options {
	return Options{
		Dir:      &segment.Dir{FS: fsys, Path: "/pending", Grow: 2 << 10, Max: 4 << 10},
		Registry: warg.Sum([]byte("registry")), Log: slog.New(slog.DiscardHandler), Live: b.all,
	}
}

func write(t testing.TB, l *Log, b *book, e Entry) {
	t.Helper()
	must(t, l.Write(e))
	must(t, b.visit(e))
}

func TestReopen(t *testing.T) {
	m, b := newMemory(t), newBook()
	l := open(t, m, b)
	write(t, l, b, accepted(t, 1))
	write(t, l, b, accepted(t, 2))
	write(t, l, b, rejected(t, 1))
	write(t, l, b, rejected(t, 99)) // never accepted: content policy, for example
	again := newBook()
	l2 := open(t, m.Crash(nil), again)
	if !reflect.DeepEqual(again.live, b.live) || !reflect.DeepEqual(again.rejected, b.rejected) {
		t.Errorf("reopened with %v and %v", again.live, again.rejected)
	}
	must(t, l.Close())
	must(t, l2.Close())
	must(t, l2.Close())
	if err := l.Write(accepted(t, 3)); !errors.Is(err, ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

// TestRollingKeepsWhatMatters writes far more than a segment holds: what is alive
// and what was rejected stay, and the disk does not fill with the rest.
func TestRollingKeepsWhatMatters(t *testing.T) {
	m, b := newMemory(t), newBook()
	l := open(t, m, b)
	for i := range 400 {
		write(t, l, b, accepted(t, i))
		switch {
		case i%40 == 0: // stays alive
		case i%20 == 1:
			write(t, l, b, rejected(t, i))
		default: // published: the journal has it
			delete(b.live, accepted(t, i).Record)
		}
	}
	if l.Segment() < 5 {
		t.Fatalf("only %d segments: nothing is tested", l.Segment())
	}
	again := newBook()
	l2 := open(t, m.Crash(nil), again)
	for id := range b.live {
		if _, ok := again.live[id]; !ok {
			t.Errorf("%s is no longer alive", id)
		}
	}
	if !reflect.DeepEqual(again.rejected, b.rejected) || len(again.rejected) != 20 {
		t.Errorf("%d rejections, want %d", len(again.rejected), len(b.rejected))
	}
	size := 0
	for _, content := range m.Tree("/pending") {
		size += len(content)
	}
	if size > 24<<10 {
		t.Errorf("%d bytes on disk for %d alive and %d rejected", size, len(b.live), len(b.rejected))
	}
	// A caller that knows the older rejections is not told again.
	later := newBook()
	o := options(m.Crash(nil), later)
	o.From = l.Segment()
	l3, err := Open(o, later.visit)
	must(t, err)
	if len(later.rejected) >= len(b.rejected) || len(later.live) < len(b.live) {
		t.Errorf("from segment %d: %d alive, %d rejected", o.From, len(later.live), len(later.rejected))
	}
	for _, l := range []*Log{l, l2, l3} {
		must(t, l.Close())
	}
}

// TestMoreAliveThanASegmentHolds must not spend its time carrying.
func TestMoreAliveThanASegmentHolds(t *testing.T) {
	m, b := newMemory(t), newBook()
	l := open(t, m, b)
	for i := range 300 {
		write(t, l, b, accepted(t, i))
	}
	if l.Segment() > 8 {
		t.Errorf("%d segments for 300 entries", l.Segment())
	}
	again := newBook()
	l2 := open(t, m.Crash(nil), again)
	if len(again.live) != 300 {
		t.Errorf("%d alive", len(again.live))
	}
	write(t, l2, again, accepted(t, 300))
	must(t, l.Close())
	must(t, l2.Close())
}

// TestSyncsAreShared: writers that come while a sync runs share the next one.
func TestSyncsAreShared(t *testing.T) {
	f, b := durable.NewFault(newMemory(t)), newBook()
	o := options(f, b)
	o.Dir.Max = 1 << 20
	arrived, gate := make(chan struct{}), make(chan struct{})
	var first sync.Once
	o.Step = func(name string) error {
		if name == "pendSynced" {
			first.Do(func() {
				close(arrived)
				<-gate // until all others wait for the next sync
			})
		}
		return nil
	}
	l, err := Open(o, b.visit)
	must(t, err)
	before := f.Counts()[durable.OpDatasync]
	const writers = 64
	var wg sync.WaitGroup
	write := func(i int) {
		if err := l.Write(accepted(t, i)); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { write(0) })
	<-arrived // the first group holds one entry
	for i := 1; i < writers; i++ {
		wg.Go(func() { write(i) })
	}
	for len(l.requests) < writers-1 {
		runtime.Gosched()
	}
	close(gate)
	wg.Wait()
	if n := f.Counts()[durable.OpDatasync] - before; n != 2 {
		t.Errorf("%d syncs for two groups of writers", n)
	}
	must(t, l.Close())
}

// TestPowerCutAtEveryCall runs a history with a roll in it and cuts the power at
// every call: what was acknowledged is alive or rejected afterwards.
func TestPowerCutAtEveryCall(t *testing.T) {
	for seed := range uint64(4) {
		for at := 1; ; at++ {
			m := newMemory(t)
			f, b := durable.NewFault(m), newBook()
			l := open(t, f, b)
			f.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
			for i := range 45 {
				if l.Write(accepted(t, i)) != nil {
					break
				}
				must(t, b.visit(accepted(t, i)))
				if i%3 == 0 {
					if l.Write(rejected(t, i)) != nil {
						break
					}
					must(t, b.visit(rejected(t, i)))
				} else if i%3 == 1 {
					b.mu.Lock()
					delete(b.live, accepted(t, i).Record) // published
					b.mu.Unlock()
				}
			}
			reached := f.Reached()
			_ = l.Close()
			after := newBook()
			var keep *rand.Rand
			if seed > 0 {
				keep = rand.New(rand.NewPCG(seed, uint64(at)))
			}
			l2, err := Open(options(m.Crash(keep), after), after.visit)
			must(t, err)
			for id := range b.live {
				if _, ok := after.live[id]; !ok {
					if _, ok := after.rejected[id]; !ok { // its rejection was being written
						t.Fatalf("seed %d, call %d: an accepted record was lost", seed, at)
					}
				}
			}
			for id, e := range b.rejected {
				if !reflect.DeepEqual(after.rejected[id], e) {
					t.Fatalf("seed %d, call %d: a rejection was lost", seed, at)
				}
			}
			write(t, l2, after, accepted(t, 1000))
			must(t, l2.Close())
			if !reached {
				if l.Segment() < 3 {
					t.Fatal("the history does not roll")
				}
				break
			}
		}
	}
}

func TestErrorsEndTheLog(t *testing.T) {
	for _, op := range []durable.Op{durable.OpWrite, durable.OpDatasync} {
		f, b := durable.NewFault(newMemory(t)), newBook()
		l := open(t, f, b)
		f.SetPlan(durable.Plan{At: 1, Match: func(o durable.Op, _ string) bool { return o == op }, Err: syscall.EIO})
		if err := l.Write(accepted(t, 1)); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrNoSpace) {
			t.Errorf("%s fails: %v", op, err)
		}
		if err := l.Write(accepted(t, 2)); !errors.Is(err, ErrClosed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("write after a failed %s: %v", op, err)
		}
		must(t, l.Close())
	}
}

func TestNoSpaceIsNotTheEnd(t *testing.T) {
	m, b := newMemory(t), newBook()
	l := open(t, m, b)
	m.SetFree(0)
	refused := -1
	for i := range 200 {
		err := l.Write(accepted(t, i))
		if errors.Is(err, ErrNoSpace) {
			refused = i
			break
		}
		must(t, err)
		must(t, b.visit(accepted(t, i)))
	}
	if refused < 0 {
		t.Fatal("never full")
	}
	m.SetFree(1 << 20)
	write(t, l, b, accepted(t, refused))
	must(t, l.Close())
	again := newBook()
	l = open(t, m.Crash(nil), again)
	if !reflect.DeepEqual(again.live, b.live) {
		t.Errorf("%d alive, want %d", len(again.live), len(b.live))
	}
	must(t, l.Close())
}

func TestDamagedEntryIsPassedOver(t *testing.T) {
	m, b := newMemory(t), newBook()
	l := open(t, m, b)
	for i := range 5 {
		write(t, l, b, accepted(t, i))
	}
	must(t, l.Close())
	f, err := m.OpenWrite("/pending/" + segment.Name(1))
	must(t, err)
	_, err = f.WriteAt([]byte{0xee}, 96+9+8+20) // header, carried, frame header of the first
	must(t, err)
	again := newBook()
	l = open(t, m, again)
	if len(again.live) != 4 {
		t.Errorf("%d alive", len(again.live))
	}
	write(t, l, again, accepted(t, 7))
	must(t, l.Close())
}

func TestAnotherRegistrysLogIsRefused(t *testing.T) {
	m, b := newMemory(t), newBook()
	must(t, open(t, m, b).Close())
	o := options(m, b)
	o.Registry = warg.Sum([]byte("another"))
	if _, err := Open(o, b.visit); err == nil {
		t.Error("opened")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(accepted(f, 1).encode())
	f.Add(rejected(f, 2).encode())
	f.Add(Entry{Kind: carried}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(e.encode())
		must(t, err)
		if !reflect.DeepEqual(again, e) {
			t.Errorf("%+v prints as %+v", e, again)
		}
	})
}

// TestFailedOpeningLosesNothing: a process was killed while it made a segment, the
// next cannot read or write something, or is killed as well and the power cut, and the
// one after that finds everything.
func TestFailedOpeningLosesNothing(t *testing.T) {
	const next = 4 // ways: the power cut or not after the kill, an error or a kill of the next
	for try := next; ; try++ {
		at, cut, outcome := try/next, try%2 == 0, durable.Killed
		if try%next < 2 {
			outcome = durable.NotPersisted
		}
		for n := 1; ; n++ {
			m, before, reached := killedWhileRolling(t, at)
			if !reached {
				return
			}
			if cut {
				m = m.Crash(nil)
			}
			broken := durable.NewFault(m)
			broken.SetPlan(durable.Plan{At: n, Err: syscall.EIO, Outcome: outcome})
			first := newBook()
			l, err := Open(options(broken, first), first.visit)
			if err == nil {
				must(t, l.Close())
			}
			if !broken.Reached() {
				break
			}
			for seed := range uint64(3) {
				after := newBook()
				l = open(t, m.Crash(rand.New(rand.NewPCG(seed, uint64(n)))), after)
				for id := range before.live {
					if _, ok := after.live[id]; !ok {
						t.Fatalf("killed at call %d, call %d of the next opening failed (%v): an accepted record was lost", at, n, err)
					}
				}
				must(t, l.Close())
			}
		}
	}
}

// killedWhileRolling fills a segment and kills the process at a call of the write that
// begins the next.
func killedWhileRolling(t *testing.T, at int) (m *durable.Memory, b *book, reached bool) {
	t.Helper()
	m, b = newMemory(t), newBook()
	f := durable.NewFault(m)
	l := open(t, f, b)
	for l.Segment() == 1 {
		e := accepted(t, len(b.live))
		if !l.open.Fits(1, len(e.encode())) {
			f.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
		}
		if l.Write(e) != nil {
			break
		}
		must(t, b.visit(e))
	}
	reached = f.Reached()
	_ = l.Close()
	return m, b, reached
}

// TestFullSegmentWithoutItsMark: damage of the one frame that says that what was alive
// stands in the segment, where there is no room for another.
func TestFullSegmentWithoutItsMark(t *testing.T) {
	m, b := newMemory(t), newBook()
	l := open(t, m, b)
	write(t, l, b, accepted(t, 0))
	write(t, l, b, rejected(t, 0))
	for e := accepted(t, 1); l.open.Fits(1, len(e.encode())); e = accepted(t, 1+len(b.live)) {
		write(t, l, b, e)
	}
	mark := Entry{Kind: carried}.encode()
	for l.open.Fits(1, len(mark)) { // small entries fill what is left
		must(t, l.append(l.open, [][]byte{{0xff}}))
	}
	path := l.open.Path()
	must(t, l.Close())
	file, err := m.OpenWrite(path)
	must(t, err)
	_, err = file.WriteAt([]byte{0x55}, 96+8) // the payload of the first frame
	must(t, err)
	must(t, file.Close())
	for range 2 {
		after := newBook()
		l = open(t, m, after)
		if !reflect.DeepEqual(after.live, b.live) || len(after.rejected) != len(b.rejected) {
			t.Fatalf("%d alive and %d rejected, want %d and %d", len(after.live), len(after.rejected), len(b.live), len(b.rejected))
		}
		must(t, l.Close())
	}
}
