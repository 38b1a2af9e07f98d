package proxy

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadlinesAreSpread: connections that came at one moment, and wait for something in
// the same way, are ended one after the other, and none before its time.
func TestDeadlinesAreSpread(t *testing.T) {
	waits := map[string]struct {
		begin   func(*conn) error
		nominal time.Duration
	}{
		"for a head": {func(c *conn) error { return c.SetReadDeadline(time.Now().Add(10 * time.Second)) }, 10 * time.Second},
		"for a body": {func(c *conn) error { return c.SetReadDeadline(time.Now().Add(unhurried)) }, paceWindow},
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const conns = 5
				ended := make(chan time.Duration, conns)
				start := time.Now()
				for i := range conns {
					c, far := pair()
					defer far.Close()
					c.spread = maxSpread * float64(i) / conns
					if err := wait.begin(c); err != nil {
						t.Fatal(err)
					}
					go func() {
						if _, err := c.Read(make([]byte, 1)); !os.IsTimeout(err) {
							t.Errorf("read: %v", err)
						}
						ended <- time.Since(start)
					}()
				}
				for i := range conns {
					want := wait.nominal + time.Duration(maxSpread*float64(i)/conns*float64(wait.nominal))
					if got := <-ended; (got - want).Abs() > time.Millisecond {
						t.Errorf("connection %d ended after %v; want %v", i, got, want)
					}
				}
			})
		})
	}
}

// TestListenerSpreads: every connection that is let in gets a part of its own.
func TestListenerSpreads(t *testing.T) {
	l, _ := testListener(newScripted(), connCaps{total: 3, perPeer: 3})
	next := 0.0
	l.spread = func() float64 { next += 0.25; return next }
	for want := 0.25; want <= 0.75; want += 0.25 {
		near, far := net.Pipe()
		defer far.Close()
		if c, ok := l.admit(near).(*conn); !ok || c.spread != want {
			t.Errorf("the spread is %v; want %v", c.spread, want)
		}
	}
}
