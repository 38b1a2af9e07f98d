package upstream

import (
	"errors"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestLogsOfOlderLengths: a log that began after the length that is asked for is not
// there yet, held or not, and neither is one that nobody began.
func TestLogsOfOlderLengths(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	before := w.length()
	w.publish("test:b", "1.0.0")
	w.publish("test:a", "2.0.0")
	w.refresh()
	ask := func(name string, length uint64, token string) (int, error) {
		page, err := w.replica.Logs(t.Context(), warg.LogsRequest{
			LogLength: length, Packages: []warg.LogCursor{{LogID: wargtest.Name(name).LogID(), Token: token}},
		})
		if err != nil {
			return 0, err
		}
		return len(page.Packages[0].Records), nil
	}
	for _, held := range []bool{false, true} {
		for name, row := range map[string]struct {
			length uint64
			token  string
			want   int // -1: not found
		}{
			"test:a": {before, "", 1}, "test:b": {before, "", -1}, "test:c": {w.length(), "", -1},
		} {
			got, err := ask(name, row.length, row.token)
			missing := errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound})
			if missing != (row.want < 0) || !missing && (got != row.want || err != nil) {
				t.Errorf("held %v: %s at %d: %d, %v", held, name, row.length, got, err)
			}
		}
		for _, name := range []string{"test:a", "test:b"} { // from now on they are held whole
			if _, err := w.fetch(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := ask("test:b", before, "some token"); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		t.Errorf("with a token: %v", err)
	}
}

// absentMinded is a store that loses records while it is read.
type absentMinded struct{ *memStore }

func (absentMinded) Records(warg.LogID, uint64, int) ([]warg.Record, error) { return nil, nil }

// TestForgottenRecordsAreNotAbsent: what was held when it was looked for, and is gone
// when it is read, is no reason to deny a log.
func TestForgottenRecordsAreNotAbsent(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	if _, err := w.fetch("test:a"); err != nil {
		t.Fatal(err)
	}
	w.replica.o.Store = absentMinded{w.store.(*memStore)}
	if _, err := w.fetch("test:a"); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("got %v", err)
	}
}
