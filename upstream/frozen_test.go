package upstream

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// month reads every six hours for thirty days, and refreshes before, and returns since
// when readers are warned and since when they are refused, counted from the signature of
// the first checkpoint, or 0. The time of the checkpoint never goes back.
func (w *world) month(t *testing.T) (warned, refused time.Duration) {
	t.Helper()
	signed := w.replica.view.Load().cp.Timestamp
	begun, last := time.Unix(int64(signed), 0), uint64(0)
	for range 30 * 4 {
		time.Sleep(6 * time.Hour)
		w.refresh()
		v, err := w.replica.Checkpoint(t.Context())
		since := w.replica.o.Now().Sub(begun)
		switch {
		case errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}):
			if refused == 0 {
				refused = since
			}
			continue
		case err != nil:
			t.Fatal(err)
		case refused != 0:
			t.Errorf("answered again after %s", since)
		case w.replica.o.Now().Sub(v.VerifiedAt) > time.Minute:
			t.Errorf("verified at %s", v.VerifiedAt)
		case v.Checkpoint.Timestamp < last:
			t.Errorf("the time of the checkpoint went back from %d to %d", last, v.Checkpoint.Timestamp)
		}
		last = v.Checkpoint.Timestamp
		stale := w.replica.Status().State == StateStale
		if stale != (v.Warning != "") {
			t.Errorf("after %s: stale is %v, the warning %q", since, stale, v.Warning)
		}
		if stale && warned == 0 {
			warned = since
		}
	}
	return warned, refused
}

// TestFrozen: a registry, or somebody on the way, that shows the same checkpoint for
// ever is not taken for one that has no news. Who signs anew has none.
func TestFrozen(t *testing.T) {
	const step = 6 * time.Hour
	within := func(what string, got, limit time.Duration) {
		if got <= limit || got > limit+step {
			t.Errorf("%s after %s; the limit is %s", what, got, limit)
		}
	}
	inBubble(t, func(t *testing.T, w *world) {
		var text bytes.Buffer
		w.options.Log = slog.New(slog.NewTextHandler(&text, nil))
		w.restart()
		w.refresh()
		warned, refused := w.month(t)
		within("warned", warned, frozenAfter)
		if n := strings.Count(text.String(), "signed long ago"); refused != 0 || n != 1 {
			t.Errorf("refused after %s, %d lines", refused, n)
		}
		w.publish("test:a", "1.0.0")
		w.tap.checkpoint = func(v warg.View) warg.View { return w.signedNow(v) }
		w.refresh()
		if v, err := w.replica.Checkpoint(t.Context()); err != nil || v.Warning != "" || w.replica.Status().State != StateOK {
			t.Errorf("there is news: %+v, %v", v, err)
		}
	})
	inBubble(t, func(t *testing.T, w *world) { // the roots are frozen, the signature is not
		w.tap.checkpoint = func(v warg.View) warg.View { return w.signedNow(v) }
		w.refresh()
		if warned, refused := w.month(t); warned != 0 || refused != 0 {
			t.Errorf("warned after %s, refused after %s", warned, refused)
		}
	})
	inBubble(t, func(t *testing.T, w *world) {
		w.options.MaxStale, w.options.RefuseStale = 72*time.Hour, true
		w.restart()
		w.refresh()
		warned, refused := w.month(t)
		within("warned", warned, frozenAfter)
		within("refused", refused, frozenAfter+72*time.Hour)
	})
}

// signedNow signs a checkpoint anew.
func (w *world) signedNow(v warg.View) warg.View {
	return resigned(v, wargtest.Alice(), func(cp *warg.Checkpoint) { cp.Timestamp = uint64(w.replica.o.Now().Unix()) })
}

// TestTimesNeverGoBack: a checkpoint is not believed that was signed before the one
// that is known, whether it is longer, or as long and the cache is gone.
func TestTimesNeverGoBack(t *testing.T) {
	before := func(v warg.View) warg.View {
		return resigned(v, wargtest.Alice(), func(cp *warg.Checkpoint) { cp.Timestamp -= 1000 })
	}
	refused := func(w *world) {
		t.Helper()
		if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassRollback {
			t.Errorf("signed before: %v", err)
		}
	}
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	head := w.replica.trusted.current().view
	w.publish("test:a", "1.1.0")
	w.tap.checkpoint = before
	refused(w)
	if got := w.replica.trusted.current().view; got != head || w.length() != head.LogLength {
		t.Errorf("the head is %+v, was %+v", got, head)
	}
	w.tap.checkpoint = nil
	w.refresh()
	w.reads("test:a", 2)
	w.replica.Close()
	w.options.Store = newMemStore()
	w.open()
	w.tap.checkpoint = before
	refused(w)
	w.tap.checkpoint = nil
	w.refresh()
	w.reads("test:a", 2)
}
