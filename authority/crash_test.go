package authority

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
)

// crash is one life of a registry that ends early, and what is left of it.
type crash struct {
	left    *durable.Memory // what the next process finds
	witness *witness
	ended   bool // the story was told to its end
}

// aftermath turns what the dead process saw into what the next one finds.
type aftermath func(*durable.Memory) *durable.Memory

// killed: the machine stays up, and with it everything that was written.
func killed(m *durable.Memory) *durable.Memory { return m }

// powerCut: only what was synced is left.
func powerCut(m *durable.Memory) *durable.Memory { return m.Crash(nil) }

// powerCutBy: of what was not synced some is there, in part, as chance will have it.
func powerCutBy(seed, at uint64) aftermath {
	return func(m *durable.Memory) *durable.Memory { return m.Crash(rand.New(rand.NewPCG(seed, at))) }
}

// shortSegments are so short that the story fills several, of the journal and of
// submissions.
func shortSegments() segment.Dir { return segment.Dir{Grow: 1 << 10, Max: 3 << 10} }

// live opens a registry, tells the story, and pulls the plug when the plan says so:
// at the n-th call of the file system, or at the n-th failpoint.
func live(t *testing.T, plan durable.Plan, stepAt int, after aftermath) crash {
	t.Helper()
	m := durable.NewMemory()
	fault := durable.NewFault(m)
	fault.SetPlan(plan)
	w := newWitness()
	o := memoryOptions(fault, newClock())
	o.segments = shortSegments()
	var mu sync.Mutex
	steps := 0
	o.Step = func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if steps++; steps == stepAt {
			fault.Kill()
			return errCrash
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := Open(ctx, o)
	if err == nil {
		err = story(ctx, a, w)
		left := after(m)
		_ = a.Close()
		fault.Kill()
		if ctx.Err() != nil {
			t.Fatal("the story hangs")
		}
		return crash{left, w, err == nil && !fault.Reached()}
	}
	fault.Kill()
	return crash{after(m), w, false}
}

// survives opens what a crash left and checks that nothing that was acknowledged
// is lost or changed, and that the story can be told to its end.
func (c crash) survives(t *testing.T) {
	t.Helper()
	clk := newClock()
	clk.Add(time.Second)
	c.survivesWith(t, memoryOptions(c.left, clk))
}

// survivesWith is survives for a registry that is opened with other options.
func (c crash) survivesWith(t *testing.T, o Options) {
	t.Helper()
	a, err := Open(t.Context(), o)
	must(t, err)
	defer a.Close()
	if s := a.Status(); s.State != "ok" {
		t.Fatalf("opened %s: %+v", s.State, s.Fence)
	}
	c.witness.keeps(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, story(ctx, a, c.witness)) // it waits in vain for what was lost
	c.witness.keeps(t, a)
	audit(t, a)
	if len(c.witness.published) != 5 || len(c.witness.rejected) != 3 {
		t.Errorf("in the end %d are published, %d rejected", len(c.witness.published), len(c.witness.rejected))
	}
}

// patience is how long a story may take; one takes milliseconds.
const patience = time.Minute

func TestStory(t *testing.T) {
	c := live(t, durable.Plan{}, 0, killed)
	if !c.ended {
		t.Fatal("the story does not end")
	}
	c.survives(t)
}

// everywhere runs lives that end earlier and later until one does not end early.
func everywhere(t *testing.T, least int, life func(at int) crash) {
	t.Helper()
	for at := 1; ; at++ {
		c := life(at)
		if c.ended {
			if at < least {
				t.Errorf("the story was ended in %d places only", at-1)
			}
			return
		}
		c.survives(t)
		if t.Failed() {
			t.Fatalf("ended in place %d", at)
		}
	}
}

// TestCrashAtEveryStep pulls the plug at every failpoint that the story comes by.
func TestCrashAtEveryStep(t *testing.T) {
	for name, after := range map[string]aftermath{"killed": killed, "power cut": powerCut} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, 60, func(at int) crash { return live(t, durable.Plan{}, at, after) })
		})
	}
}

// TestCrashAtEveryCall does so at every call of the file system, from the first
// one of the first start.
func TestCrashAtEveryCall(t *testing.T) {
	seeds := []uint64{1, 2}
	if testing.Short() {
		seeds = nil
	}
	at := func(after func(at int) aftermath) func(*testing.T) {
		return func(t *testing.T) {
			everywhere(t, 200, func(at int) crash {
				return live(t, durable.Plan{At: at, Outcome: durable.Killed}, 0, after(at))
			})
		}
	}
	t.Run("killed", at(func(int) aftermath { return killed }))
	t.Run("power cut", at(func(int) aftermath { return powerCut }))
	for _, seed := range seeds {
		t.Run("power cut by chance", at(func(at int) aftermath { return powerCutBy(seed, uint64(at)) }))
	}
}

// TestErrorAtEveryCall lets every call fail, with and without effect. The process
// must not go on as if nothing had happened, and the next one must find the truth.
func TestErrorAtEveryCall(t *testing.T) {
	for name, outcome := range map[string]durable.Outcome{"not persisted": durable.NotPersisted, "persisted": durable.Persisted} {
		for after, left := range map[string]aftermath{"killed": killed, "power cut": powerCut} {
			if testing.Short() && after == "killed" {
				continue
			}
			t.Run(name+", "+after, func(t *testing.T) {
				everywhere(t, 200, func(at int) crash {
					return live(t, durable.Plan{At: at, Outcome: outcome, Err: errCrash}, 0, left)
				})
			})
		}
	}
}

// TestStepsAreNamed: the table of failpoints is complete, and all of them are come by.
func TestStepsAreNamed(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	o := memoryOptions(durable.NewMemory(), newClock())
	o.Step = func(name string) error {
		mu.Lock()
		defer mu.Unlock()
		seen[name] = true
		return nil
	}
	a := open(t, o)
	must(t, story(t.Context(), a, newWitness()))
	must(t, a.Close())
	for _, name := range Steps() {
		if !seen[name] {
			t.Errorf("nothing comes by %s", name)
		}
	}
	for name := range seen {
		if !slices.Contains(Steps(), name) {
			t.Errorf("%s is not in the table", name)
		}
	}
}
