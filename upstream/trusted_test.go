package upstream

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestHeadIsDurableBeforeItIsServed fails, loses, or is killed at each call of the
// file system while a replica grows twice and is signed anew once. What was served
// is never forgotten, whatever the disk kept.
func TestHeadIsDurableBeforeItIsServed(t *testing.T) {
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed} {
		for at := 1; ; at++ {
			if !growWithFault(t, outcome, at) {
				if at < 20 {
					t.Fatalf("only %d calls: the fault does not see them", at)
				}
				break
			}
		}
	}
}

// growWithFault reports whether the fault was reached.
func growWithFault(t *testing.T, outcome durable.Outcome, at int) bool {
	t.Helper()
	w := newWorld(t)
	w.replica.Close()
	disk := durable.NewMemory()
	fault := durable.NewFault(disk)
	w.options.FS, w.options.Dir, w.options.EvidenceDir = fault, "/upstreams/up.example", "/evidence"
	fault.SetPlan(durable.Plan{At: at, Outcome: outcome, Err: syscall.EIO})
	var served warg.Checkpoint
	if r, err := Open(t.Context(), w.options); err == nil {
		w.replica = r
		for i := range 3 {
			if i == 1 {
				w.up.Resign()
			} else {
				w.publish("test:a", []string{"1.0.0", "", "1.2.0"}[i])
			}
			_ = r.Refresh(t.Context()) // may fail; the question is what is served
			if v := r.view.Load(); v != nil {
				served = v.cp
			}
		}
		r.Close()
	}
	reached := fault.Reached()
	w.options.FS = disk.Crash(rand.New(rand.NewPCG(uint64(at), 1)))
	w.open()
	h := w.replica.trusted.current().view
	if h.LogLength < served.LogLength || h.LogLength == served.LogLength && h.Timestamp < served.Timestamp {
		t.Errorf("outcome %d at call %d: %+v was served, %+v is remembered", outcome, at, served, h)
	}
	w.clock.advance(longestBackoff)
	w.refresh()
	if v, _ := w.up.Checkpoint(t.Context()); w.length() != v.Checkpoint.LogLength {
		t.Errorf("outcome %d at call %d: length %d afterwards; upstream has %d", outcome, at, w.length(), v.Checkpoint.LogLength)
	}
	if _, err := w.replica.Logs(t.Context(), warg.LogsRequest{LogLength: w.length()}); err != nil {
		t.Errorf("outcome %d at call %d: logs afterwards: %v", outcome, at, err)
	}
	for _, a := range w.replica.trusted.accepted {
		if _, err := w.replica.Inclusion(t.Context(), a.view.LogLength, []uint64{a.view.LogLength - 1}); err != nil {
			t.Errorf("outcome %d at call %d: inclusion at %d: %v", outcome, at, a.view.LogLength, err)
		}
	}
	return reached
}

// TestStoreFails: a store that fails a write is an error, nothing of it is served,
// and the next refresh succeeds.
func TestStoreFails(t *testing.T) {
	w := newWorld(t)
	w.refresh()
	store := w.store.(*memStore)
	w.publish("test:a", "1.0.0")
	store.Fail(errors.New("disk full"))
	if err := w.replica.Refresh(t.Context()); err == nil || w.length() != 1 {
		t.Errorf("refresh: %v, length %d", err, w.length())
	}
	store.Fail(nil)
	w.refresh()
	store.Fail(errors.New("disk full"))
	if _, err := w.fetch("test:a"); err == nil {
		t.Error("records that could not be stored were served")
	}
	store.Fail(nil)
	w.clock.advance(longestBackoff)
	if _, err := w.fetch("test:a"); err != nil {
		t.Error(err)
	}
}

