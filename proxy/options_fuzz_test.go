package proxy

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzBase: a base URL that is taken can have any path of ours joined to it.
func FuzzBase(f *testing.F) {
	for _, s := range []string{"http://h", "https://h/team/", "http://h/a//b", "http://u@h", "http://h?x", "http://h/{x}", "/x", "http://h/%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, base string) {
		clean, path, err := parseBase(base)
		if err != nil {
			return
		}
		u, err := url.Parse(clean + "/v1/x")
		if err != nil || u.Path != path+"/v1/x" || u.User != nil || u.RawQuery != "" || strings.ContainsAny(path, "{}?*:") {
			t.Errorf("%q is %q with path %q; joined %v, %v", base, clean, path, u, err)
		}
	})
}
