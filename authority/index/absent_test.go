package index

import (
	"sync"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// TestAbsentUntilCommitted: readers ask all the time for what is not there yet, so
// that its absence is remembered; what a commit adds is found after it all the same.
func TestAbsentUntilCommitted(t *testing.T) {
	x := inMemory(t)
	const length, step = 40, 4
	stop := make(chan struct{})
	var group sync.WaitGroup
	for first := range uint64(3) {
		group.Go(func() {
			for i := first; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				e := entry(t, i%length)
				if _, _, err := x.Record(e.Leaf.RecordID); err != nil {
					t.Errorf("record %d: %v", e.Index, err)
				}
				if _, _, err := x.Log(e.Leaf.LogID, length); err != nil {
					t.Errorf("log of record %d: %v", e.Index, err)
				}
				if _, _, err := x.Released(content(i % length)); err != nil {
					t.Errorf("content %d: %v", i%length, err)
				}
			}
		})
	}
	for from := uint64(0); from < length; from += step {
		commit(t, x, from, from+step)
		check(t, x, from+step)
		must(t, x.Reject(entry(t, from).Leaf.LogID, record(1000+from), "no"))
		if r, ok, err := x.Record(record(1000 + from)); !ok || err != nil || r.State != warg.StateRejected {
			t.Errorf("rejected record is %+v, %v, %v", r, ok, err)
		}
	}
	close(stop)
	group.Wait()
}

func TestAbsentKeys(t *testing.T) {
	key := shortKey{'R', 1}
	cases := map[string]struct {
		do   func(a *absentKeys, seen uint64)
		want bool
	}{
		"nothing was written":         {func(a *absentKeys, seen uint64) { a.keep(key, seen) }, true},
		"it was written":              {func(a *absentKeys, seen uint64) { a.keep(key, seen); a.begin(); a.forget(key[:]); a.end() }, false},
		"another key was written":     {func(a *absentKeys, seen uint64) { a.keep(key, seen); a.begin(); a.forget([]byte{'R'}); a.end() }, true},
		"a write began meanwhile":     {func(a *absentKeys, seen uint64) { a.begin(); a.keep(key, seen) }, false},
		"a write began and ended":     {func(a *absentKeys, seen uint64) { a.begin(); a.end(); a.keep(key, seen) }, false},
		"a write was on its way":      {func(a *absentKeys, _ uint64) { a.begin(); _, seen := a.look(key); a.end(); a.keep(key, seen) }, false},
		"many others were asked for":  {func(a *absentKeys, seen uint64) { a.keep(key, seen); others(a, maxAbsent/2) }, true},
		"too many others, too":        {func(a *absentKeys, seen uint64) { a.keep(key, seen); others(a, 2*maxAbsent) }, false},
		"everything was begun afresh": {func(a *absentKeys, seen uint64) { a.keep(key, seen); a.clear() }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var a absentKeys
			_, seen := a.look(key)
			c.do(&a, seen)
			if got, _ := a.look(key); got != c.want {
				t.Errorf("known to be absent: %v, want %v", got, c.want)
			}
			if n := len(a.now) + len(a.before); n > maxAbsent {
				t.Errorf("%d keys are remembered", n)
			}
		})
	}
}

func others(a *absentKeys, n uint64) {
	for i := range n {
		_, seen := a.look(shortKey{})
		a.keep(shortKey(contentKey(content(i))), seen)
	}
}