func TestDamagedMemory(t *testing.T) {
	prepare := func(t *testing.T) (w *world, head, accepted string) {
		w = newWorld(t)
		w.publish("test:a", "1.0.0")
		w.refresh()
		w.publish("test:a", "1.1.0")
		w.refresh()
		w.replica.Close()
		return w, w.options.Dir + "/" + headFile, w.options.Dir + "/" + acceptedFile
	}
	edit := func(t *testing.T, name string, change func(string) string) {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(change(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("every byte of the head", func(t *testing.T) {
		w, head, _ := prepare(t)
		good, err := os.ReadFile(head)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			bad := flip(good, i)
			if err := os.WriteFile(head, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := Open(t.Context(), w.options); err == nil {
				if i < len(good)-1 { // but for the line break at the end
					t.Errorf("byte %d changed: opened with length %d", i, r.trusted.current().view.LogLength)
				}
				r.Close()
			}
		}
	})
	t.Run("head missing", func(t *testing.T) {
		w, head, _ := prepare(t)
		if err := os.Remove(head); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), w.options); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("opened as if nothing had been served: %v", err)
		}
	})
	t.Run("head of another registry", func(t *testing.T) {
		w, _, _ := prepare(t)
		w.options.Domain = "other.example"
		if _, err := Open(t.Context(), w.options); err == nil {
			t.Error("opened")
		}
	})
	t.Run("old head put back", func(t *testing.T) {
		w, head, _ := prepare(t)
		now, err := os.ReadFile(head)
		if err != nil {
			t.Fatal(err)
		}
		w.open()
		w.publish("test:a", "1.2.0")
		w.refresh()
		w.replica.Close()
		if err := os.WriteFile(head, now, 0o600); err != nil {
			t.Fatal(err)
		}
		w.open()
		if w.length() != 4 {
			t.Errorf("length %d: the view went back", w.length())
		}
	})
	t.Run("half a line", func(t *testing.T) {
		w, _, accepted := prepare(t)
		edit(t, accepted, func(s string) string { return s[:len(s)-10] })
		w.open()
		if n := len(w.replica.trusted.accepted); n != 2 || w.length() != 3 {
			t.Errorf("%d accepted lengths, length %d", n, w.length())
		}
		w.restart()
		if n := len(w.replica.trusted.accepted); n != 2 {
			t.Errorf("%d accepted lengths after another start", n)
		}
	})
	t.Run("damaged line", func(t *testing.T) {
		w, _, accepted := prepare(t)
		edit(t, accepted, func(s string) string { return "x" + s[1:] })
		w.open()
		if n := len(w.replica.trusted.accepted); n != 1 || w.length() != 3 {
			t.Errorf("%d accepted lengths, length %d", n, w.length())
		}
	})
	t.Run("accepted missing", func(t *testing.T) {
		w, _, accepted := prepare(t)
		if err := os.Remove(accepted); err != nil {
			t.Fatal(err)
		}
		w.open()
		if n := len(w.replica.trusted.accepted); n != 1 || w.length() != 3 {
			t.Errorf("%d accepted lengths, length %d", n, w.length())
		}
	})
}

// TestCrashBetweenStoreAndHead: the store may be ahead of the head. What is beyond
// the head is not shown, and growth goes on from the store's end.
func TestCrashBetweenStoreAndHead(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.publish("test:a", "1.1.0")
	w.publish("test:b", "1.0.0")
	packed, err := w.up.Ledger(t.Context(), 2, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Extend(t.Context(), unpack(packed), nil); err != nil {
		t.Fatal(err)
	}
	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down"})
	w.restart()
	if w.length() != 2 {
		t.Fatalf("length %d", w.length())
	}
	if got, err := w.replica.Ledger(t.Context(), 0, 100); err != nil || len(got) != 2*warg.LedgerEntrySize {
		t.Errorf("ledger of %d bytes, %v", len(got), err)
	}
	if _, err := w.fetch("test:b"); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		t.Errorf("a log beyond the head: %v", err)
	}
	if _, err := w.replica.Inclusion(t.Context(), 2, []uint64{2}); !errors.Is(err, &warg.Error{Kind: warg.KindLeafNotFound}) {
		t.Errorf("a leaf beyond the head: %v", err)
	}
	if _, err := w.replica.Consistency(t.Context(), 1, 4); !errors.Is(err, &warg.Error{Kind: warg.KindLengthNotFound}) {
		t.Errorf("a length beyond the head: %v", err)
	}
	st, err := w.replica.Record(t.Context(), wargtest.Name("test:a").LogID(), warg.RecordID{})
	if !errors.Is(err, &warg.Error{Kind: warg.KindRecordNotFound}) {
		t.Errorf("record: %+v %v", st, err)
	}
	w.tap.setDown(nil)
	w.clock.advance(longestBackoff)
	w.refresh()
	if _, err := w.fetch("test:b"); err != nil || w.length() != 4 {
		t.Errorf("afterwards: length %d, %v", w.length(), err)
	}
	if n := w.tap.count("ledger"); n != 1 {
		t.Errorf("the ledger was fetched %d times; what the store had was enough", n)
	}
}
