package authority

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// longerRegistry is a registry on disk with some packages, closed.
func longerRegistry(t *testing.T) Options {
	t.Helper()
	o := diskOptions(t.TempDir(), newClock())
	a := open(t, o)
	for _, name := range []string{"one", "two", "three", "four", "five", "six", "seven"} {
		_, req := first("test:"+name, nil)
		publish(t, a, req)
		settled(t, a, req)
	}
	must(t, a.Close())
	return o
}

// logged gathers what is logged.
func logged(o *Options) *strings.Builder {
	b := new(strings.Builder)
	o.Log = slog.New(slog.NewTextHandler(b, nil))
	return b
}

// TestIndexIsMadeForMuch: a start that has much to replay makes the very index that it
// makes record by record, says how far it is, and goes on from there.
func TestIndexIsMadeForMuch(t *testing.T) {
	o := longerRegistry(t)
	must(t, os.RemoveAll(o.Dir+"/index"))
	o.much = 2
	log, c := logged(&o), newClock()
	o.Now = func() time.Time {
		c.Add(tellInterval)
		return c.Now()
	}
	a := open(t, o)
	audit(t, a)
	if !strings.Contains(log.String(), "index catches up") {
		t.Errorf("the log says %q", log)
	}
	_, req := first("test:eight", nil)
	publish(t, a, req)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("afterwards a record is %s", st.State)
	}
	audit(t, a)
}

// TestTellReplay: how far a long replay is, and how long it will take, is said now and then.
func TestTellReplay(t *testing.T) {
	o, c := diskOptions(t.TempDir(), newClock()), newClock()
	log := logged(&o)
	o.Now = c.Now
	a := &Authority{o: o}
	tell := a.tellReplay(1000, 5000)
	for done := uint64(1000); done < 5000; done += 100 {
		tell(done)
		c.Add(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "length=2000 to=5000 left=30s") {
		t.Errorf("the log says %q", lines)
	}
}

// TestRebuildIndex makes an index again and starts on it: nothing is left to be caught up.
func TestRebuildIndex(t *testing.T) {
	o := longerRegistry(t)
	var told []uint64
	total, err := RebuildIndex(t.Context(), o, func(done, of uint64) {
		if of != 8 {
			t.Errorf("%d of %d", done, of)
		}
		told = append(told, done)
	})
	if err != nil || total != 8 {
		t.Fatalf("%d records, %v", total, err)
	}
	if !slices.IsSorted(told) || len(told) == 0 || told[len(told)-1] != 8 {
		t.Errorf("progress was %v", told)
	}
	log := logged(&o)
	audit(t, open(t, o))
	if strings.Contains(log.String(), "index") {
		t.Errorf("the next start says %q", log)
	}
}

// TestRebuildIsInterrupted: what a rebuild left that did not end is no obstacle.
func TestRebuildIsInterrupted(t *testing.T) {
	o := longerRegistry(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := RebuildIndex(ctx, o, func(done, total uint64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	audit(t, open(t, o))
}
