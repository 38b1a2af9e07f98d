package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

const (
	defaultSeeds = 30   // of a short run, a second or two
	storySteps   = 250  // draws of the scheduler while things fail
	calmSteps    = 3000 // draws after which everything must have come right

	plenty = 1 << 40 // bytes of room

	// Segments so small that a story fills several, in bytes: one holds two or three
	// records.
	segmentGrow = 1 << 10
	segmentMax  = 2 << 10
)

// TestSimulation runs as many seeds as SIM_SEEDS says, from SIM_FIRST on, or the one
// that SIM_SEED names, and then tells its story.
func TestSimulation(t *testing.T) {
	if seed, ok := number(t, "SIM_SEED"); ok {
		simulate(t, seed)
		return
	}
	first, _ := number(t, "SIM_FIRST")
	seeds, ok := number(t, "SIM_SEEDS")
	if !ok {
		seeds = defaultSeeds
	}
	var done atomic.Uint64
	var group sync.WaitGroup
	next := atomic.Uint64{}
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for n := next.Add(1) - 1; n < seeds && !t.Failed(); n = next.Add(1) - 1 {
				t.Run(fmt.Sprint(first+n), func(t *testing.T) { simulate(t, first+n) })
				if d := done.Add(1); d%1000 == 0 {
					fmt.Fprintf(os.Stderr, "%d of %d seeds\n", d, seeds)
				}
			}
		})
	}
	group.Wait()
	t.Logf("%d seeds", done.Load())
}

func number(t *testing.T, name string) (uint64, bool) {
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// TestSameSeedSameStory: a seed that failed can be looked at again.
func TestSameSeedSameStory(t *testing.T) {
	for seed := range uint64(3) {
		a, b := simulate(t, seed), simulate(t, seed)
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("seed %d, line %d:\n%s\n%s\nafter\n%s", seed, i, a[i], b[i], strings.Join(a[max(0, i-12):i], "\n"))
			}
		}
		if len(a) != len(b) {
			t.Errorf("seed %d: %d and %d lines", seed, len(a), len(b))
		}
	}
}

// simulate lives through the world of a seed and returns its story.
func simulate(t *testing.T, seed uint64) (story []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		w.run(time.Now())
		story = w.sched.story
		if os.Getenv("SIM_SEED") != "" {
			t.Log(strings.Join(story, "\n"))
		}
		if bad := w.judge.guilty(); len(bad) > 0 {
			t.Fatalf("%s\nthe story: make sim SEED=%d", strings.Join(bad, "\n"), seed)
		}
	})
	return story
}

func (w *world) run(origin time.Time) {
	s := &stranger{w: w}
	publishers := []*publisher{{w: w, name: "ann"}, {w: w, name: "ben"}}
	for i, p := range publishers {
		w.act(p.name, uint64(i+1), p.act)
	}
	w.act("reader", 10, w.reader)
	w.act("mirror", 11, w.lookAtMirror)
	w.act("stranger", 12, s.act)
	w.act("reader of upstream", 13, s.readUpstream)

	w.act("user", 14, s.use)

	for range storySteps {
		w.step(origin)
	}
	w.calm.Store(true)
	w.shift.Store(0)
	w.disk.SetFree(plenty)
	w.sched.tell("calm")
	if l := w.process(); l != nil {
		w.end(l, false)
	}
	for n := 0; !w.settled(publishers); n++ {
		if n == calmSteps || len(w.judge.guilty()) > 0 {
			w.judge.mu.Lock()
			w.judge.wrong("not everything has come right")
			w.judge.mu.Unlock()
			break
		}
		w.step(origin)
	}
	w.over()
}

// process returns the process there is, opened or not.
func (w *world) process() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

// over ends everybody.
func (w *world) over() {
	if l := w.process(); l != nil {
		w.end(l, false)
	}
	go func() { _ = w.mirror.Close() }()
	w.sched.bury(nil)
	w.sched.waiting()
}

