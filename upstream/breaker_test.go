package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// TestBreaker: closed, open, half-open for one, and then what that one found.
func TestBreaker(t *testing.T) {
	down := &warg.Error{Kind: warg.KindUnavailable, Message: "down"}
	now := time.Unix(1_700_000_000, 0)
	b := &breaker{budget: new(retryBudget)}
	in := func(when string, want Circuit, passes bool) {
		t.Helper()
		if got := b.state(now); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
		err := b.pass(now)
		if passes != (err == nil) {
			t.Errorf("%s: a request is told %v", when, err)
		}
		if e, ok := asWarg(err); err != nil && (!ok || e.RetryAfter < 1 || e.RetryAfter > int(longestBackoff/time.Second)) {
			t.Errorf("%s: %v", when, err)
		}
	}
	in("at first", CircuitClosed, true)
	b.report(down, now)
	in("after a failure", CircuitOpen, false)
	for range 100 { // they were under way
		b.report(down, now)
	}
	now = now.Add(firstBackoff)
	in("after the first pause", CircuitHalfOpen, true)
	in("while one finds out", CircuitHalfOpen, false)
	b.report(down, now)
	in("it found nothing", CircuitOpen, false)
	now = now.Add(2 * firstBackoff)
	in("after a pause twice as long", CircuitHalfOpen, true)
	now = now.Add(probeWait)
	in("nobody was heard of", CircuitHalfOpen, true)
	b.report(nil, now)
	in("it answered", CircuitClosed, true)
	in("and so it stays", CircuitClosed, true)
	if b.openings() != 1 {
		t.Errorf("opened %d times", b.openings())
	}
	if tokens, spent := b.budget.state(); spent != 2 || tokens != retryReserve-2 {
		t.Errorf("%v tokens, %d spent", tokens, spent)
	}
}

// TestPausesAreDrawn: the pauses of many who were refused at the same time are spread
// over all of what they may be, so that they do not come back together.
func TestPausesAreDrawn(t *testing.T) {
	const many, parts = 4000, 10
	now := time.Unix(1_700_000_000, 0)
	for failures := range doublings + 1 {
		least, most := time.Duration(0), firstBackoff<<failures
		if failures == doublings {
			least, most = longestBackoff*3/4, longestBackoff
		}
		var drawn [parts]int
		for range many {
			b := &breaker{failures: failures, probing: failures > 0}
			b.report(errors.New("down"), now)
			pause := b.until.Sub(now)
			if pause <= least || pause > most {
				t.Fatalf("after %d failures: a pause of %s", failures, pause)
			}
			drawn[(pause-least-1)*parts/(most-least)]++
		}
		for i, n := range drawn {
			if n < many/parts/2 || n > many/parts*2 {
				t.Errorf("after %d failures: %d of %d pauses in part %d of %d", failures, n, many, i, parts)
			}
		}
	}
}

// mostExtra is a tenth of the other requests beyond the reserve, and what that earns.
func mostExtra(others float64) float64 { return retryReserve*1.1 + others/10 + 1e-6 }

// TestRetryBudget: whatever comes in whatever order, extra requests are at most the
// reserve and a tenth of the others.
func TestRetryBudget(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		b := new(retryBudget)
		requests, extra := 0, 0
		odds := 1 + rnd.IntN(20)
		for range 2000 {
			if rnd.IntN(odds) == 0 && b.take() {
				extra++ // and it is a request as well
			} else {
				requests++
			}
			b.earn()
			if float64(extra) > mostExtra(float64(requests)) {
				t.Fatalf("seed %d: %d extra requests beside %d", seed, extra, requests)
			}
		}
	}
}

// tenMinutes reads every second for ten minutes, from several readers at a time, and
// returns how often upstream was asked.
func tenMinutes(t *testing.T, w *world, readers int) int {
	t.Helper()
	before := w.tap.total()
	for range 10 * 60 {
		var group sync.WaitGroup
		for range readers {
			group.Go(func() { _, _ = w.replica.Checkpoint(t.Context()) })
		}
		group.Wait()
		time.Sleep(time.Second)
	}
	return w.tap.total() - before
}

