package upstream

import (
	"context"
	"sync"
	"time"
)

// shift is a time during which the replica works on one history of its registry. A
// reset ends one and begins another.
type shift struct {
	ctx   context.Context
	stop  context.CancelFunc
	ready chan struct{} // closed when work may begin
	work  sync.WaitGroup
}

func newShift(base context.Context) *shift {
	ctx, stop := context.WithCancel(base)
	return &shift{ctx: ctx, stop: stop, ready: make(chan struct{})}
}

// end cancels the work of a shift and waits for it. Nothing may join it any more.
func (s *shift) end() {
	s.stop()
	s.work.Wait()
}

// detach runs f in a goroutine of the replica, with a deadline of its own. During a
// reset it waits until that is over.
func (r *Replica) detach(limit time.Duration, f func(ctx context.Context)) {
	r.shifts.Lock()
	s := r.shift
	s.work.Add(1)
	r.shifts.Unlock()
	go func() {
		defer s.work.Done()
		select {
		case <-s.ready:
		case <-s.ctx.Done(): // f is to find out, and to tell those who wait for it
		}
		ctx, cancel := context.WithTimeout(s.ctx, limit)
		defer cancel()
		f(ctx)
	}()
}

// nextShift replaces the shift by one whose work waits, and returns the one before.
func (r *Replica) nextShift() *shift {
	r.shifts.Lock()
	defer r.shifts.Unlock()
	last := r.shift
	r.shift = newShift(r.base)
	return last
}

// currentShift returns the shift under way.
func (r *Replica) currentShift() *shift {
	r.shifts.Lock()
	defer r.shifts.Unlock()
	return r.shift
}