// step draws what happens next.
func (w *world) step(origin time.Time) {
	r := w.sched.rnd
	waiting := w.sched.waiting()
	l := w.process()
	if l == nil {
		w.start(origin)
		return
	}
	if w.mustEnd(l) {
		w.end(l, r.IntN(3) == 0)
		return
	}
	calm := w.calm.Load()
	switch draw := r.IntN(100); {
	case draw < 3 && !calm:
		power := r.IntN(2) == 0
		w.sched.tell("life %d is killed, power cut %t", l.number, power)
		w.end(l, power)
	case draw < 5 && !calm:
		w.shift.Store(int64(time.Duration(r.IntN(3)-1) * 7 * time.Minute))
		w.sched.tell("our clock is wrong by %s", time.Duration(w.shift.Load()))
	case draw < 6 && !calm:
		free := []uint64{0, 64 << 10, plenty}[r.IntN(3)]
		w.sched.tell("the disk has room for %d bytes", free)
		w.disk.SetFree(free)
	case draw < 8:
		w.impatience(r)
	case draw < 15 || len(waiting) == 0:
		d := time.Millisecond << r.IntN(22) // up to half an hour
		w.sched.tell("%s go by", d)
		time.Sleep(d)
	default:
		p := waiting[r.IntN(len(waiting))]
		w.sched.tell("%s goes on", p.point)
		w.sched.pass(p, nil)
	}
}

// mustEnd reports whether a process has come to its end by itself.
func (w *world) mustEnd(l *life) bool {
	select {
	case <-l.ended:
	default:
		return l.fault.Reached()
	}
	if l.err != nil {
		w.sched.tell("life %d could not begin: %v", l.number, l.err)
		w.judgeOpening(l)
		return true
	}
	w.judgeFence(l)
	select {
	case <-l.own.Done():
		w.sched.tell("life %d gives up: %v", l.number, l.own.Err())
		return true
	default:
		return l.fault.Reached()
	}
}

// judgeOpening: a damaged database keeps nobody from starting.
func (w *world) judgeOpening(l *life) {
	if !errors.Is(l.err, index.ErrCorrupt) && !errors.Is(l.err, tree.ErrIndexCorrupt) || l.fault.Reached() {
		return
	}
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	w.judge.wrong("life %d could not begin: %v", l.number, l.err)
}

// judgeFence: no crash and no failing disk makes it uncertain what we signed.
func (w *world) judgeFence(l *life) {
	f := l.own.Status().Fence
	if f == nil || f.Kind == authority.FenceClock && !w.calm.Load() {
		return
	}
	if f.Kind == authority.FenceClock {
		return // it takes a second to open
	}
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	w.judge.wrong("life %d is fenced: %s", l.number, f.Reason)
}

// settled reports whether everything that was promised has come true.
func (w *world) settled(publishers []*publisher) bool {
	l := w.alive()
	if l == nil {
		return false
	}
	select {
	case <-l.ended:
	default:
		return false
	}
	for _, p := range publishers {
		if p.env.Content != nil {
			return false
		}
	}
	ctx, cancel := context.WithCancel(l.ctx)
	cancel() // nobody waits
	v, err := l.own.Checkpoint(ctx)
	if err != nil || w.mirror.Status().LogLength != v.Checkpoint.LogLength {
		return false
	}
	if w.fork == nil && len(w.upLeaves(w.up)) != int(l.up.Status().LogLength) {
		return false
	}
	packed, err := l.own.Ledger(ctx, 0, 1<<16)
	if err != nil {
		return false
	}
	w.judge.saw("our registry", &w.judge.own, v.Checkpoint)
	w.judge.read("our registry", &w.judge.own, 0, packed)
	if l.up.Status().Quarantine != nil && len(w.disk.Tree("/data/evidence")) == 0 {
		w.judge.mu.Lock()
		w.judge.wrong("there is no evidence against an upstream in quarantine")
		w.judge.mu.Unlock()
	}
	return w.complete(len(packed) / warg.LedgerEntrySize)
}

// complete compares the ledger of the end with what was promised: every published
// record stands in it once, at its place.
func (w *world) complete(length int) bool {
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	if len(w.judge.own.leaves) != length {
		w.judge.wrong("the ledger has %d leaves, %d were seen", length, len(w.judge.own.leaves))
	}
	count := map[warg.RecordID]int{}
	for _, leaf := range w.judge.own.leaves {
		count[leaf.RecordID]++
	}
	for id, f := range w.judge.facts {
		switch {
		case f.state == warg.StatePublished && (count[id] != 1 || w.judge.own.leaves[f.index].RecordID != id):
			w.judge.wrong("published record %s stands in the ledger %d times", id, count[id])
		case f.state == warg.StateRejected && count[id] != 0:
			w.judge.wrong("rejected record %s stands in the ledger", id)
		case f.state != warg.StatePublished && f.state != warg.StateRejected:
			return false
		}
	}
	return true
}
