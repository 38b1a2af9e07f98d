package upstream

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestStats: what a replica counts on its way from nothing to a quarantine.
func TestStats(t *testing.T) {
	w := newWorld(t)
	content := w.publish("test:a", "1.0.0")
	digest := warg.Sum(content)
	check := func(when string, got, want uint64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", when, got, want)
		}
	}
	if _, err := w.replica.Checkpoint(t.Context()); err != nil { // cold
		t.Fatal(err)
	}
	s := w.replica.Stats()
	check("checkpoint requests", s.Requests[RequestCheckpoint][OutcomeOK], 1)
	check("ledger requests", s.Requests[RequestLedger][OutcomeOK], 1)
	check("requests for the operator log", s.Requests[RequestLogs][OutcomeOK], 1)
	check("cold checkpoint", s.Misses[HoldingCheckpoint], 1)
	check("verified checkpoints", s.Verified[HoldingCheckpoint].Count, 1)
	check("keys on first use", s.FirstKeys, 0)

	for range 3 {
		if _, err := w.replica.Names(t.Context(), []warg.LogID{wargtest.Name("test:a").LogID()}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.fetch("test:a"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.replica.Stat(t.Context(), digest); err != nil {
			t.Fatal(err)
		}
		f, err := w.replica.Open(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := w.replica.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s = w.replica.Stats()
	check("records fetched first", s.Misses[HoldingRecords], 1)
	check("records held", s.Hits[HoldingRecords], 2)
	check("names fetched first", s.Misses[HoldingName], 1)
	check("names held", s.Hits[HoldingName], 2)
	check("content fetched first", s.Misses[HoldingContent], 1)
	check("content held", s.Hits[HoldingContent], 5)
	check("fresh checkpoints", s.Hits[HoldingCheckpoint], 3)
	check("verified records", s.VerifiedRecords, 1)
	check("verified pages", s.Verified[HoldingRecords].Count, 1)
	check("stale answers", s.Stale, 0)
	check("content requests", s.Requests[RequestContent][OutcomeOK], 1)

	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable})
	w.clock.advance(2 * DefaultMaxAge)
	if _, err := w.replica.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.fetch("test:a"); err != nil {
		t.Fatal(err)
	}
	s = w.replica.Stats()
	check("requests to nobody", s.Requests[RequestCheckpoint][OutcomeUnreachable], 1)
	check("stale answers", s.Stale, 2)
	check("old checkpoints", s.Misses[HoldingCheckpoint], 2)

	w.tap.setDown(nil)
	w.tap.checkpoint = func(v warg.View) warg.View { // another key of theirs signs another history
		c := v.Checkpoint
		c.LogRoot = warg.Sum([]byte("another"))
		v.Signed = c.Sign(wargtest.Alice())
		return v
	}
	w.clock.advance(2 * longestBackoff)
	if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassEquivocation {
		t.Fatal(err)
	}
	s = w.replica.Stats()
	check("equivocations", s.Refused[ClassEquivocation], 1)
	check("quarantines", s.Quarantines, 1)
	check("other refusals", sum(s.Refused), 1)
	if len(s.Refused) != len(Classes()) || len(s.Requests) != int(requestKinds) || len(s.Requests[RequestUpload]) != int(outcomes) {
		t.Error("what never happened is not there")
	}
}

func sum(counts map[Class]uint64) (n uint64) {
	for c := range maps.Values(counts) {
		n += c
	}
	return n
}

// TestJoinedReaders: all but one of the readers who want the same at the same time
// are counted as joined.
func TestJoinedReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.replica.Close()
		content := w.publish("test:a", "1.0.0")
		open := make(chan struct{})
		w.tap.before = func(ctx context.Context, _ string) error { <-open; return nil }
		together := func(want func() error) {
			t.Helper()
			var readers sync.WaitGroup
			for range 5 {
				readers.Go(func() {
					if err := want(); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			close(open)
			readers.Wait()
			open = make(chan struct{})
		}
		together(func() error { _, err := w.replica.Checkpoint(t.Context()); return err })
		together(func() error {
			_, err := w.replica.Names(t.Context(), []warg.LogID{wargtest.Name("test:a").LogID()})
			return err
		})
		together(func() error { _, err := w.fetch("test:a"); return err })
		together(func() error { _, err := w.replica.Stat(t.Context(), warg.Sum(content)); return err })
		check := func(when string, checkpoints uint64) {
			t.Helper()
			s := w.replica.Stats()
			for h := range holdings {
				n := uint64(1)
				if h == HoldingCheckpoint {
					n = checkpoints
				}
				if s.Joined[h] != 4*n || s.Misses[h] != 5*n {
					t.Errorf("%s, %s: %d of %d joined, %d missed", when, h, s.Joined[h], 5*n, s.Misses[h])
				}
			}
		}
		check("for the first time", 1)
		w.clock.advance(2 * DefaultMaxAge)
		together(func() error { _, err := w.replica.Checkpoint(t.Context()); return err })
		check("when it is too old", 2)
	})
}

func TestOutcomes(t *testing.T) {
	for err, want := range map[error]Outcome{
		nil:                                     OutcomeOK,
		context.DeadlineExceeded:                OutcomeUnreachable,
		&warg.Error{Kind: warg.KindUnavailable}: OutcomeUnreachable,
		&warg.Error{Kind: warg.KindUpstreamTimeout}: OutcomeTimeout,
		&warg.Error{Kind: warg.KindLogNotFound}:     OutcomeDenied,
		&warg.Error{Kind: warg.KindUnauthorized}:    OutcomeDenied,
		refuse(ClassContent, "other bytes"):         OutcomeRefused,
	} {
		if got := outcomeOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	var d durations
	for _, took := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, time.Second, time.Hour} {
		d.observe(took)
	}
	s := d.snapshot()
	if s.Count != 5 || s.Sum != time.Hour+time.Second+201*time.Microsecond {
		t.Errorf("%d in %v", s.Count, s.Sum)
	}
	var got []uint64
	for _, bound := range slices.Sorted(maps.Keys(s.Buckets)) {
		got = append(got, s.Buckets[bound])
	}
	if want := []uint64{2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestStopwatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w stopwatch
		w.pause()() // stands still: nothing to pause
		time.Sleep(time.Second)
		w.start()
		time.Sleep(time.Second)
		resume := w.pause()
		time.Sleep(time.Minute)
		resume()
		time.Sleep(time.Second)
		if got := w.take(); got != 2*time.Second {
			t.Errorf("measured %v", got)
		}
		if got := w.take(); got != 0 {
			t.Errorf("and then %v", got)
		}
	})
}
