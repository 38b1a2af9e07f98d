package proxy

import (
	"context"
	"sync"
	"time"
)

// patience is a context with a deadline that costs nothing until somebody waits for
// it. Nearly all questions to a replica are answered from what it holds, and a timer
// for each would be a tenth of their cost.
type patience struct {
	base     context.Context
	deadline time.Time

	mu     sync.Mutex
	timed  context.Context // made at the first Done
	cancel context.CancelFunc
}

// patient returns a context that ends after wait, or with base. Its end must be
// called.
func patient(base context.Context, wait time.Duration) *patience {
	return &patience{base: base, deadline: time.Now().Add(wait)}
}

// end releases what a wait took.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
		return
	}
	p.timed, p.cancel = ended{p.base}, func() {}
}

// ended is a context that was over before anybody waited for it.
type ended struct{ context.Context }

// Err implements [context.Context].
func (ended) Err() error { return context.Canceled }

// Done implements [context.Context].
func (ended) Done() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}

// Deadline implements [context.Context].
func (p *patience) Deadline() (time.Time, bool) {
	if first, ok := p.base.Deadline(); ok && first.Before(p.deadline) {
		return first, true
	}
	return p.deadline, true
}

// Done implements [context.Context].
func (p *patience) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timed == nil {
		p.timed, p.cancel = context.WithDeadline(p.base, p.deadline)
	}
	return p.timed.Done()
}

// Err implements [context.Context].
func (p *patience) Err() error {
	p.mu.Lock()
	timed := p.timed
	p.mu.Unlock()
	switch {
	case timed != nil:
		return timed.Err()
	case p.base.Err() != nil:
		return p.base.Err()
	case !time.Now().Before(p.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements [context.Context].
func (p *patience) Value(key any) any { return p.base.Value(key) }
