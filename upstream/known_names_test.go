package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestKnownLogsHaveNames: readers who say which registry they mean never ask for a
// name. When upstream has gone away since, those who do not say it are sent there by
// the name all the same.
func TestKnownLogsHaveNames(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.publish("test:a", "1.0.0")
		w.publish("test:b", "1.0.0")
		w.refresh()
		w.reads("test:a", 1)
		synctest.Wait()
		if n := w.tap.count("names"); n != 1 {
			t.Errorf("names were asked for %d times", n)
		}
		w.tap.setDown(errors.New("gone"))
		time.Sleep(time.Hour)
		if name, err := w.replica.NameOf(t.Context(), wargtest.Name("test:a").LogID()); err != nil || name.String() != "test:a" {
			t.Errorf("a log that is known has the name %v, %v", name, err)
		}
		if name, err := w.replica.NameOf(t.Context(), wargtest.Name("test:b").LogID()); err == nil {
			t.Errorf("a log that nobody asked for has the name %v", name)
		}
	})
}

// TestNoNameForKnownLog: records are there whether or not their log's name can be had,
// and the name is asked for again.
func TestNoNameForKnownLog(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.publish("test:a", "1.0.0")
		w.refresh()
		w.tap.before = func(_ context.Context, call string) error {
			if call == "names" {
				return errors.New("no names today")
			}
			return nil
		}
		w.reads("test:a", 1)
		synctest.Wait()
		w.tap.before = nil
		time.Sleep(longestBackoff)
		if name, err := w.replica.NameOf(t.Context(), wargtest.Name("test:a").LogID()); err != nil || name.String() != "test:a" {
			t.Errorf("asked again: %v, %v", name, err)
		}
	})
}
