package kv

import (
	"errors"
	"sync"
)

const (
	// behindBytes is how much is gathered before it is written, in bytes of keys and
	// values; twice as much is in memory at most.
	behindBytes = 16 << 20
	// behindBatch bounds one transaction, so that what is gathered stays near that.
	behindBatch = 4 << 20
)

// Behind is a store that writes behind: a transaction is visible at once, and another
// goroutine writes many of them together to the store below, each key once, in the order
// of the transactions. It is for making much from something that is kept elsewhere: what
// was committed last is lost with the process, and an error of writing comes late, from a
// later Commit or from Close.
type Behind struct {
	below Store
	known *filter // keys that were ever set here; nil if the store below was not empty

	mu      sync.RWMutex
	moved   sync.Cond   // on mu: before or err has changed, or closing
	now     *generation // under mu
	before  *generation // under mu: being written, nil if there is none
	err     error       // under mu: the first of writing
	closing bool        // under mu
	ended   chan struct{}
}

// generation is what is written together, in order. What was set again is dead where it
// was first, so that no key is written before those that were set before it.
type generation struct {
	at    map[string]int
	pairs []pair
	bytes int
}

type pair struct {
	key   string
	value []byte
	dead  bool
}

func newGeneration() *generation { return &generation{at: map[string]int{}} }

func (g *generation) set(p pair) {
	if old, ok := g.at[p.key]; ok {
		g.bytes -= len(p.key) + len(g.pairs[old].value)
		g.pairs[old] = pair{dead: true}
	}
	g.at[p.key] = len(g.pairs)
	g.pairs = append(g.pairs, p)
	g.bytes += len(p.key) + len(p.value)
}

func (g *generation) get(key []byte) ([]byte, bool) {
	if g == nil {
		return nil, false
	}
	i, ok := g.at[string(key)]
	if !ok {
		return nil, false
	}
	return g.pairs[i].value, true
}

// NewBehind returns a store over another one, which it closes. If that is empty, keys
// says about how many there will be, and looking for one that is not there costs next to
// nothing; 0 means that it may not be empty.
func NewBehind(below Store, keys uint64) *Behind {
	b := &Behind{below: below, now: newGeneration(), ended: make(chan struct{})}
	b.moved.L = &b.mu
	if keys > 0 {
		b.known = newFilter(keys)
	}
	go b.write()
	return b
}

// write writes generations until the store is closed.
func (b *Behind) write() {
	defer close(b.ended)
	for {
		b.mu.Lock()
		for b.before == nil && !b.closing {
			b.moved.Wait()
		}
		g := b.before
		b.mu.Unlock()
		if g == nil {
			return
		}
		err := b.writeOut(g)
		b.mu.Lock()
		b.err = errors.Join(b.err, err)
		b.before = nil
		b.moved.Broadcast()
		b.mu.Unlock()
	}
}

func (b *Behind) writeOut(g *generation) error {
	return Write(b.below, func(set func(key, value []byte) error) error {
		for _, p := range g.pairs {
			if p.dead {
				continue
			}
			if err := set([]byte(p.key), p.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// View implements [Store]. Nothing is committed meanwhile.
func (b *Behind) View(read func(Reader) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return read(behindReader{b})
}

type behindReader struct{ b *Behind }

// Read implements [Reader]. What is being written stays readable here until all of it is
// in the store below.
func (r behindReader) Read(key []byte, use func(value []byte) error) error {
	for _, g := range []*generation{r.b.now, r.b.before} {
		if v, ok := g.get(key); ok {
			return use(v)
		}
	}
	if r.b.known != nil && !r.b.known.has(key) {
		return ErrNotFound
	}
	return r.b.below.View(func(below Reader) error { return below.Read(key, use) })
}

// Begin implements [Store].
func (b *Behind) Begin() Txn { return &behindTxn{b: b} }

type behindTxn struct {
	b     *Behind
	pairs []pair
	bytes int
}

// Set implements [Txn].
func (t *behindTxn) Set(key, value []byte) error {
	if t.bytes += len(key) + len(value); t.bytes > behindBatch && len(t.pairs) > 0 {
		return ErrTooLarge
	}
	t.pairs = append(t.pairs, pair{key: string(key), value: value})
	return nil
}

// Commit implements [Txn]. It waits while enough is on its way.
func (t *behindTxn) Commit() error {
	b := t.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.now.bytes >= behindBytes && b.before != nil && b.err == nil {
		b.moved.Wait()
	}
	if b.err != nil {
		return b.err
	}
	if b.closing {
		return errGone
	}
	for _, p := range t.pairs {
		b.now.set(p)
		if b.known != nil {
			b.known.add([]byte(p.key))
		}
	}
	t.pairs = nil
	if b.now.bytes >= behindBytes && b.before == nil {
		b.turn()
	}
	return nil
}

// turn hands what was gathered to the writer. The caller holds mu.
func (b *Behind) turn() {
	b.before, b.now = b.now, newGeneration()
	b.moved.Broadcast()
}

// Discard implements [Txn].
func (t *behindTxn) Discard() { t.pairs = nil }

// Sync implements [Store]. What was committed last is durable only after Close.
func (b *Behind) Sync() error { return b.below.Sync() }

// Room implements [Store].
func (b *Behind) Room() error { return b.below.Room() }

// Close implements [Store]: it writes what is left and closes the store below.
func (b *Behind) Close() error {
	b.mu.Lock()
	for b.before != nil {
		b.moved.Wait()
	}
	if b.err == nil && len(b.now.pairs) > 0 {
		b.turn()
	}
	b.closing = true
	b.moved.Broadcast()
	b.mu.Unlock()
	<-b.ended
	return errors.Join(b.err, b.below.Close())
}
