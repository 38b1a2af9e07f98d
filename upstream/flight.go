package upstream

import (
	"context"
	"sync"
	"time"
)

// flights lets one goroutine do what many want. It differs from x/sync's
// singleflight in that several keys can be claimed at once, to be fetched in one
// request, and that whoever does the work is never one of those who wait: a reader
// that goes away takes nobody with it.
type flights[K comparable] struct {
	mu sync.Mutex
	m  map[K]*flight
}

type flight struct {
	done chan struct{}
	err  error // valid when done is closed
}

// join returns the flights of all keys, and those keys that nobody was working on:
// the caller must see to it that each of them lands.
func (f *flights[K]) join(keys []K) (mine []K, all []*flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.m == nil {
		f.m = make(map[K]*flight)
	}
	for _, k := range keys {
		fl, ok := f.m[k]
		if !ok {
			fl = &flight{done: make(chan struct{})}
			f.m[k] = fl
			mine = append(mine, k)
		}
		all = append(all, fl)
	}
	return mine, all
}

// land ends the work on a key.
func (f *flights[K]) land(k K, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl, ok := f.m[k]
	if !ok {
		return // landed already
	}
	delete(f.m, k)
	fl.err = err
	close(fl.done)
}

// wait waits until all flights have landed and returns their first error.
func wait(ctx context.Context, all []*flight) error {
	for _, fl := range all {
		select {
		case <-fl.done:
			if fl.err != nil {
				return fl.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// memo remembers for a short time that something failed, so that not every reader
// makes us ask again.
type memo[K comparable] struct {
	mu sync.Mutex
	m  map[K]failure
}

type failure struct {
	err   error
	until time.Time
}

// maxMemo bounds a memo: keys come from clients.
const maxMemo = 10_000

func (m *memo[K]) get(k K, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.m[k]
	if !ok {
		return nil
	}
	if !now.Before(f.until) {
		delete(m.m, k)
		return nil
	}
	return f.err
}

func (m *memo[K]) put(k K, err error, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = make(map[K]failure)
	}
	if len(m.m) >= maxMemo {
		for victim := range m.m { // any one
			delete(m.m, victim)
			break
		}
	}
	m.m[k] = failure{err, until}
}

func (m *memo[K]) forget(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, k)
}

func (m *memo[K]) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.m)
}

// slots bounds how many do something at a time.
type slots chan struct{}

// enter waits for a slot. The caller leaves with the function returned.
func (s slots) enter(ctx context.Context) (leave func(), err error) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
