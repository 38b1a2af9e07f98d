package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/memstore"
	"github.com/entrepot/entrepot/warg"
)

const (
	defaultDrills = 20 // of a short run, a second or two
	drillPeer     = "peer.example"

	// Segments so small that a drill fills several, in bytes.
	drillGrow = 2 << 10
	drillMax  = 6 << 10
)

// drill is a registry of ours whose only backup is a full mirror, and what becomes of it
// when its disk goes back in time or is gone. One thing happens after another, drawn
// from a seed.
type drill struct {
	t     *testing.T
	r     *rand.Rand
	story []string
	tally *tally
	book  *book

	anchorFile string // in the data directory, or on a volume of its own
	keyFile    string // beside it lies the stamp; "" = there is none
	disk       *durable.Memory
	fault      *durable.Fault       // of the process there is
	own        *authority.Authority // nil while there is no process
	silence    atomic.Bool          // nothing may be signed
	snap       snapshot

	peer     *upstream.Replica
	store    *memstore.Store
	line     atomic.Pointer[authority.Authority] // what the peer reaches, nil = nothing
	complete uint64                              // length up to which the peer holds everything
	lag      int                                 // in 100: how often the peer follows after something happened

	names    int // that were used up
	packages []*released
	waiting  []*released // accepted, content not sent

	mu  sync.Mutex
	now time.Time // under mu
}

// snapshot is a copy of the disk, made in the middle of something.
type snapshot struct {
	mu    sync.Mutex
	after int // steps of the authority
	r     *rand.Rand
	disk  *durable.Memory // nil = not made yet
}

// tally counts what became of drills.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what] += n
}

// TestDrills runs as many drills as DRILLS says, from DRILLS_FIRST on, or the one that
// DRILL names, and then tells its story.
func TestDrills(t *testing.T) {
	sum := &tally{counts: map[string]int{}}
	if seed, ok := number(t, "DRILL"); ok {
		t.Log(strings.Join(runDrill(t, seed, sum), "\n"))
		return
	}
	first, _ := number(t, "DRILLS_FIRST")
	drills, ok := number(t, "DRILLS")
	if !ok {
		drills = defaultDrills
	}
	for n := first; n < first+drills && !t.Failed(); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) { runDrill(t, n, sum) })
		if (n+1)%200 == 0 {
			fmt.Fprintf(os.Stderr, "%d drills\n", n+1-first)
		}
	}
	for _, what := range outcomes {
		t.Logf("%6d %s", sum.counts[what], what)
	}
	if sum.counts[byPeer] == 0 || sum.counts[byItself] == 0 {
		t.Errorf("the drills show nothing: %v", sum.counts)
	}
}

// TestSameSeedSameDrill: a drill that failed can be looked at again.
func TestSameSeedSameDrill(t *testing.T) {
	for seed := range uint64(3) {
		a, b := runDrill(t, seed, &tally{counts: map[string]int{}}), runDrill(t, seed, &tally{counts: map[string]int{}})
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				t.Fatalf("seed %d differs after\n%s", seed, strings.Join(a[max(0, min(i, len(a))-12):min(i+1, len(a))], "\n"))
			}
		}
	}
}

// runDrill lives through the drill of a seed and returns its story.
func runDrill(t *testing.T, seed uint64, sum *tally) []string {
	t.Helper()
	d := newDrill(t, seed, sum)
	defer func() {
		d.kill()
		_ = d.peer.Close()
		if len(d.book.wrong) > 0 || t.Failed() {
			t.Errorf("%s\nthe story: make drills DRILL=%d\n%s", strings.Join(d.book.wrong, "\n"), seed, strings.Join(d.story, "\n"))
		}
	}()
	d.begin()
	for range 1 + d.r.IntN(3) {
		d.snap.arm(1+d.r.IntN(80), d.r.Uint64())
		d.live(3 + d.r.IntN(12))
		d.snap.take(d.disk)
		d.live(d.r.IntN(9))
		if !d.disaster() || len(d.book.wrong) > 0 {
			return d.story
		}
	}
	d.live(2)
	d.end()
	return d.story
}

// tell adds a line to the story.
func (d *drill) tell(format string, args ...any) {
	d.story = append(d.story, fmt.Sprintf(format, args...))
}

// clock is everybody's time.
func (d *drill) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *drill) pass(more time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(more)
}

// arm has the copy made after so many steps of the authority.
func (s *snapshot) arm(steps int, seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after, s.r, s.disk = steps, rand.New(rand.NewPCG(seed, 0)), nil
}

// step is called at each step of the authority.
func (s *snapshot) step(disk *durable.Memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after--; s.after == 0 {
		s.disk = disk.Crash(s.r)
	}
}

// take makes the copy if none was made yet.
func (s *snapshot) take(disk *durable.Memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk == nil {
		s.after, s.disk = 0, disk.Crash(nil)
	}
}

// view returns the checkpoint that is shown now.
func (d *drill) view() (warg.View, error) { return d.own.Checkpoint(d.t.Context()) }
