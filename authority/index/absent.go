package index

import "sync"

// maxAbsent bounds the memory of keys known to be absent, about 100 bytes each.
const maxAbsent = 1 << 14

// shortKey is a key of a letter and a digest.
type shortKey [1 + 32]byte

// absentKeys remembers keys that were asked for lately and are not in the
// database: a record that is submitted is looked up, and so is its log, and both
// again when they are written. Only a writer can make an entry wrong. It forgets
// the keys that it writes, and while it writes nothing is added, nor what was
// looked for before it began.
type absentKeys struct {
	mu     sync.Mutex
	writes uint64                // under mu: begun and ended; odd while one is on its way
	now    map[shortKey]struct{} // under mu
	before map[shortKey]struct{} // under mu: what now was until it was full
}

func shortKeyOf(key []byte) (k shortKey, ok bool) {
	if len(key) != len(k) {
		return k, false
	}
	return shortKey(key), true
}

// look reports whether a key is known to be absent, and what keep has to be told
// if it turns out to be.
func (a *absentKeys) look(k shortKey) (absent bool, seen uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, absent = a.now[k]; !absent {
		_, absent = a.before[k]
	}
	return absent, a.writes
}

// keep notes that a key is absent that was looked for after seen was returned.
func (a *absentKeys) keep(k shortKey, seen uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if seen%2 == 1 || seen != a.writes {
		return
	}
	if a.now == nil || len(a.now) >= maxAbsent/2 {
		a.now, a.before = map[shortKey]struct{}{}, a.now
	}
	a.now[k] = struct{}{}
}

// begin and end enclose a write, which has to forget every key that it adds
// before it commits.
func (a *absentKeys) begin() { a.step() }
func (a *absentKeys) end()   { a.step() }

func (a *absentKeys) step() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writes++
}

func (a *absentKeys) forget(key []byte) {
	k, ok := shortKeyOf(key)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.now, k)
	delete(a.before, k)
}

// clear forgets everything.
func (a *absentKeys) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now, a.before = nil, nil
}
