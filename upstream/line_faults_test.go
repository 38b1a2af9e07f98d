package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// lineFault is how a line is spoiled while upstream is honest.
type lineFault struct {
	name  string
	fault fault
	weak  bool // news come through nevertheless
}

func lineFaults() []lineFault {
	return []lineFault{
		{"nobody listens", fault{refuse: true}, false},
		{"reset at once", fault{reset: 1}, false},
		{"reset in the head", fault{reset: 40}, false},
		{"reset in the body", fault{reset: 300}, false},
		{"latency of half a second", fault{latency: 500 * time.Millisecond}, true},
		{"latency of three seconds", fault{latency: 3 * time.Second}, true},
		{"latency beyond all patience", fault{latency: 2 * headTimeout}, false},
		{"black hole", fault{blackhole: true}, false},
		{"half open", fault{halfOpen: true}, false},
		{"narrow", fault{rate: 4 << 10}, true},
		{"a trickle", fault{rate: 10}, false},
	}
}

// lineReader reads what is held over and over, and says what may not be: that it is not
// there, that it takes longer than readers wait, or that a view is another than one of
// those that upstream had.
type lineReader struct {
	*wired
	longest time.Duration
}

// settledReader returns a reader of a registry with one release, all of which is held.
func settledReader(t *testing.T, w *wired) *lineReader {
	t.Helper()
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.reads("test:a", 1)
	if err := w.content("test:a", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	return &lineReader{wired: w}
}

func (l *lineReader) read(t *testing.T) (length uint64) {
	t.Helper()
	held := func(what string, limit time.Duration, read func() error) {
		var err error
		took := timed(func() { err = read() })
		l.longest = max(l.longest, took)
		if err != nil || took > limit {
			t.Fatalf("%s, after %s: %v", what, took, err)
		}
	}
	held("checkpoint", joinWait, func() error {
		v, err := l.replica.Checkpoint(t.Context())
		length = v.Checkpoint.LogLength
		stale := err == nil && l.replica.age() > l.replica.o.MaxAge
		if stale != (v.Warning != "") {
			return fmt.Errorf("stale is %v, the warning %q: %w", stale, v.Warning, errors.New("they differ"))
		}
		return err
	})
	log := wargtest.Name("test:a").LogID()
	held("records", 0, func() error {
		page, err := l.replica.Logs(t.Context(), warg.LogsRequest{LogLength: length, Packages: []warg.LogCursor{{LogID: log}}})
		if err == nil && len(page.Packages[0].Records) != int(length)-1 {
			return fmt.Errorf("%d records at length %d", len(page.Packages[0].Records), length)
		}
		return err
	})
	held("content", 0, func() error { return l.content("test:a", "1.0.0") })
	return length
}

// missing asks for content that is not held; it may fail, but not with "not found", and
// within limits.
func (l *lineReader) missing(t *testing.T, version string) {
	t.Helper()
	const limit = 2*headTimeout + 2*progressWindow
	var err error
	took := timed(func() { err = l.content("test:a", version) })
	e, ok := asWarg(err)
	if took > limit || err != nil && (!ok || e.Kind != warg.KindUnavailable && e.Kind != warg.KindUpstreamTimeout) {
		t.Errorf("content that is not held, after %s: %v", took, err)
	}
}

// TestSpoiledLines: whatever the network does between us and an honest registry, the
// last good view is served, within the time that readers wait, and what is new is there
// by itself when the network is well again, or at once where it is only slow.
func TestSpoiledLines(t *testing.T) {
	for _, k := range lineFaults() {
		t.Run(k.name, func(t *testing.T) {
			onLine(t, func(t *testing.T, w *wired) {
				l := settledReader(t, w)
				old := l.read(t)
				w.publish("test:a", "1.1.0")
				w.line.spoil("up.example", k.fault)
				length := old
				for begun := time.Now(); time.Since(begun) < 10*time.Minute; time.Sleep(time.Second) {
					if length = l.read(t); length != old && !k.weak || length > old+1 {
						t.Fatalf("length %d is served, it was %d", length, old)
					}
				}
				if k.weak && (length == old || w.content("test:a", "1.1.0") != nil) {
					t.Errorf("the news have not come in ten minutes: length %d", length)
				}
				l.missing(t, "1.1.0")
				asked := w.served.total()

				w.line.spoil("up.example", fault{})
				healed := time.Now()
				for length = l.read(t); length == old; length = l.read(t) {
					if time.Since(healed) > longestBackoff+probeWait+w.replica.o.MaxAge {
						t.Fatalf("%s after the line is well: length %d, %+v", time.Since(healed), length, w.replica.Status())
					}
					time.Sleep(time.Second)
				}
				if s := w.replica.Status(); s.State != StateOK || s.Circuit != CircuitClosed || s.Quarantine != nil {
					t.Errorf("%+v", s)
				}
				if err := w.content("test:a", "1.1.0"); err != nil {
					t.Errorf("new content: %v", err)
				}
				t.Logf("%d requests in ten minutes, a reader waited %s, news after %s", asked, l.longest, time.Since(healed))
			})
		})
	}
}

// TestFlappingLine: a line that changes from one fault to another and back for a day
// takes nothing from readers, and all that is published arrives.
func TestFlappingLine(t *testing.T) {
	onLine(t, func(t *testing.T, w *wired) {
		l := settledReader(t, w)
		last, published := l.read(t), 1
		for round := range 3 {
			for i, k := range lineFaults() {
				w.publish("test:a", fmt.Sprintf("2.%d.%d", round, i))
				published++
				w.line.spoil("up.example", k.fault)
				for range 30 {
					length := l.read(t)
					if length < last || length > uint64(published)+1 {
						t.Fatalf("%s: length %d after %d", k.name, length, last)
					}
					last = length
					time.Sleep(10 * time.Second)
				}
				w.line.spoil("up.example", fault{})
				for range 12 {
					last = l.read(t)
					time.Sleep(15 * time.Second)
				}
				if last != uint64(published)+1 {
					t.Errorf("three minutes after %q: length %d of %d", k.name, last, published+1)
				}
			}
		}
	})
}

// TestHalfOpenWhileIdle: a connection that was kept open and whose other end is gone
// without a word is noticed by the time that an answer may take, and not used for ever.
func TestHalfOpenWhileIdle(t *testing.T) {
	onLine(t, func(t *testing.T, w *wired) {
		w.publish("test:a", "1.0.0")
		w.refresh()
		w.line.spoil("up.example", fault{blackhole: true})
		w.publish("test:a", "1.1.0")
		var err error
		took := timed(func() { err = w.replica.Refresh(t.Context()) })
		if !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout}) || took < headTimeout || took > headTimeout+dialTimeout {
			t.Errorf("after %s: %v", took, err)
		}
		w.line.spoil("up.example", fault{})
		dials := w.line.dialed("up.example")
		if w.refresh(); w.line.dialed("up.example") == dials {
			t.Error("the connection that gave no answer was used again")
		}
	})
}

// TestRefusedByTheRegistry: an answer of the registry that is an error, of whatever
// status, is never ours: the last good view is served, and the news when it answers again.
func TestRefusedByTheRegistry(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 405, 407, 408, 409, 410, 418, 421, 425, 426, 429, 431, 451, 500, 501, 502, 503, 504, 505, 507, 511, 599} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			onLine(t, func(t *testing.T, w *wired) {
				l := settledReader(t, w)
				old := l.read(t)
				w.publish("test:a", "1.1.0")
				w.served.setAttack(func(_ api.Op, rw http.ResponseWriter, _ *http.Request) bool {
					http.Error(rw, "no", status)
					return true
				})
				for range 120 {
					if length := l.read(t); length != old {
						t.Fatalf("length %d", length)
					}
					time.Sleep(time.Second)
				}
				if s := w.replica.Status(); s.State != StateStale || s.LastError == "" {
					t.Errorf("%+v", s)
				}
				w.served.setAttack(nil)
				time.Sleep(longestBackoff)
				if length := l.read(t); length == old {
					t.Error("not back after the longest pause")
				}
			})
		})
	}
}
