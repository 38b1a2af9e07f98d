package cache

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// TestPins: what is pinned stays, before and after a restart, and leaves the whole
// room to the rest.
func TestPins(t *testing.T) {
	const size = 100_000
	o := Options{Dir: t.TempDir(), MaxContent: 2*size + size/2}
	c := open(t, o)
	r := registry(t, c, "up.example")
	content := func(name string) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%-10s", name)), size/10) }
	put := func(names ...string) {
		t.Helper()
		for _, name := range names {
			b := content(name)
			if err := r.PutContent(t.Context(), warg.Sum(b), bytes.NewReader(b), size); err != nil {
				t.Fatal(err)
			}
		}
	}
	pin := func(name string) {
		t.Helper()
		if err := r.PinContent(warg.Sum(content(name))); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, held string) {
		t.Helper()
		for name := range map[string]bool{"a": true, "b": true, "c": true, "d": true, "e": true, "f": true} {
			f, err := r.OpenContent(warg.Sum(content(name)))
			switch {
			case err == nil:
				f.Close()
			case !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}):
				t.Fatal(err)
			}
			if want := bytes.Contains([]byte(held), []byte(name)); want != (err == nil) {
				t.Errorf("%s: %s is held: %v", when, name, err == nil)
			}
		}
	}
	put("a", "b")
	pin("a")
	pin("a") // again
	pin("d") // not here yet
	check("pinned", "ab")
	put("c", "d")
	check("with room for two besides", "abcd")
	put("e")
	if used := c.budget.total; used != 2*size {
		t.Errorf("%d bytes are counted, want those of two contents", used)
	}
	closeCache(t, c)

	c = open(t, o)
	r = registry(t, c, "up.example")
	put("f", "b", "c")
	held := 0
	for _, name := range []string{"b", "c", "e", "f"} {
		if _, err := r.StatContent(warg.Sum(content(name))); err == nil {
			held++
		}
	}
	if held != 2 {
		t.Errorf("%d contents besides the pinned are held, want 2", held)
	}
	for _, name := range []string{"a", "d"} {
		stat, err := r.StatContent(warg.Sum(content(name)))
		if err != nil || stat.Size != size {
			t.Errorf("pinned content %s: %+v, %v", name, stat, err)
		}
	}
}
