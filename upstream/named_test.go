package upstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// denyContent has upstream deny all content.
func denyContent(w *world) {
	w.tap.before = func(_ context.Context, call string) error {
		if call == "content" {
			return warg.NotFound(warg.KindContentNotFound, warg.Digest{})
		}
		return nil
	}
}

// TestDeniedContent: upstream does not get away with "not found" for what its own log
// releases. What nobody releases is not found.
func TestDeniedContent(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		first := warg.Sum(w.publish("test:a", "1.0.0"))
		w.publish("test:b", "1.0.0")
		w.refresh()
		w.reads("test:a", 1)
		denyContent(w)
		is := func(when string, digest warg.Digest, named bool) {
			t.Helper()
			_, err := w.replica.Open(t.Context(), digest)
			e, ok := asWarg(err)
			switch {
			case !ok || !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}):
				t.Errorf("%s: %v does not say that it is not there", when, err)
			case named && (e.Kind != warg.KindUpstreamInvalid || ClassOf(err) != ClassAbsence):
				t.Errorf("%s: %v", when, err)
			case !named && (e.Kind != warg.KindContentNotFound || ClassOf(err) != ClassNone):
				t.Errorf("%s: %v", when, err)
			}
		}
		second := warg.Sum(wargtest.Component("test:a 1.1.0"))
		is("released", first, true)
		is("not released", warg.Sum([]byte("nobody's")), false)
		is("not released yet", second, false)
		w.publish("test:a", "1.1.0")
		w.refresh()
		is("released meanwhile", second, true)
		if n := w.replica.Stats().Refused[ClassAbsence]; n != 2 {
			t.Errorf("%d refusals", n)
		}

		w.restart()
		is("after a restart", first, true)
		is("after a restart", second, true)
		is("after a restart", warg.Sum([]byte("nobody's")), false)

		w.replica.damaged.Store(true)
		w.refresh() // fetches everything again
		time.Sleep(absentPause)
		is("of a log that is not held any more", first, false)
		w.reads("test:a", 2)
		synctest.Wait()
		is("of a log that is held again", first, true)

		w.tap.before = nil
		time.Sleep(absentPause)
		if _, err := w.replica.Stat(t.Context(), first); err != nil {
			t.Errorf("when it is there: %v", err)
		}
	})
}

// TestNamedIsBounded: what is kept of releases to judge denials by does not grow
// without end, and nothing is kept before there is a denial.
func TestNamedIsBounded(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	records, err := w.fetch("test:a")
	if err != nil {
		t.Fatal(err)
	}
	n := &named{most: 100}
	if got := n.add(records); len(got) != 0 || n.keys != nil {
		t.Errorf("%d noted before anybody asked", len(n.keys))
	}
	n.begin()
	for i := range uint64(n.most) {
		n.keys[i] = struct{}{}
	}
	if n.add(records); len(n.keys) != n.most {
		t.Errorf("%d noted", len(n.keys))
	}
}

// impatient is a reader who leaves after so many looks at whether he should.
type impatient struct {
	context.Context
	looks int
}

func (i *impatient) Err() error {
	if i.looks--; i.looks < 0 {
		return context.Canceled
	}
	return nil
}

// TestNamesAreMadeBitByBit: of a replica so large that no reader waits for all of it, each
// goes on where the one before him left.
func TestNamesAreMadeBitByBit(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var names []string
		for i := range 12 {
			name := fmt.Sprintf("test:p%c", 'a'+i)
			w.publish(name, "1.0.0")
			names = append(names, name)
		}
		w.refresh()
		for _, name := range names {
			w.reads(name, 1)
		}
		w.restart()
		last := warg.Sum(wargtest.Component(names[len(names)-1] + " 1.0.0"))
		for tries := 1; ; tries++ {
			is, err := w.replica.isNamed(&impatient{t.Context(), 3}, last)
			switch {
			case err != nil && tries < len(names):
				continue
			case err != nil || !is || tries == 1:
				t.Errorf("after %d readers: %t, %v", tries, is, err)
			}
			return
		}
	})
}
