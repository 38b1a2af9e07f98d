package main

import (
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// FuzzWanted: what is typed after `download` is refused, or means what it says: a bare
// version is that version and no other.
func FuzzWanted(f *testing.F) {
	for _, s := range []string{"acme:tool", "acme:tool@1.0.0", "acme:tool@^1", "acme:tool@", "acme:tool@1.0.0@2", "@1", "A:b@1.0.0", "acme:tool@>=1, <2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := parseWanted(s)
		if err != nil {
			return
		}
		r, rerr := parseRelease(s)
		if v, err := warg.ParseVersion(w.text); err == nil && (rerr != nil || r.version != v || !w.want.Matches(v)) {
			t.Errorf("%q wants %s, and is release %+v, %v", s, w.want, r, rerr)
		}
		typed := w.name.String()
		if w.text != "" {
			typed += "@" + w.text
		}
		if typed != s && typed+"@" != s {
			t.Errorf("%q was read as %q", s, typed)
		}
	})
}
