package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/warg"
)

const (
	// budgetWait is how long a request waits for memory for its body. Longer would
	// only move the queue from the client, which can go elsewhere, to us.
	budgetWait = 5 * time.Second

	// bodyGrace is how long a body may leave what it took unfilled while others wait
	// for memory. Without anybody waiting, only the progress rule holds.
	bodyGrace = 2 * time.Second

	// firstBodyStep is what every body may take, whatever others do: a sixteenth of
	// the read buffer that its connection has anyway. Most bodies fit.
	firstBodyStep = 1 << 10

	// smallBody is the largest body that takes from the quarter kept for small ones.
	smallBody = 16 << 10
)

// bodyMemory is the memory for request bodies: a first step that each may have, a
// budget for what small ones grow by, and one for what large ones do. Clients that send
// large bodies slowly can so never stand in the way of an ordinary request.
type bodyMemory struct {
	first        atomic.Int64
	small, large *budget
}

// newBodyMemory divides total bytes. The largest body must fit into the budget for
// large ones even where total is hardly more than that.
func newBodyMemory(total int64, wait time.Duration) *bodyMemory {
	return &bodyMemory{small: newBudget(total/4, wait, bodyGrace), large: newBudget(max(total-total/4, warg.MaxJSONBody), wait, bodyGrace)}
}

// used returns how many bytes are taken.
func (m *bodyMemory) used() int64 { return m.first.Load() + m.small.used() + m.large.used() }

// holding is the memory of one body. It is used by one goroutine.
type holding struct {
	memory       *bodyMemory
	first        int64
	small, large stake
}

// hold begins a body from peer that has no memory yet. leave must make its reader give
// up, at once and from any goroutine.
func (m *bodyMemory) hold(peer netip.Prefix, leave func()) *holding {
	return &holding{memory: m, small: stake{peer: peer, leave: leave}, large: stake{peer: peer, leave: leave}}
}

// grow makes the body's memory at least size bytes, and reports whether it could.
func (h *holding) grow(size int64) bool {
	if first := min(size, firstBodyStep); first > h.first {
		h.memory.first.Add(first - h.first)
		h.first = first
	}
	switch {
	case size <= firstBodyStep:
		return true
	case size <= smallBody:
		return h.memory.small.take(&h.small, size-firstBodyStep-h.small.bytes)
	case h.small.bytes > 0:
		return h.memory.small.arrived(&h.small) && h.growLarge(size) && h.leaveSmall()
	}
	return h.growLarge(size)
}

func (h *holding) growLarge(size int64) bool {
	return h.memory.large.take(&h.large, size-firstBodyStep-h.large.bytes)
}

// leaveSmall gives back what a body took while it was small: nobody else's slowness may
// be paid for out of that.
func (h *holding) leaveSmall() bool {
	h.memory.small.give(&h.small)
	return true
}

// arrived says that all of the body is there, and reports whether it may be used.
func (h *holding) arrived() bool {
	small, large := h.memory.small.arrived(&h.small), h.memory.large.arrived(&h.large)
	return small && large
}

// give returns everything.
func (h *holding) give() {
	h.memory.first.Add(-h.first)
	h.first = 0
	if h.small.bytes > 0 {
		h.memory.small.give(&h.small)
	}
	if h.large.bytes > 0 {
		h.memory.large.give(&h.large)
	}
}
