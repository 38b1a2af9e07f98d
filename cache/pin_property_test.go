package cache

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// pinModel is what must hold of a cache, kept by hand: who has what pinned, and what
// was put after it was, or is known to be here.
type pinModel struct {
	t       *testing.T
	o       Options
	c       *Cache
	domains []string
	pins    map[string]map[int]bool // "domain why" -> contents
	put     map[string]map[int]bool // domain -> contents that must be here as long as they are pinned
}

const pinContents = 12

// pinContent is content that is in the database if n is even, and else in a file.
func pinContent(n int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%-10d", n)), 2_000+n%2*6_000)
}

func (m *pinModel) registry(domain string) *Registry { return registry(m.t, m.c, domain) }

func (m *pinModel) isPinned(n int) bool {
	for _, pinned := range m.pins {
		if pinned[n] {
			return true
		}
	}
	return false
}

// step does one thing at random.
func (m *pinModel) step(rnd *rand.Rand) (did string) {
	domain, n := m.domains[rnd.IntN(len(m.domains))], rnd.IntN(pinContents)
	r, b := m.registry(domain), pinContent(n)
	var err error
	switch did = fmt.Sprint(domain, " ", n); rnd.IntN(10) {
	case 0:
		did, err = "import "+did, r.PinContent(warg.Sum(b))
		m.pins[domain+" import"][n] = true
	case 1, 2:
		did, err = "plan "+did, r.Planned().Pin(warg.Sum(b))
		m.pins[domain+" plan"][n] = true
	case 3:
		did = "release " + did
		err = r.Planned().Release(func(d warg.Digest) bool { return d == warg.Sum(b) })
		for other := range m.pins[domain+" plan"] {
			if other != n {
				delete(m.pins[domain+" plan"], other)
			}
		}
	case 4:
		did = "restart"
		closeCache(m.t, m.c)
		m.c = open(m.t, m.o)
	default:
		did, err = "put "+did, r.PutContent(m.t.Context(), warg.Sum(b), bytes.NewReader(b), 1<<20)
		m.put[domain][n] = true
	}
	if err != nil {
		m.t.Fatalf("%s: %v", did, err)
	}
	return did
}

// check demands that what is pinned and was put is here, with its bytes, and that the
// rest fits. What is not pinned may be gone, and is then forgotten.
func (m *pinModel) check(did string) {
	m.t.Helper()
	var pinned, others int64
	for n := range pinContents {
		b := pinContent(n)
		here := false
		for _, domain := range m.domains {
			f, err := m.registry(domain).OpenContent(warg.Sum(b))
			switch {
			case err == nil:
				here = true
				f.Close()
			case !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}):
				m.t.Fatalf("%s: content %d: %v", did, n, err)
			case m.put[domain][n] && m.isPinned(n):
				m.t.Fatalf("%s: pinned content %d is gone", did, n)
			default:
				delete(m.put[domain], n)
			}
		}
		switch {
		case here && m.isPinned(n):
			pinned += int64(len(b))
		case here:
			others += int64(len(b))
		}
	}
	s := m.c.Stats()
	if s.PinnedBytes != pinned || s.Bytes != others {
		m.t.Fatalf("%s: %d bytes pinned and %d others are counted, %d and %d are here", did, s.PinnedBytes, s.Bytes, pinned, others)
	}
	if s.Bytes > m.o.MaxContent && s.Contents > 1 {
		m.t.Fatalf("%s: %d bytes are kept, at most %d may be", did, s.Bytes, m.o.MaxContent)
	}
}

// TestPinsAtRandom: whatever is put, pinned, released and restarted in whatever order
// at the byte budget, nothing that is pinned is ever evicted, and nothing else is kept
// beyond the budget. PIN_SEEDS makes it longer.
func TestPinsAtRandom(t *testing.T) {
	seeds := uint64(6)
	if text := os.Getenv("PIN_SEEDS"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		seeds = n
	}
	const steps = 60
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &pinModel{t: t, o: Options{Dir: t.TempDir(), MaxContent: 150_000}, domains: []string{"a.example", "b.example"}}
			m.c = open(t, m.o)
			m.pins, m.put = map[string]map[int]bool{}, map[string]map[int]bool{}
			for _, domain := range m.domains {
				m.put[domain] = map[int]bool{}
				m.pins[domain+" import"], m.pins[domain+" plan"] = map[int]bool{}, map[int]bool{}
			}
			rnd := rand.New(rand.NewPCG(seed, 0))
			for range steps {
				m.check(m.step(rnd))
			}
		})
	}
}

// TestReleasePlans: the plans of registries that are not answered for any more pin
// nothing; what was imported for them stays.
func TestReleasePlans(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir()})
	stays, goes := registry(t, c, "stays.example"), registry(t, c, "goes.example")
	for n, pin := range []func(warg.Digest) error{stays.Planned().Pin, goes.Planned().Pin, goes.PinContent} {
		if err := pin(warg.Sum(pinContent(n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ReleasePlans([]string{"stays.example"}); err != nil {
		t.Fatal(err)
	}
	for n, want := range []bool{true, false, true} {
		if got := c.budget.isPinned(warg.Sum(pinContent(n))); got != want {
			t.Errorf("content %d is pinned: %v", n, got)
		}
	}
}
