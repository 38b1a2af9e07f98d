package wargtest

import (
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// world is what TestRegistry publishes before it looks.
type world struct {
	packages []*shelf // in the order of their first records
	contents [][]byte // released by published records
	pending  *Package // accepted, never published: its content was never uploaded
	wanted   []byte   // that content
	waiting  warg.Envelope
	views    []warg.View // after every publish, ascending
}

// shelf is a package with what was published of it.
type shelf struct {
	*Package
	records []published
}

// published is a record with its place in the registry log.
type published struct {
	env   warg.Envelope
	index uint64
}

// longLog is the number of records of the package that is read page by page.
const longLog = 7

// build publishes four packages, their records interleaved, and leaves the record of
// a fifth waiting.
func (s *scene) build(t testing.TB) {
	t.Helper()
	bob := Bob()
	w := &world{pending: NewPackage("test:pending"), wanted: Component("never uploaded")}
	s.world = w
	one, two := Component("one"), Component("two")
	w.contents = [][]byte{one, two}
	alpha, beta, gamma, long := w.shelf("test:alpha"), w.shelf("test:beta-two"), w.shelf("test:gamma"), w.shelf("test:long")

	s.put(t, alpha, alpha.Next(bob, Init(bob), Release("0.1.0", one)), one)
	s.put(t, beta, beta.Next(bob, Init(bob)))
	s.put(t, alpha, alpha.Next(bob, Release("0.2.0", two)), two)
	w.waiting = w.pending.Next(bob, Init(bob), Release("1.0.0", w.wanted))
	if st := s.publish(t, w.pending, w.waiting); st.State != warg.StateSourcing {
		t.Fatalf("a record whose content nobody has is %s", st.State)
	}
	s.put(t, gamma, gamma.Next(bob, Init(bob), Release("1.0.0-rc.1+build.5", one)), one)
	s.put(t, alpha, alpha.Next(bob, Yank("0.1.0")))
	s.put(t, long, long.Next(bob, Init(bob)))
	for i := 1; i < longLog; i++ {
		s.put(t, long, long.Next(bob, Release(fmt.Sprintf("0.0.%d", i), one)), one)
	}
}

func (w *world) shelf(name string) *shelf {
	p := &shelf{Package: NewPackage(name)}
	w.packages = append(w.packages, p)
	return p
}

// put publishes a record and keeps the checkpoint that covers it.
func (s *scene) put(t testing.TB, p *shelf, env warg.Envelope, contents ...[]byte) {
	t.Helper()
	index := s.release(t, p.Package, env, contents...)
	s.sync(t)
	p.records = append(p.records, published{env, index})
	v := s.view(t)
	if v.Checkpoint.LogLength <= index {
		t.Fatalf("a record is published at index %d, but the checkpoint has length %d", index, v.Checkpoint.LogLength)
	}
	if n := len(s.world.views); n > 0 && v.Checkpoint.LogLength <= s.world.views[n-1].Checkpoint.LogLength {
		t.Fatalf("the checkpoint went from length %d to %d", s.world.views[n-1].Checkpoint.LogLength, v.Checkpoint.LogLength)
	}
	s.world.views = append(s.world.views, v)
}

// latest returns the newest checkpoint of the world.
func (w *world) latest() warg.Checkpoint { return w.views[len(w.views)-1].Checkpoint }

// visible returns the records of p below a length.
func (p *shelf) visible(length uint64) []published {
	n := 0
	for n < len(p.records) && p.records[n].index < length {
		n++
	}
	return p.records[:n]
}

// strangerLog returns the id of a log that no registry has heard of.
func strangerLog() warg.LogID { return Name("test:nobody-has-this").LogID() }
