package scrub

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

// reads is a source that remembers what was read.
type reads struct {
	names []string
	bytes int
	done  []string
	fail  string // the item that cannot be read
	bad   string // the item that is damaged
}

func (r *reads) source(name string) Source {
	return Source{Name: name, Items: func() ([]string, error) { return r.names, nil }, Check: func(_ context.Context, item string, pace Pace) (int, error) {
		if item == r.fail {
			r.fail = ""
			return 0, errors.New("not now")
		}
		if _, err := io.Copy(io.Discard, pace.Reader(strings.NewReader(strings.Repeat("x", r.bytes)))); err != nil {
			return 0, err
		}
		r.done = append(r.done, item)
		if item == r.bad {
			return 1, nil
		}
		return 0, nil
	}}
}

func scrubber(fsys durable.FS, busy func() bool, sources ...Source) *Scrubber {
	return New(Options{
		Sources: sources, FS: fsys, State: "/scrub", Rate: 1 << 20, Busy: busy, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
}

func TestOnceADayAtARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &reads{names: []string{"1", "2"}, bytes: 1 << 20}, &reads{names: []string{"1"}, bytes: 1 << 20, bad: "1"}
		s := scrubber(durable.NewMemory(), nil, a.source("a"), b.source("b"))
		began := time.Now()
		go s.Run(t.Context())
		time.Sleep(3*time.Second - time.Millisecond)
		synctest.Wait()
		if len(a.done) != 2 || len(b.done) != 0 {
			t.Errorf("before three seconds: %v and %v", a.done, b.done)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		stats := s.Stats()
		if len(b.done) != 1 || stats.Bytes != 3<<20 || stats.Items != 3 || stats.Damages["a"] != 0 || stats.Damages["b"] != 1 {
			t.Errorf("after three seconds: %v, %+v", b.done, stats)
		}
		if d := stats.Ended.Sub(began); d < 3*time.Second-20*time.Millisecond || d > 3*time.Second {
			t.Errorf("it took %v", d)
		}
		time.Sleep(DefaultEvery - time.Minute)
		synctest.Wait()
		if len(a.done) != 2 {
			t.Errorf("again within a day: %v", a.done)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(a.done) != 4 {
			t.Errorf("not again after a day: %v", a.done)
		}
	})
}

// TestGoesOnAfterARestart: what a process had read is not read again by the next one.
func TestGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := durable.NewMemory()
		a := &reads{names: []string{"1", "2", "3", "4"}, bytes: 70 << 20} // 70 s each
		ctx, stop := context.WithCancel(t.Context())
		go scrubber(m, nil, a.source("a")).Run(ctx)
		time.Sleep(150 * time.Second)
		stop()
		synctest.Wait()
		if !slices.Equal(a.done, []string{"1", "2"}) {
			t.Fatalf("read: %v", a.done)
		}
		go scrubber(m, nil, a.source("a")).Run(t.Context())
		time.Sleep(150 * time.Second)
		synctest.Wait()
		if !slices.Equal(a.done, []string{"1", "2", "3", "4"}) {
			t.Errorf("read: %v", a.done)
		}
		s := scrubber(m, nil, a.source("a")) // after the pass: nothing to do for a day
		if s.Stats().Ended.IsZero() {
			t.Error("the end of the pass is forgotten")
		}
		go s.Run(t.Context())
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(a.done) != 4 {
			t.Errorf("read: %v", a.done)
		}
	})
}

func TestWaitsForOtherWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &reads{names: []string{"1"}, bytes: 1}
		busy := true
		go scrubber(durable.NewMemory(), func() bool { return busy }, a.source("a")).Run(t.Context())
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if len(a.done) != 0 {
			t.Error("it does not wait")
		}
		busy = false
		time.Sleep(time.Second)
		synctest.Wait()
		if len(a.done) != 1 {
			t.Error("it waits for nothing")
		}
		b := &reads{names: []string{"1"}, bytes: 1}
		go scrubber(durable.NewMemory(), func() bool { return true }, b.source("b")).Run(t.Context())
		time.Sleep((yieldMost + 1) * yieldStep)
		synctest.Wait()
		if len(b.done) != 1 {
			t.Error("it never gets on under load")
		}
	})
}

func TestErrorIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &reads{names: []string{"1", "2", "3"}, bytes: 1, fail: "2"}
		go scrubber(durable.NewMemory(), nil, a.source("a")).Run(t.Context())
		time.Sleep(retryWait + time.Second)
		synctest.Wait()
		if !slices.Equal(a.done, []string{"1", "2", "3"}) {
			t.Errorf("read: %v", a.done)
		}
	})
}

func TestUnreadableProgressBeginsAnew(t *testing.T) {
	m := durable.NewMemory()
	if err := durable.Replace(m, "/scrub", []byte("{broken"), nil); err != nil {
		t.Fatal(err)
	}
	if s := scrubber(m, nil); !s.Stats().Ended.IsZero() {
		t.Error("something was believed")
	}
}
