package proxy

import (
	"sync"
	"time"
)

// budget is a number of bytes that requests share for the bodies they buffer. It
// is taken before memory is, so that what clients send can never pin more.
type budget struct {
	total int64
	wait  time.Duration // how long a claim may wait

	mu    sync.Mutex
	free  int64
	queue []*claim // oldest first; nobody overtakes
}

// claim is a request that waits for memory.
type claim struct {
	bytes int64
	ready chan struct{} // closed when granted
}

func newBudget(total int64, wait time.Duration) *budget {
	return &budget{total: total, wait: wait, free: total}
}

// take takes n bytes, waiting for others to give some back if it must. It reports
// whether it got them. A claim larger than the whole budget counts as
// the whole budget, and so must be given back as such: see give.
func (b *budget) take(n int64) bool {
	n = min(n, b.total)
	b.mu.Lock()
	if len(b.queue) == 0 && b.free >= n {
		b.free -= n
		b.mu.Unlock()
		return true
	}
	c := &claim{n, make(chan struct{})}
	b.queue = append(b.queue, c)
	b.mu.Unlock()

	t := time.NewTimer(b.wait)
	defer t.Stop()
	select {
	case <-c.ready:
		return true
	case <-t.C:
		return b.withdraw(c)
	}
}

// withdraw ends a claim and reports whether it was granted at the last moment.
func (b *budget) withdraw(c *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.queue {
		if q == c {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.grant() // it may have stood in the way
			return false
		}
	}
	return true
}

// give returns n bytes that were taken with one or more claims.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = min(b.free+n, b.total)
	b.grant()
}

// grant serves waiting claims in order. The caller holds the lock.
func (b *budget) grant() {
	for len(b.queue) > 0 && b.queue[0].bytes <= b.free {
		b.free -= b.queue[0].bytes
		close(b.queue[0].ready)
		b.queue = b.queue[1:]
	}
}

// used returns how many bytes are taken.
func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}
