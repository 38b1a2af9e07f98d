package upstream

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg/api"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, k := range []struct {
		name, value, date string
		want              time.Duration
	}{
		{"seconds", "7", "", 7 * time.Second},
		{"not said", "", "", 0},
		{"none", "0", "", 0},
		{"negative", "-7", "", 0},
		{"a fraction", "1.5", "", 0},
		{"nonsense", "soon", "", 0},
		{"the bound", "300", "", longestAsked},
		{"beyond the bound", "301", "", longestAsked},
		{"a day", "86400", "", longestAsked},
		{"2^64", "18446744073709551616", "", longestAsked},
		{"a date", at(90 * time.Second), "", 90 * time.Second},
		{"a date by a clock that is wrong", at(time.Hour + 90*time.Second), at(time.Hour), 90 * time.Second},
		{"a date far away", at(24 * 365 * time.Hour), "", longestAsked},
		{"a date that has passed", at(-time.Minute), "", 0},
		{"an old form of dates", now.Add(time.Minute).Format(time.ANSIC), "", time.Minute},
	} {
		t.Run(k.name, func(t *testing.T) {
			h := http.Header{"Retry-After": {k.value}}
			if k.date != "" {
				h.Set("Date", k.date)
			}
			if got := retryAfter(h, now); got != k.want {
				t.Errorf("%s; want %s", got, k.want)
			}
		})
	}
}

// TestRetryAfterIsKept: a registry that asks for a pause has it, however many read; and
// not for longer than the bound.
func TestRetryAfterIsKept(t *testing.T) {
	for _, k := range []struct {
		name   string
		status int
		value  func() string
		pause  time.Duration
	}{
		{"seconds", http.StatusServiceUnavailable, func() string { return "100" }, 100 * time.Second},
		{"a date", http.StatusTooManyRequests, func() string { return time.Now().Add(200 * time.Second).UTC().Format(http.TimeFormat) }, 200 * time.Second},
		{"a day", http.StatusServiceUnavailable, func() string { return "86400" }, longestAsked},
		{"a day with an error of its own", http.StatusForbidden, func() string { return "86400" }, longestAsked},
	} {
		t.Run(k.name, func(t *testing.T) {
			onLine(t, func(t *testing.T, w *wired) {
				w.publish("test:a", "1.0.0")
				w.refresh()
				asked := w.served.total
				var said atomic.Pointer[time.Time]
				w.served.setAttack(func(_ api.Op, rw http.ResponseWriter, _ *http.Request) bool {
					now := time.Now()
					said.Store(&now)
					rw.Header().Set("Retry-After", k.value())
					http.Error(rw, "not now", k.status)
					return true
				})
				for before := asked(); asked() == before; {
					w.read(t)
				}
				before := asked()
				w.served.setAttack(nil)
				for asked() == before {
					if w.read(t); time.Since(*said.Load()) > k.pause*11/10+5*time.Second {
						t.Fatalf("not asked for %s", time.Since(*said.Load()))
					}
				}
				if took := time.Since(*said.Load()); took < k.pause {
					t.Errorf("asked again after %s", took)
				}
				if w.read(t); w.replica.Status().Circuit != CircuitClosed {
					t.Errorf("%+v", w.replica.Status())
				}
			})
		})
	}
}

// read demands that there is a view, whatever upstream does, and waits a second.
func (w *wired) read(t *testing.T) {
	t.Helper()
	if _, err := w.replica.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
}
