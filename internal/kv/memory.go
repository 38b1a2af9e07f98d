package kv

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Memory is a database in memory. The zero Memory is empty and ready. What it keeps
// outlives its stores, as a disk outlives a process: [Memory.Open] may be called
// again and again, and [Memory.Crash] does to it what a crash does to Badger. It is
// safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	synced map[string][]byte   // under mu: what a crash leaves
	recent []map[string][]byte // under mu: transactions since, oldest first
	life   int                 // under mu: how often it was opened or crashed
	quirks Quirks              // under mu
}

// Quirks are the ways of Badger that callers must survive. Each function is asked
// every time; nil means never.
type Quirks struct {
	// PanicOnOpen panics while opening a database that is not empty, as Badger does over
	// a damaged table.
	PanicOnOpen func() bool
	// FailCommit makes a commit fail; applied says whether what it wrote is there all
	// the same, also after the next start.
	FailCommit func() (fail, applied bool)
	// NoRoom makes the disk full.
	NoRoom func() bool
}

// errCommit is what a commit returns that [Quirks] made fail.
var errCommit = errors.New("committing: input/output error")

// errGone is what a store returns after its process died.
var errGone = errors.New("the database was closed")

// maxTxn bounds the values of one transaction, in bytes, so that callers meet
// [ErrTooLarge] as they do with Badger.
const maxTxn = 1 << 20

// SetQuirks replaces the quirks.
func (m *Memory) SetQuirks(q Quirks) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quirks = q
}

// Open opens the database. Stores that were opened before are dead.
func (m *Memory) Open() Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	empty := len(m.synced) == 0 && len(m.recent) == 0
	if q := m.quirks.PanicOnOpen; q != nil && !empty && q() {
		panic("nil dereference while opening a table")
	}
	m.life++
	return &memoryStore{m, m.life}
}

// Crash ends all stores without closing them. Of the transactions since the last
// Close, the newest are lost: how many is chance; all, if r is nil.
func (m *Memory) Crash(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := 0
	if r != nil {
		keep = r.IntN(len(m.recent) + 1)
	}
	m.settle(keep)
}

// Erase forgets everything, like moving the database aside.
func (m *Memory) Erase() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced, m.recent = nil, nil
	m.life++
}

// Lose makes the value of a key unreadable until it is written again: reading it
// yields nothing, and no error, as from Badger.
func (m *Memory) Lose(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, values := range append(m.recent, m.synced) {
		if _, ok := values[key]; ok {
			values[key] = nil
		}
	}
}

// Keys returns the keys there are, sorted.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := maps.Clone(m.synced)
	if all == nil {
		all = map[string][]byte{}
	}
	for _, txn := range m.recent {
		maps.Copy(all, txn)
	}
	return slices.Sorted(maps.Keys(all))
}

// settle makes the first keep of the recent transactions last, and forgets the rest.
// The caller holds mu.
func (m *Memory) settle(keep int) {
	if m.synced == nil {
		m.synced = map[string][]byte{}
	}
	for _, txn := range m.recent[:keep] {
		maps.Copy(m.synced, txn)
	}
	m.recent = nil
	m.life++
}

// value returns what a key has. The caller holds mu.
func (m *Memory) value(key string) ([]byte, bool) {
	for _, txn := range slices.Backward(m.recent) {
		if v, ok := txn[key]; ok {
			return v, true
		}
	}
	v, ok := m.synced[key]
	return v, ok
}

// memoryStore is one life of a Memory.
type memoryStore struct {
	m    *Memory
	life int
}

// Sync implements [Store].
func (s *memoryStore) Sync() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.life != s.m.life {
		return errGone
	}
	for _, txn := range s.m.recent {
		if s.m.synced == nil {
			s.m.synced = map[string][]byte{}
		}
		maps.Copy(s.m.synced, txn)
	}
	s.m.recent = nil
	return nil
}

// Room implements [Store].
func (s *memoryStore) Room() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if full := s.m.quirks.NoRoom; full != nil && full() {
		return syscall.ENOSPC
	}
	return nil
}

// View implements [Store]. The state is consistent because one goroutine writes,
// and readers of the trees go by heads that never change.
func (s *memoryStore) View(read func(Reader) error) error { return read(s) }

// Read implements [Reader].
func (s *memoryStore) Read(key []byte, use func(value []byte) error) error {
	v, err := s.read(string(key))
	if err != nil {
		return err
	}
	return use(v)
}

func (s *memoryStore) read(key string) ([]byte, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.life != s.m.life {
		return nil, errGone
	}
	v, ok := s.m.value(key)
	if !ok {
		return nil, ErrNotFound
	}
	return v, nil
}

// List implements [Lister].
func (s *memoryStore) List(prefix []byte, visit func(key, value []byte) error) error {
	for _, key := range s.m.Keys() {
		if !strings.HasPrefix(key, string(prefix)) {
			continue
		}
		v, err := s.read(key)
		if err != nil {
			return err
		}
		if err := visit([]byte(key), v); err != nil {
			return err
		}
	}
	return nil
}

func (s *memoryStore) Begin() Txn { return &memoryTxn{s: s, set: map[string][]byte{}} }

// Close implements [Store].
func (s *memoryStore) Close() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.life != s.m.life {
		return nil
	}
	s.m.settle(len(s.m.recent))
	return nil
}

type memoryTxn struct {
	s    *memoryStore
	set  map[string][]byte
	size int
}

// Set implements [Txn].
func (t *memoryTxn) Set(key, value []byte) error {
	if t.size += len(key) + len(value); t.size > maxTxn && len(t.set) > 0 {
		return ErrTooLarge
	}
	t.set[string(key)] = slices.Clone(value)
	return nil
}

// Commit implements [Txn].
func (t *memoryTxn) Commit() error {
	m := t.s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.s.life != m.life {
		return errGone
	}
	var fail, applied bool
	if q := m.quirks.FailCommit; q != nil {
		fail, applied = q()
	}
	if len(t.set) > 0 && (!fail || applied) {
		m.recent = append(m.recent, t.set)
	}
	t.set = nil
	if fail {
		return errCommit
	}
	return nil
}

// Discard implements [Txn].
func (t *memoryTxn) Discard() { t.set = nil }
