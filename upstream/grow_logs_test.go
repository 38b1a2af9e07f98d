package upstream

import (
	"context"
	"errors"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// held makes a world whose replica has all records of test:a and none of test:b.
func holding(t *testing.T) *world {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.publish("test:b", "1.0.0")
	w.refresh()
	w.reads("test:a", 1)
	return w
}

// reads demands that a package has so many records at the served length.
func (w *world) reads(name string, want int) {
	w.t.Helper()
	records, err := w.fetch(name)
	if err != nil || len(records) != want {
		w.t.Errorf("%s at length %d: %d records, %v; want %d", name, w.length(), len(records), err, want)
	}
}

// TestGoneBeforeRecords: an upstream that goes away after it has shown a new
// checkpoint takes nothing from readers.
func TestGoneBeforeRecords(t *testing.T) {
	w := holding(t)
	w.publish("test:a", "1.1.0")
	gone := errors.New("gone")
	w.tap.before = func(_ context.Context, call string) error {
		if call == "logs" && w.tap.count("ledger") > 1 {
			return gone
		}
		return nil
	}
	for range 5 {
		w.clock.advance(longestBackoff)
		if err := w.replica.Refresh(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
			t.Fatalf("refresh: %v", err)
		}
		w.clock.advance(heldBackAtMost) // however long it takes: nothing was refused
	}
	w.tap.setDown(gone)
	w.clock.advance(longestBackoff)
	w.reads("test:a", 1)
	w.restart()
	w.reads("test:a", 1)
	w.tap.setDown(nil)
	w.tap.before = nil
	w.clock.advance(longestBackoff)
	w.refresh()
	if n := w.tap.count("ledger"); n != 2 {
		t.Errorf("the ledger was asked for %d times; what was there of it is not fetched again", n)
	}
	w.tap.setDown(gone)
	w.reads("test:a", 2)
}

// TestOnlyKnownLogsAreFetched: what nobody asked for is not fetched along.
func TestOnlyKnownLogsAreFetched(t *testing.T) {
	w := holding(t)
	w.publish("test:b", "1.1.0")
	w.publish("test:c", "1.0.0")
	var asked []warg.LogID
	w.tap.logs = func(req warg.LogsRequest, _ *warg.LogsPage) {
		for _, c := range req.Packages {
			asked = append(asked, c.LogID)
		}
	}
	w.refresh()
	if len(asked) != 0 {
		t.Errorf("fetched %v", asked)
	}
	w.publish("test:a", "1.1.0")
	w.publish("test:b", "1.2.0")
	w.refresh()
	if len(asked) != 1 || asked[0] != w.pkgs["test:a"].LogID() {
		t.Errorf("fetched %v; want test:a alone", asked)
	}
	w.reads("test:a", 2)
	w.reads("test:b", 3)
}

// TestFalseRecordsHoldBack: as long as the records of a known log are refused, what
// was true before is served, but other packages do not wait for ever.
func TestFalseRecordsHoldBack(t *testing.T) {
	w := holding(t)
	before := w.length()
	w.publish("test:a", "1.1.0")
	w.publish("test:c", "1.0.0")
	w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
		for i := range page.Packages {
			if page.Packages[i].LogID == w.pkgs["test:a"].LogID() {
				page.Packages[i].Records = nil
			}
		}
	}
	for end := w.clock.now().Add(heldBackAtMost - longestBackoff); w.clock.now().Before(end); w.clock.advance(longestBackoff) {
		if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassAbsence {
			t.Fatalf("refresh: %v", err)
		}
		if w.length() != before {
			t.Fatalf("length %d is served; want %d still", w.length(), before)
		}
		w.reads("test:a", 1)
	}
	w.clock.advance(2 * longestBackoff)
	w.refresh()
	w.reads("test:c", 1)
	w.clock.advance(longestBackoff)
	if _, err := w.fetch("test:a"); ClassOf(err) != ClassAbsence {
		t.Errorf("the log that is not true: %v", err)
	}
	w.tap.logs = nil
	w.clock.advance(longestBackoff)
	w.reads("test:a", 2)
}

// TestHeldBackAnew: the time for which refused records hold back begins with the
// refusal, and once more after a checkpoint was served.
func TestHeldBackAnew(t *testing.T) {
	w := holding(t)
	for _, version := range []string{"1.1.0", "1.2.0"} {
		w.clock.advance(2 * heldBackAtMost)
		w.publish("test:a", version)
		w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
			for i := range page.Packages {
				page.Packages[i].Records = nil
			}
		}
		if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassAbsence {
			t.Fatalf("refresh after %s: %v", version, err)
		}
		w.tap.logs = nil
		w.clock.advance(firstBackoff) // shorter than what was refused is remembered for readers
		w.refresh()
	}
	w.reads("test:a", 3)
}
