package proxy

import (
	"time"

	"github.com/entrepot/entrepot/warg"
)

// bodyMemory is the memory for request bodies in two budgets: one for the first step of
// each body, which is all that most need, and one for what large bodies grow by. Clients
// that send large bodies slowly can keep the second one taken, but never the first, so
// that an ordinary request does not wait for them.
type bodyMemory struct{ first, growth *budget }

// newBodyMemory divides total bytes. The largest body must fit into the budget for
// growth even where total is hardly more than that.
func newBodyMemory(total int64, wait time.Duration) *bodyMemory {
	return &bodyMemory{newBudget(total/4, wait), newBudget(max(total-total/4, warg.MaxJSONBody), wait)}
}

// take takes n bytes for a body that has taken some already, none at its first step. It
// reports whether it got them.
func (m *bodyMemory) take(n, already int64) bool {
	if already == 0 {
		return m.first.take(n)
	}
	return m.growth.take(n)
}

// give returns all that a body took.
func (m *bodyMemory) give(taken int64) {
	first := min(taken, firstBodyStep)
	m.first.give(first)
	m.growth.give(taken - first)
}

// used returns how many bytes are taken.
func (m *bodyMemory) used() int64 { return m.first.used() + m.growth.used() }