// TestNoRetryStorm: an upstream that answers everything with 503 for ten minutes is
// asked at most a tenth more often than one that answers, however many read.
func TestNoRetryStorm(t *testing.T) {
	for _, readers := range []int{1, 20} {
		t.Run(fmt.Sprint(readers), func(t *testing.T) {
			healthy, failing := 0, 0
			var stats Stats
			inBubble(t, func(t *testing.T, w *world) {
				w.refresh()
				healthy = tenMinutes(t, w, readers)
			})
			inBubble(t, func(t *testing.T, w *world) {
				w.refresh()
				time.Sleep(w.replica.o.MaxAge)
				w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, RetryAfter: 1, Message: "503"})
				failing = tenMinutes(t, w, readers)
				stats = w.replica.Stats()
			})
			if healthy < 10 || failing*10 > healthy*11 {
				t.Errorf("asked %d times in ten minutes of 503, %d times when it answers", failing, healthy)
			}
			if stats.Circuit == CircuitClosed || stats.Opened != 1 || stats.Retries == 0 || float64(stats.Retries) > retryReserve {
				t.Errorf("%s, opened %d times, %d retries", stats.Circuit, stats.Opened, stats.Retries)
			}
			t.Logf("%d requests in ten minutes of 503, %d when it answers", failing, healthy)
		})
	}
}

// TestFlappingUpstreamHasABudget: one that answers every other time for a day does not
// get more than the reserve and a tenth of extra requests: by its own count, and by what
// one gets that always answers.
func TestFlappingUpstreamHasABudget(t *testing.T) {
	aDay := func(t *testing.T, w *world) int {
		before := w.tap.total()
		for range 24 * 60 * 6 {
			_, _ = w.replica.Checkpoint(t.Context())
			time.Sleep(10 * time.Second)
		}
		return w.tap.total() - before
	}
	healthy := 0
	inBubble(t, func(t *testing.T, w *world) {
		w.refresh()
		healthy = aDay(t, w)
	})
	inBubble(t, func(t *testing.T, w *world) {
		w.refresh()
		calls := 0
		w.tap.before = func(context.Context, string) error {
			if calls++; calls%2 == 0 {
				return &warg.Error{Kind: warg.KindUnavailable, Message: "503"}
			}
			return nil
		}
		flapping := aDay(t, w)
		s := w.replica.Stats()
		others := float64(w.tap.total()) - float64(s.Retries)
		if s.Retries == 0 || float64(s.Retries) > mostExtra(others) {
			t.Errorf("%d extra requests beside %.0f", s.Retries, others)
		}
		if extra := float64(flapping - healthy); extra > mostExtra(float64(healthy)) {
			t.Errorf("asked %d times in a day, %d times when it answers", flapping, healthy)
		}
		t.Logf("%d requests in a day, %d when it always answers", flapping, healthy)
	})
}

// TestOneRequestFindsOut: of many readers who want different things when the pause is
// over, one asks.
func TestOneRequestFindsOut(t *testing.T) {
	w := newWorld(t)
	w.refresh()
	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "503"})
	digest := func(i int) warg.Digest { return warg.Sum([]byte(fmt.Sprint(i))) }
	if _, err := w.replica.Stat(t.Context(), digest(0)); err == nil {
		t.Fatal("content from nowhere")
	}
	if s := w.replica.Status(); s.Circuit != CircuitOpen {
		t.Fatalf("%+v", s)
	}
	w.clock.advance(longestBackoff)
	before := w.tap.count("content")
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			_, err := w.replica.Stat(t.Context(), digest(i))
			if !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
				t.Errorf("reader %d is told %v", i, err)
			}
		})
	}
	group.Wait()
	if n := w.tap.count("content") - before; n != 1 {
		t.Errorf("asked %d times", n)
	}
}
