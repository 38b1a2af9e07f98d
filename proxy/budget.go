package proxy

import (
	"container/heap"
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// budget is a number of bytes that requests share for the bodies they buffer. It
// is taken before memory is, so that what clients send can never pin more.
//
// Where it is not enough for all, two rules keep it from belonging to whoever came
// first. What becomes free goes to the address that holds least. And while somebody
// waits, a body must fill what it took within grace, or it is told to leave: memory
// is lent for what arrives, not for what was announced.
type budget struct {
	total int64
	wait  time.Duration // how long a claim may wait
	grace time.Duration // how long a body may leave what it took unfilled while others wait

	mu       sync.Mutex
	free     int64
	leaving  int64 // of stakes that were told to leave and will be given back
	wanted   int64 // of all claims
	claims   uint64
	lines    map[netip.Prefix]*line // of addresses that hold or want something
	waiting  lineHeap
	arriving list.List // of *stake, what was filled longest ago first
	alarm    *time.Timer
}

// stake is what one body holds of a budget. Its fields belong to the budget.
type stake struct {
	peer  netip.Prefix
	leave func() // makes the body's reader give up; called with the budget locked

	bytes   int64
	leaving bool
	since   time.Time     // when the last step was taken
	element *list.Element // in arriving, nil while it is not
	claim   *claim        // what it waits for, nil if nothing
}

// claim is a stake that waits for memory.
type claim struct {
	stake  *stake
	bytes  int64
	number uint64
	ready  chan struct{} // closed when granted
}

func newBudget(total int64, wait, grace time.Duration) *budget {
	return &budget{total: total, wait: wait, grace: grace, free: total, lines: map[netip.Prefix]*line{}}
}

// take adds n bytes to s, waiting for others to give some back if it must. It reports
// whether it got them. No stake grows beyond the whole budget: what it wants beyond
// counts as had.
func (b *budget) take(s *stake, n int64) bool {
	b.mu.Lock()
	n = min(n, b.total-s.bytes)
	if s.leaving {
		b.mu.Unlock()
		return false
	}
	b.rest(s)
	if b.waiting.Len() == 0 && b.free >= n {
		b.lend(s, n)
		b.mu.Unlock()
		return true
	}
	b.claims++
	c := &claim{s, n, b.claims, make(chan struct{})}
	b.queue(c)
	b.grant() // its address may hold least
	b.press()
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

// lend gives n bytes to s. The caller holds the lock.
func (b *budget) lend(s *stake, n int64) {
	b.free -= n
	s.bytes += n
	b.lineOf(s.peer).held += n
	s.since = time.Now()
	s.element = b.arriving.PushBack(s)
}

// rest takes s out of those that are expected to send. The caller holds the lock.
func (b *budget) rest(s *stake) {
	if s.element != nil {
		b.arriving.Remove(s.element)
		s.element = nil
	}
}

// arrived says that all of the body is there, and reports whether it may be used: not
// if it was told to leave before.
func (b *budget) arrived(s *stake) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest(s)
	return !s.leaving
}

// give returns all that s holds.
func (b *budget) give(s *stake) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest(s)
	b.free += s.bytes
	if s.leaving {
		b.leaving -= s.bytes
	}
	if l := b.lines[s.peer]; l != nil {
		l.held -= s.bytes
		b.settle(s.peer, l)
	}
	s.bytes, s.leaving = 0, false
	b.grant()
}

// queue makes c wait in the line of its address. The caller holds the lock.
func (b *budget) queue(c *claim) {
	b.wanted += c.bytes
	c.stake.claim = c
	l := b.lineOf(c.stake.peer)
	l.claims = append(l.claims, c)
	b.settle(c.stake.peer, l)
}

// unqueue ends the wait of c. The caller holds the lock.
func (b *budget) unqueue(c *claim) {
	b.wanted -= c.bytes
	c.stake.claim = nil
	l := b.lines[c.stake.peer]
	l.remove(c)
	b.settle(c.stake.peer, l)
}

// withdraw ends a claim and reports whether it was granted at the last moment.
func (b *budget) withdraw(c *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.stake.claim != c {
		return true
	}
	b.unqueue(c)
	b.grant() // it may have stood in the way
	return false
}

// grant serves waiting claims, those of the address that holds least first. One that
// does not fit yet is not overtaken. The caller holds the lock.
func (b *budget) grant() {
	for b.waiting.Len() > 0 {
		c := b.waiting[0].claims[0]
		if c.bytes > b.free {
			return
		}
		b.unqueue(c)
		b.lend(c.stake, c.bytes)
		b.settle(c.stake.peer, b.lines[c.stake.peer])
		close(c.ready)
	}
}

// press tells those to leave that have kept others waiting for too long, as many as it
// needs. The caller holds the lock.
func (b *budget) press() {
	for b.free+b.leaving < b.wanted && b.arriving.Len() > 0 {
		s := b.arriving.Front().Value.(*stake)
		if left := b.grace - time.Since(s.since); left > 0 {
			b.pressAfter(left)
			return
		}
		b.rest(s)
		s.leaving = true
		b.leaving += s.bytes
		s.leave()
	}
}

// pressAfter looks again after d. The caller holds the lock.
func (b *budget) pressAfter(d time.Duration) {
	if b.alarm != nil {
		b.alarm.Reset(d)
		return
	}
	b.alarm = time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.press()
	})
}

// used returns how many bytes are taken.
func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}

// lineOf returns the line of an address. The caller holds the lock.
func (b *budget) lineOf(peer netip.Prefix) *line {
	l := b.lines[peer]
	if l == nil {
		l = &line{place: nowhere}
		b.lines[peer] = l
	}
	return l
}

// settle brings a line that changed to its place. The caller holds the lock.
func (b *budget) settle(peer netip.Prefix, l *line) {
	switch {
	case l.place == nowhere && len(l.claims) > 0:
		heap.Push(&b.waiting, l)
	case l.place != nowhere && len(l.claims) == 0:
		heap.Remove(&b.waiting, l.place)
	case l.place != nowhere:
		heap.Fix(&b.waiting, l.place)
	}
	if l.held == 0 && len(l.claims) == 0 {
		delete(b.lines, peer)
	}
}
