package upstream

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// TestWithheldContent: a new release whose content cannot be had takes nothing away: its
// record is served, and all that is held is served as before. What is told about the
// content says why it cannot be had.
func TestWithheldContent(t *testing.T) {
	other := func([]byte) []byte { return []byte("garbage") }
	for _, k := range []struct {
		name   string
		err    error
		change func([]byte) []byte
		kind   warg.Kind
		class  Class
	}{
		{"denied", warg.NotFound(warg.KindContentNotFound, warg.Digest{}), nil, warg.KindUpstreamInvalid, ClassAbsence},
		{"other bytes", nil, other, warg.KindUpstreamInvalid, ClassContent},
		{"timed out", &warg.Error{Kind: warg.KindUpstreamTimeout, Message: "too slow"}, nil, warg.KindUpstreamTimeout, ClassNone},
		{"unreachable", &warg.Error{Kind: warg.KindUnavailable, Message: "down", RetryAfter: 1}, nil, warg.KindUnavailable, ClassNone},
		{"not for us", warg.Errorf(warg.KindUnauthorized, "who are you"), nil, warg.KindUnavailable, ClassNone},
		{"broken", errors.New("no protocol"), nil, warg.KindUnavailable, ClassNone},
	} {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t)
			old := w.publish("test:a", "1.0.0")
			w.refresh()
			if _, err := w.fetch("test:a"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.replica.Stat(t.Context(), warg.Sum(old)); err != nil {
				t.Fatal(err)
			}
			fresh := w.publish("test:a", "1.1.0")
			w.refresh()
			w.tap.content = k.change
			w.tap.before = func(_ context.Context, call string) error {
				if call == "content" {
					return k.err
				}
				return nil
			}
			for range 2 { // the second is told what was found out before
				_, err := w.replica.Open(t.Context(), warg.Sum(fresh))
				if e, ok := asWarg(err); !ok || e.Kind != k.kind || ClassOf(err) != k.class || k.kind == warg.KindUnavailable && e.RetryAfter == 0 {
					t.Errorf("the new release: %v", err)
				}
			}
			if records, err := w.fetch("test:a"); err != nil || len(records) != 2 {
				t.Errorf("%d records, %v", len(records), err)
			}
			f, err := w.replica.Open(t.Context(), warg.Sum(old))
			if err != nil {
				t.Fatalf("the old release: %v", err)
			}
			if got, err := io.ReadAll(f); err != nil || warg.Sum(got) != warg.Sum(old) {
				t.Errorf("the old release: %d bytes, %v", len(got), err)
			}
			f.Close()
			w.tap.content, w.tap.before = nil, nil
			w.clock.advance(time.Hour)
			if _, err := w.replica.Stat(t.Context(), warg.Sum(fresh)); err != nil {
				t.Errorf("when it can be had: %v", err)
			}
		})
	}
}
