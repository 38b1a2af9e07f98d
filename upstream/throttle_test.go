package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// endless is a body that is there at once.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

func TestBandwidth(t *testing.T) {
	for _, readers := range []int{1, 7} {
		for _, rate := range []int64{1 << 10, 1 << 20, 100 << 20} {
			synctest.Test(t, func(t *testing.T) {
				line := newBandwidth(rate)
				begun := time.Now()
				const seconds = 20
				var group sync.WaitGroup
				for range readers {
					group.Go(func() {
						body := line.throttle(t.Context(), endless{})
						if _, err := io.CopyN(io.Discard, body, rate*seconds/int64(readers)); err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				// The first burst is free, the last slices may be longer than asked for.
				if took := time.Since(begun); took < seconds*time.Second-2*burstTime || took > seconds*time.Second+10*time.Second {
					t.Errorf("%d readers at %d bytes a second: %d seconds' worth took %s", readers, rate, seconds, took)
				}
			})
		}
	}
	if body := newBandwidth(0).throttle(t.Context(), endless{}); body != (endless{}) {
		t.Error("no limit is a limit")
	}
}

// TestIdleLine: what was not used is not saved up.
func TestIdleLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		line := newBandwidth(rate)
		body := line.throttle(t.Context(), endless{})
		for range 3 {
			time.Sleep(time.Hour)
			begun := time.Now()
			if _, err := io.CopyN(io.Discard, body, 10*rate); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took < 9*time.Second || took > 11*time.Second {
				t.Errorf("ten seconds' worth took %s", took)
			}
		}
	})
}

// TestThrottledIsNotSlow: a body that we slow down ourselves is not given up for being
// slow; one that crawls by itself is, on the same line.
func TestThrottledIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := newBandwidth(1 << 10) // 64 bytes a second for each of the readers, less than any body must bring
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				b := bound(line.throttle(ctx, endless{}), 1<<20, Timing{}.withDefaults(), cancel)
				defer b.Close()
				if _, err := io.CopyN(io.Discard, b, 10<<10); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		b := bound(line.throttle(ctx, silent{ctx}), 1<<20, Timing{}.withDefaults(), cancel)
		defer b.Close()
		if _, err := io.Copy(io.Discard, b); ClassOf(err) != ClassSlow {
			t.Errorf("a body that does not come: %v", err)
		}
	})
}

// silent is a body that never comes.
type silent struct{ ctx context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
func (silent) Close() error { return nil }

// TestThrottledClient: every body of a registry is on its line, and nothing is lost
// there; who goes away does not wait.
func TestThrottledClient(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	content := wargtest.Component(string(bytes.Repeat([]byte("throttled "), 20_000)))
	p := wargtest.NewPackage("test:throttled")
	submit(t, m, p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", content))), content)
	s := serve(t, m)
	c := s.client(t, func(o *ClientOptions) { o.MaxBandwidth = 400 << 10 })
	begun := time.Now()
	body, err := c.Open(t.Context(), warg.Sum(content))
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if took := time.Since(begun); took < 200*time.Millisecond { // half a second's worth, less the burst
		t.Errorf("%d bytes took %s", len(content), took)
	}
	slow := s.client(t, func(o *ClientOptions) { o.MaxBandwidth = 1 << 10 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := slow.Open(ctx, warg.Sum(content)); !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout}) {
		t.Errorf("got %v", err)
	}
}
