package sim

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
)

// errDead is what a goroutine of a dead process gets at its next point.
var errDead = errors.New("the process is dead")

// scheduler lets one goroutine at a time go on.
type scheduler struct {
	seed uint64
	rnd  *rand.Rand // of the scheduler's own goroutine

	mu     sync.Mutex
	parked []*parked
	nth    map[string]uint64 // under mu: how often a point was come by
	told   []string          // under mu: since the last step
	story  []string          // under mu: of all steps before
}

// parked is a goroutine that waits to go on.
type parked struct {
	point string
	nth   uint64
	life  *life // whose process it is; nil = nobody's, it never dies
	pass  chan error
}

func newScheduler(seed uint64) *scheduler {
	return &scheduler{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), nth: map[string]uint64{}}
}

// tell adds a line to the story. What several goroutines tell in one step is sorted:
// in which order they came to it means nothing.
func (s *scheduler) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf(format, args...))
}

// turnPage ends a step of the story. The caller holds mu.
func (s *scheduler) turnPage() {
	slices.Sort(s.told)
	s.story = append(s.story, s.told...)
	s.told = nil
}

// chance draws for a point: a number that depends on the seed, the point, and how
// often it was come by, but not on what else goes on.
func (s *scheduler) chance(point string) *rand.Rand {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nth["chance of "+point]
	s.nth["chance of "+point]++
	h := fnv.New64a()
	_, _ = h.Write([]byte(point)) // never fails
	return rand.New(rand.NewPCG(s.seed^h.Sum64(), n))
}

// pause waits until the scheduler lets the caller go on. It fails if its process died
// meanwhile.
func (s *scheduler) pause(l *life, point string) error {
	p := &parked{point: point, life: l, pass: make(chan error)}
	s.mu.Lock()
	p.nth = s.nth[point]
	s.nth[point]++
	s.parked = append(s.parked, p)
	s.mu.Unlock()
	return <-p.pass
}

// waiting waits until nobody goes on by himself, and returns who waits, in an order
// that does not depend on how they came.
func (s *scheduler) waiting() []*parked {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnPage()
	slices.SortFunc(s.parked, func(a, b *parked) int {
		if c := strings.Compare(a.point, b.point); c != 0 {
			return c
		}
		return int(a.nth) - int(b.nth)
	})
	return slices.Clone(s.parked)
}

// pass lets one go on, or fail.
func (s *scheduler) pass(p *parked, err error) {
	s.mu.Lock()
	s.parked = slices.DeleteFunc(s.parked, func(q *parked) bool { return q == p })
	s.mu.Unlock()
	p.pass <- err
}

// bury makes every goroutine of a dead process fail where it waits, until none does
// any more.
func (s *scheduler) bury(l *life) {
	for {
		dead := slices.DeleteFunc(s.waiting(), func(p *parked) bool { return p.life != l })
		if len(dead) == 0 {
			return
		}
		for _, p := range dead {
			s.pass(p, errDead)
		}
	}
}
