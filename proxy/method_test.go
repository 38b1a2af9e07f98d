package proxy

import (
	"strings"
	"testing"
)

// methodRow is a known path with a method that it does not take.
type methodRow struct {
	rawRow
	allow string
}

func methodRows() (rows []methodRow) {
	add := func(method, path, allow string) {
		body := ptr("")
		rows = append(rows, methodRow{rawRow{method + " " + path, request(method, path, body), 405, "", true}, allow})
	}
	for _, e := range endpoints() {
		path := fill(e.Template)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} {
			if !strings.Contains(","+e.Methods+",", ","+method+",") {
				add(method, path, strings.ReplaceAll(e.Methods, " ", ""))
			}
		}
	}
	return rows
}

// fill puts values for the parameters of a template that parse and are known
// where that can be.
func fill(template string) string {
	return strings.NewReplacer("{log_id}", knownLog, "{record_id}", knownRecord, "{digest}", noDigest, "{start}", "0",
		"{domain}", upDomain, "{file}", "sha256-"+strings.TrimPrefix(noDigest, "sha256:"), "{capability}", "x").Replace(template)
}

func TestMethods(t *testing.T) {
	st := newSite(t)
	for _, row := range methodRows() {
		t.Run(row.name, func(t *testing.T) {
			if r := row.check(t, st); r.header.Get("Allow") != row.allow {
				t.Errorf("Allow: %q, want %q", r.header.Get("Allow"), row.allow)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	st := newSite(t)
	for _, target := range []string{"/v1/fetch/checkpoint", "/v1/fetch/logs", "/", "/nothing", "/v1/nothing", "*", "/content/x"} {
		r := st.one("OPTIONS", request("OPTIONS", target, nil, "Origin: https://page.example", "Access-Control-Request-Method: POST"))
		if r.status != 200 || r.body != "" {
			t.Errorf("%s: %d %q", target, r.status, r.body)
		}
		want := map[string]string{
			"Access-Control-Allow-Origin":   "*",
			"Access-Control-Allow-Methods":  "GET,POST,PUT",
			"Access-Control-Allow-Headers":  "content-type,accept,authorization,warg-registry",
			"Access-Control-Expose-Headers": corsExposed,
		}
		for name, value := range want {
			if got := r.header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", target, name, got, value)
			}
		}
	}
}

// TestHead: HEAD is GET without the body, on every route that has GET.
func TestHead(t *testing.T) {
	st := newSite(t)
	st.own.put([]byte("content"))
	for _, e := range endpoints() {
		if !strings.Contains(e.Methods, "HEAD") {
			continue
		}
		path := fill(e.Template)
		g, h := st.get(path), st.head(path)
		if h.body != "" || h.status != g.status {
			t.Errorf("%s: HEAD %d with %d bytes, GET %d", path, h.status, len(h.body), g.status)
		}
		for _, name := range []string{"Content-Type", "Content-Length", "Cache-Control", "Etag", "Vary", "Accept-Ranges"} {
			if g.header.Get(name) != h.header.Get(name) {
				t.Errorf("%s: %s is %q for GET, %q for HEAD", path, name, g.header.Get(name), h.header.Get(name))
			}
		}
	}
}
