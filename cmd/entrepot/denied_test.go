package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestDeniedContent: content of a release that the upstream's own log lists is not "not
// found" here because that upstream says so, on any face, and not after a restart either;
// that of no release is.
func TestDeniedContent(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	released(t, m, wargtest.NewPackage("test:tool"), "1.0.0", "one", true)
	listed, unlisted := warg.Sum(wargtest.Component("one")), warg.Sum([]byte("nobody's"))
	front := newPerson(t)
	front.write(t, "entrepot.toml", fmt.Sprintf(`listen = "127.0.0.1:0"
[authority]
domain = "localhost"
namespaces = ["acme"]
[upstream."up.example"]
url = %q
operator_key = %q
namespaces = ["test"]
allow_private_addresses = true
`, served(t, forgetful{m, listed}, nil), wargtest.Alice().Public().ID()))
	front.ok(t, "init", "--config", "unused.toml", "--namespace", "acme")
	for _, when := range []string{"at first", "after a restart"} {
		home := front.serve(t)
		c := clientOf(t, home.url, "up.example", "up.example")
		if when == "at first" { // later nobody asks for the log, and it is known all the same
			view, err := c.Checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			log := warg.LogCursor{LogID: wargtest.Name("test:tool").LogID()}
			if _, err := c.Logs(t.Context(), warg.LogsRequest{LogLength: view.Checkpoint.LogLength, Packages: []warg.LogCursor{log}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Stat(t.Context(), listed); !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamInvalid}) {
			t.Errorf("%s, sources of listed content: %v", when, err)
		}
		if code, body := get(t, home.url+"/content/up.example/sha256-"+listed.Hex()); code != http.StatusBadGateway || !strings.Contains(body, `"status":502`) {
			t.Errorf("%s, listed content: %d %s", when, code, body)
		}
		if _, err := c.Stat(t.Context(), unlisted); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound, ID: unlisted.String()}) {
			t.Errorf("%s, sources of unlisted content: %v", when, err)
		}
		if code, _ := get(t, home.url+"/content/up.example/sha256-"+unlisted.Hex()); code != http.StatusNotFound {
			t.Errorf("%s, unlisted content: %d", when, code)
		}
		home.end(t)
	}
}
