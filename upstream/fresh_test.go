package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// inBubble runs a test on virtual time, with a replica whose clock that is.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ahead := time.Until(newClock().now()) // a bubble's clock begins in 2000
		w.options.Now = func() time.Time { return time.Now().Add(ahead) }
		w.options.MaxAge = time.Minute
		w.restart()
		defer func() { w.replica.Close() }()
		test(t, w)
	})
}

// timed returns how long f took.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestFreshness(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		check := func(what string, wantCalls int, wantLength uint64, stale bool) {
			t.Helper()
			v, err := w.replica.Checkpoint(t.Context())
			synctest.Wait()
			if err != nil || v.Checkpoint.LogLength != wantLength || (v.Warning != "") != stale {
				t.Errorf("%s: length %d, warning %q, %v; want length %d", what, v.Checkpoint.LogLength, v.Warning, err, wantLength)
			}
			if n := w.tap.count("checkpoint"); n != wantCalls {
				t.Errorf("%s: asked %d times; want %d", what, n, wantCalls)
			}
		}
		check("cold", 1, 1, false)
		w.publish("test:a", "1.0.0")
		time.Sleep(29 * time.Second)
		check("young", 1, 1, false)
		time.Sleep(2 * time.Second)
		check("past half of its age", 2, 1, false) // answered at once, refreshed behind
		check("refreshed in the background", 2, 2, false)
		w.publish("test:a", "1.1.0")
		time.Sleep(2 * time.Minute)
		check("too old", 3, 3, false) // waited for
	})
}

// TestSlowRefreshIsNotWaitedForLong: readers of a replica that is too old wait two
// seconds, are answered stale, and the refresh goes on.
func TestSlowRefreshIsNotWaitedForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.refresh()
		w.publish("test:a", "1.0.0")
		w.tap.before = func(_ context.Context, call string) error {
			if call == "checkpoint" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		time.Sleep(2 * time.Minute)
		for range 3 {
			took := timed(func() {
				v, err := w.replica.Checkpoint(t.Context())
				if err != nil || v.Checkpoint.LogLength != 1 || v.Warning == "" {
					t.Errorf("while refreshing: %+v %v", v, err)
				}
			})
			if took != joinWait {
				t.Errorf("waited %v; want %v", took, joinWait)
			}
		}
		if n := w.tap.count("checkpoint"); n != 2 {
			t.Errorf("asked %d times; want 2", n)
		}
		time.Sleep(10 * time.Second)
		if v, err := w.replica.Checkpoint(t.Context()); err != nil || v.Checkpoint.LogLength != 2 || v.Warning != "" {
			t.Errorf("after the refresh: %+v %v", v, err)
		}
	})
}

// TestBackoff: while upstream is down nobody waits for it and it is asked ever more
// rarely.
func TestBackoff(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.refresh()
		w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down"})
		time.Sleep(2 * time.Minute)
		before := w.tap.count("checkpoint")
		for range 10 * 60 {
			took := timed(func() {
				if v, err := w.replica.Checkpoint(t.Context()); err != nil || v.Warning == "" {
					t.Errorf("while down: %+v %v", v, err)
				}
			})
			if took != 0 {
				t.Errorf("waited %v", took)
			}
			time.Sleep(time.Second)
		}
		// 1, 2, 4 … 60 seconds, each at least half of it: at most 6 and 20.
		if n := w.tap.count("checkpoint") - before; n < 10 || n > 30 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		w.tap.setDown(nil)
		time.Sleep(longestBackoff)
		if v, err := w.replica.Checkpoint(t.Context()); err != nil || v.Warning != "" {
			t.Errorf("when upstream is back: %+v %v", v, err)
		}
	})
}

// TestColdReaderDoesNotWaitForEver: the first copy may take longer than a reader
// should wait; it goes on without him.
func TestColdReaderDoesNotWaitForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.tap.before = func(_ context.Context, call string) error {
			if call == "ledger" {
				time.Sleep(5 * time.Minute)
			}
			return nil
		}
		took := timed(func() {
			_, err := w.replica.Checkpoint(t.Context())
			if e, ok := asWarg(err); !ok || e.Kind != warg.KindUnavailable || e.RetryAfter == 0 {
				t.Errorf("while being copied: %v", err)
			}
		})
		if took != coldWait {
			t.Errorf("waited %v; want %v", took, coldWait)
		}
		time.Sleep(5 * time.Minute)
		if _, err := w.replica.Checkpoint(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestHangingUpstream: work on behalf of readers has a deadline of its own.
func TestHangingUpstream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.publish("test:a", "1.0.0")
		w.refresh()
		w.tap.before = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		took := timed(func() {
			if _, err := w.fetch("test:a"); !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout}) {
				t.Errorf("log: %v", err)
			}
		})
		if took != fetchTimeout {
			t.Errorf("waited %v; want %v", took, fetchTimeout)
		}
	})
}

// TestRefusedIsNotAskedForByEverybody: what was refused is remembered for a moment,
// and asked for again after that.
func TestRefusedIsNotAskedForByEverybody(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.publish("test:a", "1.0.0")
		w.refresh()
		w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) { page.Packages[0].Records = nil }
		for range 5 {
			if _, err := w.fetch("test:a"); ClassOf(err) != ClassAbsence {
				t.Errorf("refused: %v", err)
			}
		}
		if n := w.tap.count("logs"); n != 2 {
			t.Errorf("asked %d times; want once for the operator log and once more", n)
		}
		w.tap.logs = nil
		time.Sleep(refusedPause)
		if _, err := w.fetch("test:a"); err != nil {
			t.Errorf("honest again: %v", err)
		}
	})
}

// TestContentThatIsNotThere is asked for once in a while, by however many.
func TestContentThatIsNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.refresh()
		d := warg.Sum([]byte("nothing"))
		for range 5 {
			if _, err := w.replica.Stat(t.Context(), d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound, ID: d.String()}) {
				t.Errorf("missing: %v", err)
			}
		}
		if n := w.tap.count("content"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(absentPause)
		if _, err := w.replica.Open(t.Context(), d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
			t.Errorf("missing: %v", err)
		}
		if n := w.tap.count("content"); n != 2 {
			t.Errorf("asked %d times after the pause", n)
		}
	})
}
