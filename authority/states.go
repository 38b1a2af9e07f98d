package authority

import (
	"container/list"
	"fmt"
	"sync"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// logState is the validated state of a package log. The sequencer changes it when
// it validates a batch, so it may be ahead of what is published by the batch that
// is on its way.
type logState struct {
	log warg.LogID

	mu     sync.RWMutex
	state  *pkglog.State // under mu; nil = not loaded
	weight int           // under mu: records applied

	// Under the lock of states.
	users   int // who may rely on this being the only state of its log
	counted bool
	elem    *list.Element
}

// Bounds of the memory for states. A state costs about 1 KiB and 500 bytes for
// each record.
const (
	maxStates       = 16384
	maxStateRecords = 1 << 18
)

// states keeps the states of logs in use lately. There is never more than one
// state of a log that the sequencer uses: it holds what it works on until the
// index has it, and nobody evicts what is held.
type states struct {
	load func(warg.LogID) (*pkglog.State, int, error)

	mu      sync.Mutex
	byLog   map[warg.LogID]*logState
	lru     *list.List // of *logState, used lately first
	records int        // sum of weights, roughly
}

func newStates(load func(warg.LogID) (*pkglog.State, int, error)) *states {
	return &states{load: load, byLog: map[warg.LogID]*logState{}, lru: list.New()}
}

// acquire returns the state of a log, loaded. Call release when done with it.
func (s *states) acquire(log warg.LogID) (*logState, error) {
	s.mu.Lock()
	l := s.byLog[log]
	if l == nil {
		l = &logState{log: log}
		s.byLog[log] = l
		l.elem = s.lru.PushFront(l)
	} else {
		s.lru.MoveToFront(l.elem)
	}
	l.users++
	s.mu.Unlock()
	if err := s.fill(l); err != nil {
		s.release(l)
		return nil, fmt.Errorf("replaying log %s: %w", log, err)
	}
	return l, nil
}

func (s *states) fill(l *logState) error {
	l.mu.RLock()
	loaded := l.state != nil
	l.mu.RUnlock()
	if loaded {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != nil {
		return nil
	}
	state, n, err := s.load(l.log)
	if err != nil {
		return err
	}
	l.state, l.weight = state, n
	s.mu.Lock()
	s.records, l.counted = s.records+n+1, true
	s.mu.Unlock()
	return nil
}

// release ends the use of a state.
func (s *states) release(l *logState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.users--
	if !l.counted && l.users == 0 { // loading it failed
		s.evict(l)
		return
	}
	for e := s.lru.Back(); e != nil && (s.lru.Len() > maxStates || s.records > maxStateRecords); {
		old := e.Value.(*logState)
		e = e.Prev()
		if old.users == 0 {
			s.evict(old)
		}
	}
}

// evict forgets a state that nobody uses. The caller holds mu.
func (s *states) evict(l *logState) {
	s.lru.Remove(l.elem)
	delete(s.byLog, l.log)
	if l.counted {
		s.records -= l.weight + 1
	}
}

// apply validates a record against a state that the caller has acquired, and
// changes it.
func (s *states) apply(l *logState, rec pkglog.Record, env warg.Envelope, opt pkglog.ApplyOption) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state.Apply(rec, env, opt); err != nil {
		return err
	}
	l.weight++
	s.mu.Lock()
	s.records++
	s.mu.Unlock()
	return nil
}
