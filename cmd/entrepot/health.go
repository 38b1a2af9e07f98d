package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// How health is watched.
const (
	healthEvery = 10 * time.Second // at most; a third of a service manager's watchdog if that is less
	healthWait  = 30 * time.Second // for one look: a large batch on a slow disk takes seconds
	healthLate  = 3                // looks that may be missing before the last one counts no more
)

// health is what is known of whether this process does what it should. Whoever finds
// that it does not should end it: what was answered is safe.
type health struct {
	now   func() time.Time
	every time.Duration
	look  func(context.Context) error

	mu   sync.Mutex
	last time.Time // when it was looked last
	err  error     // what was found then
}

// newHealth looks with the functions given, one after another.
func newHealth(now func() time.Time, s supervisor, looks ...func(context.Context) error) *health {
	h := &health{now: now, every: healthEvery, last: now()}
	if third := s.watchdog / 3; third > 0 {
		h.every = min(h.every, third)
	}
	h.look = func(ctx context.Context) error {
		for _, f := range looks {
			if err := f(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	return h
}

// watch looks until ctx ends, and calls alive after each time that everything was well.
func (h *health) watch(ctx context.Context, alive func()) {
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for {
		limited, stop := context.WithTimeout(ctx, healthWait)
		err := h.look(limited)
		stop()
		if ctx.Err() != nil {
			return
		}
		h.mu.Lock()
		h.last, h.err = h.now(), err
		h.mu.Unlock()
		if err == nil {
			alive()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// state returns why this process should be ended, or nil.
func (h *health) state() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if late := h.now().Sub(h.last); late > healthLate*h.every+healthWait {
		return fmt.Errorf("nothing was heard of its own check for %s", late.Round(time.Second))
	}
	return h.err
}

// accepts returns a look at whether connections to an address are accepted. An answer, a
// refusal and a connection that is cut all show that somebody takes them; only silence,
// and a port where nobody listens, do not.
func accepts(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return nil // all descriptors are in use, so somebody accepts
		}
		if err != nil {
			return fmt.Errorf("connecting to %s: %w", address, err)
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline)
		}
		_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("connecting to %s: nobody accepts", address)
		}
		return nil
	}
}

// healthy returns why this process should be ended, or nil: what its last look found, or
// that it is ending because of an error.
func (s *site) healthy() error {
	if s.audit.Err() != nil {
		return errors.New("the audit log stopped")
	}
	if s.authority.Err() != nil {
		return errors.New("the authority stopped")
	}
	return s.health.state()
}
