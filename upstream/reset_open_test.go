package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// quarantinedWorld is a replica that saw a fork, whose registry now shows the other
// history.
func quarantinedWorld(t *testing.T, set func(w *world)) (w *world, old uint64) {
	t.Helper()
	w = newWorld(t)
	if set != nil {
		w.replica.Close()
		set(w)
		w.open()
	}
	w.publish("test:a", "1.0.0")
	w.publish("test:b", "1.0.0")
	w.refresh()
	old = w.length()
	forked(2, 3)(w)
	w.clock.advance(time.Hour)
	if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassEquivocation {
		t.Fatalf("the fork: %v", err)
	}
	return w, old
}

// TestResetWhileOpen: a quarantined replica that is open begins anew, with nothing of
// the old history, and so does whoever opens it later.
func TestResetWhileOpen(t *testing.T) {
	w, old := quarantinedWorld(t, nil)
	got, err := w.replica.Reset(t.Context(), "a restored backup")
	if err != nil || got.Length != old || got.Quarantine == nil || got.Reason != "a restored backup" {
		t.Fatalf("%+v, %v", got, err)
	}
	if s := w.replica.Status(); s.State != StateCold || s.Quarantine != nil || s.LastError != "" || w.store.Trees().LogLength != 0 {
		t.Errorf("the new one begins with %+v", s)
	}
	w.refresh()
	if w.length() <= old {
		t.Errorf("length %d of the new history", w.length())
	}
	if records, err := w.fetch("test:evil"); err != nil || len(records) == 0 {
		t.Errorf("a package of the new history: %v %v", records, err)
	}
	length := w.length()
	w.restart()
	if s := w.replica.Status(); s.State == StateQuarantined || w.length() != length {
		t.Errorf("after a restart: %+v", s)
	}
}

// TestResetWhileReadersAsk: what readers are told during a reset is of one history or
// the other, or that nothing can be served now; never "not found", never a mixture.
// Nobody waits for ever, and the reset does not wait for what is being fetched.
func TestResetWhileReadersAsk(t *testing.T) {
	w, _ := quarantinedWorld(t, nil)
	hangs := make(chan struct{})
	var first sync.Once
	w.tap.before = func(ctx context.Context, _ string) (err error) {
		first.Do(func() {
			close(hangs)
			<-ctx.Done()
			err = ctx.Err()
		})
		return err
	}
	if _, err := w.replica.Reset(t.Context(), "first"); err != nil { // so that it may ask
		t.Fatal(err)
	}
	w.clock.advance(time.Hour)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, err := w.replica.Checkpoint(t.Context())
				if err == nil {
					_, err = w.replica.Logs(t.Context(), warg.LogsRequest{
						LogLength: v.Checkpoint.LogLength,
						Packages:  []warg.LogCursor{{LogID: wargtest.Name("test:evil").LogID()}},
					})
				}
				kind := warg.KindInternal
				if e, ok := asWarg(err); ok {
					kind = e.Kind
				}
				// The view of a reader may be of before the reset, and its length then unknown.
				if err != nil && kind != warg.KindUnavailable && kind != warg.KindUpstreamTimeout && kind != warg.KindLengthNotFound {
					t.Errorf("a reader is told %v", err)
					return
				}
			}
		})
	}
	<-hangs
	for range 3 {
		w.clock.advance(time.Hour)
		if _, err := w.replica.Reset(t.Context(), "while it hangs"); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	w.clock.advance(time.Hour)
	w.refresh()
	if _, err := w.fetch("test:evil"); err != nil {
		t.Error(err)
	}
}

// TestResetWithFaults lets every call to the disk fail, in every way, or the process
// end there, during a reset of an open replica. What is believed afterwards, by it and
// by the next start, is what was believed before, quarantine included, or nothing; and
// never less without the old state and the reason being kept beside.
func TestResetWithFaults(t *testing.T) {
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed} {
		for at := 1; ; at++ {
			if !resetWithFault(t, outcome, at) {
				if at < 10 {
					t.Fatalf("only %d calls: the fault does not see them", at)
				}
				break
			}
		}
	}
}

func resetWithFault(t *testing.T, outcome durable.Outcome, at int) (reached bool) {
	t.Helper()
	disk := durable.NewMemory()
	fault := durable.NewFault(disk)
	w, old := quarantinedWorld(t, func(w *world) {
		w.options.FS, w.options.Dir, w.options.EvidenceDir = fault, "/upstreams/up.example", "/evidence"
	})
	fault.SetPlan(durable.Plan{At: at, Outcome: outcome, Err: syscall.EIO})
	done, err := w.replica.Reset(t.Context(), "why")
	reached = fault.Reached()
	s := w.replica.Status()
	fresh := s.State == StateCold && s.Quarantine == nil
	switch {
	case !reached && (err != nil || !fresh):
		t.Fatalf("without a fault: %+v, %v", s, err)
	case err == nil && !fresh, s.State == StateStale, s.State == StateOK:
		t.Errorf("outcome %d at call %d: %v, and then %+v", outcome, at, err, s)
	case !fresh && !errors.Is(w.replica.Refresh(t.Context()), &warg.Error{Kind: warg.KindUnavailable}):
		t.Errorf("outcome %d at call %d: a replica that is not sure of its state asks", outcome, at)
	}
	w.replica.Close()

	w.options.FS = disk.Crash(rand.New(rand.NewPCG(uint64(at), 2)))
	w.open()
	h := w.replica.trusted.current()
	switch {
	case h.Format != 0 && (h.view.LogLength != old || h.Quarantine == nil):
		t.Errorf("outcome %d at call %d: half of the old state is believed: %+v", outcome, at, h)
	case h.Format != 0 && err == nil:
		t.Errorf("outcome %d at call %d: the reset is undone", outcome, at)
	case h.Format == 0:
		aside := w.options.Dir + resetSuffix + w.clock.now().UTC().Format(resetTime)
		if done.Directory != "" && done.Directory != aside {
			t.Fatalf("set aside as %s", done.Directory)
		}
		kept, err := openTrusted(w.options.FS, aside, "up.example", w.replica.o.Log)
		if err != nil || kept.current().view.LogLength != old || kept.current().Quarantine == nil {
			t.Errorf("outcome %d at call %d: the old state is not beside: %v", outcome, at, err)
		}
		if has, err := durable.Exists(w.options.FS, aside+"/"+resetFile); err != nil || !has {
			t.Errorf("outcome %d at call %d: the reason is not beside: %v", outcome, at, err)
		}
		w.refresh()
	}
	return reached
}
