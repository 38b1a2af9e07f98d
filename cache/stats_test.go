package cache

import (
	"bytes"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func TestStats(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, MaxContent: 250_000}
	c := open(t, o)
	r := registry(t, c, "up.example")
	content := func(i int) ([]byte, warg.Digest) {
		b := bytes.Repeat([]byte{byte(i)}, 100_000)
		return b, warg.Sum(b)
	}
	put := func(i int) {
		t.Helper()
		b, d := content(i)
		if err := r.PutContent(t.Context(), d, bytes.NewReader(b), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want Stats) {
		t.Helper()
		if want.MaxBytes = o.MaxContent; c.Stats() != want {
			t.Errorf("%s: %+v, want %+v", when, c.Stats(), want)
		}
	}
	check("empty", Stats{})
	put(0)
	put(1)
	check("two", Stats{Contents: 2, Bytes: 200_000})
	_, first := content(0)
	if err := r.PinContent(first); err != nil {
		t.Fatal(err)
	}
	_, later := content(9)
	if err := r.PinContent(later); err != nil { // not here yet
		t.Fatal(err)
	}
	check("one is pinned", Stats{Contents: 1, Bytes: 100_000, Pinned: 1, PinnedBytes: 100_000})
	put(9)
	put(9)
	put(2)
	put(3)
	check("one was evicted", Stats{Contents: 2, Bytes: 200_000, Pinned: 2, PinnedBytes: 200_000, Evictions: 1, EvictedBytes: 100_000})
	c.drop(first)
	check("a pinned one is lost", Stats{Contents: 2, Bytes: 200_000, Pinned: 1, PinnedBytes: 100_000, Evictions: 1, EvictedBytes: 100_000})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, o)
	check("after a restart", Stats{Contents: 2, Bytes: 200_000, Pinned: 1, PinnedBytes: 100_000})
}
