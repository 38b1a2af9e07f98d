package api

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzDomain: a domain that is taken can be a header, a folder and a segment of a path
// without leaving any of them.
func FuzzDomain(f *testing.F) {
	for _, s := range []string{"pkg.example.com", "127.0.0.1-8090", "host:8091", "[::1]-8090", "host_team_a", "..", "a..b", "-a", "a/b", "a\r\nb", "%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		domain, err := ParseDomain(s)
		if err != nil {
			return
		}
		if domain != s || strings.TrimSpace(s) != s || len(s) > MaxDomain {
			t.Errorf("%q was read as %q", s, domain)
		}
		if filepath.Dir(filepath.Join("/data", s)) != "/data" || filepath.Base(filepath.Join("/data", s)) != s {
			t.Errorf("%q leaves its folder", s)
		}
		if u, err := url.Parse("http://h/v1/" + url.PathEscape(s) + "/x"); err != nil || strings.Count(u.Path, "/") != 3 {
			t.Errorf("%q leaves its segment: %v, %v", s, u, err)
		}
		h := http.Header{}
		h.Set(HeaderRegistry, s)
		if strings.ContainsAny(h.Get(HeaderRegistry), "\r\n\x00") {
			t.Errorf("%q leaves its header", s)
		}
	})
}
