package proxy

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// described is one answer that the route table promises, or one that was seen.
type described struct {
	row    string
	status int
	what   string // media type, or kind of error
}

func (d described) String() string { return fmt.Sprintf("%s: %d %s", d.row, d.status, d.what) }

// promises returns every answer that the table describes.
func promises() map[described]bool {
	all := map[described]bool{}
	for _, e := range endpoints() {
		for _, a := range e.answers {
			all[described{e.Name, a.status, a.media}] = true
		}
		for _, f := range e.faults {
			all[described{e.Name, api.Status(f.kind), fmt.Sprintf("kind %d", f.kind)}] = true
		}
		for _, n := range e.empty {
			all[described{e.Name, n.status, ""}] = true
		}
	}
	return all
}

// observe says what the table should have said about an answer.
func observe(e endpoint, r reply) described {
	d := described{e.Name, r.status, r.header.Get("Content-Type")}
	if r.status >= 400 && d.what == api.ContentTypeJSON {
		kind := api.ParseError(e.Family, r.status, []byte(r.body)).Kind
		d.what = fmt.Sprintf("kind %d", kind)
	}
	return d
}

// TestEveryDescribedAnswer provokes every answer of the table, and finds no other:
// neither a description without an answer nor an answer without a description.
func TestEveryDescribedAnswer(t *testing.T) {
	st := newSite(t, limited)
	d := st.own.put([]byte("content"))
	st.up.c.put([]byte("content"))
	seen := map[described]bool{}
	for _, e := range endpoints() {
		see := func(r reply) { seen[observe(e, r)] = true }
		method := e.methods()[0]
		path := strings.NewReplacer(noDigest, d.String(), "sha256-"+strings.TrimPrefix(noDigest, "sha256:"), "sha256-"+d.Hex()).Replace(fill(e.Template))
		body := jsonPaths()[path]
		if e.Op == api.OpUpload || e.Op == api.OpUploadCapability {
			body = "content"
		}
		ask := func(headers ...string) reply {
			if method == "GET" {
				return st.one(method, get(path, headers...))
			}
			if e.takesJSON() {
				headers = append(headers, "Content-Type: application/json")
			}
			return st.one(method, request(method, path, &body, headers...))
		}
		see(ask())
		forced := []*canned{st.own}
		if e.Op == api.OpUpstreamContent || e.Op == api.OpUpstreamLedgerRecords {
			forced = []*canned{st.up.c}
		}
		if e.Op == api.OpUploadCapability {
			forced = []*canned{st.uploads().c}
		}
		if e.Op != api.OpNone && e.Op != api.OpWellKnown {
			for _, kind := range kindsOf(e) {
				for _, r := range forced {
					r.failWith(&warg.Error{Kind: kind, ID: noDigest, Number: 7, Message: "forced", Root: d, Found: d})
					see(ask())
					r.failWith(nil)
				}
			}
		}
		provoke(st, e, method, path, body, see)
	}
	want := promises()
	for _, d := range sortedKeys(want) {
		if !seen[d] {
			t.Errorf("described, but never seen: %s", d)
		}
	}
	for _, d := range sortedKeys(seen) {
		if !want[d] {
			t.Errorf("seen, but not described: %s", d)
		}
	}
	t.Logf("%d answers of %d routes", len(want), len(endpoints()))
}

// kindsOf returns the kinds that a registry may make a row answer with.
func kindsOf(e endpoint) []warg.Kind {
	var kinds []warg.Kind
	for _, f := range e.faults {
		switch f.kind {
		case warg.KindUnsupportedMedia, warg.KindUnprocessable, warg.KindTooLarge:
			continue // the proxy's own
		case warg.KindNotFound:
			if e.Op != api.OpUploadCapability {
				continue
			}
		}
		kinds = append(kinds, f.kind)
	}
	if len(e.empty) > 0 {
		kinds = append(kinds, warg.KindContentNotFound)
	}
	return kinds
}

// provoke makes the answers that come from the request and not from a registry.
func provoke(st *site, e endpoint, method, path, body string, see func(reply)) {
	if e.takesJSON() {
		see(st.post(path, "x"))
		see(st.post(path, "[]"))
		see(st.one(method, request(method, path, &body)))
		large := st.exchange(method, post(path, strings.Repeat(" ", 2<<20+1)), false)
		see(large[0])
	}
	if e.Op == api.OpUpload || e.Op == api.OpUploadCapability {
		large := st.exchange(method, "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\nx", false)
		see(large[0])
	}
	if e.Header {
		if method == "GET" {
			see(st.get(path, "Warg-Registry: nobody.example"))
			see(st.get(path, "Warg-Registry: a b"))
		} else {
			see(st.post(path, body, "Warg-Registry: nobody.example"))
			see(st.post(path, body, "Warg-Registry: a b"))
		}
	}
	switch e.Op {
	case api.OpUpstreamLedgerRecords:
		see(st.get("/v1/ledger/nobody.example/records/0"))
		see(st.get("/v1/ledger/up.example/records/x"))
	case api.OpContent, api.OpUpstreamContent:
		see(st.get(path, "Range: bytes=0-0"))
		see(st.get(path, "Range: bytes=9999-"))
		see(st.get(path, "If-None-Match: *"))
		see(st.get(path, `If-Match: "x"`))
	case api.OpNone:
		if e.Name == "healthz" {
			asked := 0
			st.s.alive = func() error { // the sentinel asks as well
				if asked++; asked > 1 {
					return nil
				}
				return fmt.Errorf("the sequencer does not come round")
			}
			see(st.get(path))
			st.s.alive = nil
		}
		if e.Name == "readyz" {
			st.s.readiness = func(context.Context) error { return fmt.Errorf("still replaying") }
			see(st.get(path))
			st.s.readiness = nil
		}
	}
}

func sortedKeys(m map[described]bool) []described {
	return slices.SortedFunc(maps.Keys(m), func(a, b described) int { return strings.Compare(a.String(), b.String()) })
}

// TestEveryKindOnEveryRoute: the body of an error is that of its kind, byte for
// byte, wherever it comes from.
func TestEveryKindOnEveryRoute(t *testing.T) {
	st := newSite(t)
	for kind := range warg.Kind(warg.Kinds) {
		e := &warg.Error{Kind: kind, ID: noDigest, Number: 7, Message: "text with \"quotes\"", Root: warg.Sum(nil), Found: warg.Sum([]byte("x")), RetryAfter: 9}
		st.own.failWith(fmt.Errorf("wrapped: %w", e))
		for path, body := range jsonPaths() {
			r := st.post(path, body)
			if r.status != api.Status(kind) || r.body != string(api.AppendError(nil, e)) || r.header.Get("Retry-After") != "9" {
				t.Errorf("kind %d on %s: %d %s", kind, path, r.status, r.body)
			}
			checkCommon(t, r)
		}
	}
}

var update = flag.Bool("update", false, "write the reference page anew")

// TestReference keeps the page in docs equal to the table.
func TestReference(t *testing.T) {
	path := filepath.Join("..", "docs", "http.md")
	if *update {
		if err := os.WriteFile(path, Reference(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(Reference()) {
		t.Errorf("%s is not what the route table says; run: go test ./proxy -run TestReference -update", path)
	}
}

// TestOpenAPI checks the document against the table and against itself.
func TestOpenAPI(t *testing.T) {
	st := newSite(t)
	r := st.get("/openapi.json")
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Servers []struct{ URL string }
		Paths   map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name, In string }
			RequestBody *struct{ Content map[string]any }
			Responses   map[string]struct{ Description string }
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(r.body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" || len(doc.Servers) != 1 || doc.Servers[0].URL != baseURL {
		t.Errorf("%+v", doc.Servers)
	}
	ids := map[string]bool{}
	for _, e := range endpoints() {
		for _, method := range e.methods() {
			op, ok := doc.Paths[e.Template][strings.ToLower(method)]
			if !ok {
				t.Errorf("%s %s is missing", method, e.Template)
				continue
			}
			if ids[op.OperationID] {
				t.Errorf("operation id %q twice", op.OperationID)
			}
			ids[op.OperationID] = true
			var params []string
			for _, p := range op.Parameters {
				if p.In == "path" {
					params = append(params, p.Name)
				}
			}
			if fmt.Sprint(params) != fmt.Sprint(e.params()) {
				t.Errorf("%s: parameters %v", e.Template, params)
			}
			if (op.RequestBody != nil) != (e.request != "") {
				t.Errorf("%s: request body %v", e.Template, op.RequestBody)
			}
			for status, response := range op.Responses {
				if response.Description == "" || http.StatusText(atoi(status)) == "" {
					t.Errorf("%s: response %s %q", e.Template, status, response.Description)
				}
			}
		}
	}
	used := map[string]bool{}
	collectRefs(t, r.body, used)
	for name := range used {
		if doc.Components.Schemas[name] == nil {
			t.Errorf("schema %q is not there", name)
		}
	}
	for name := range doc.Components.Schemas {
		if !used[name] {
			t.Errorf("schema %q is not used", name)
		}
	}
}

func atoi(s string) (n int) { _, _ = fmt.Sscan(s, &n); return n }

func collectRefs(t *testing.T, document string, used map[string]bool) {
	t.Helper()
	for part := range strings.SplitSeq(document, `"$ref":"`) {
		if name, ok := strings.CutPrefix(part, "#/components/schemas/"); ok {
			name, _, _ = strings.Cut(name, `"`)
			used[name] = true
		}
	}
}

// TestRouteTable: every operation of the shared table is served.
func TestRouteTable(t *testing.T) {
	served := map[api.Op]bool{}
	names := map[string]bool{}
	for _, e := range endpoints() {
		if e.handle == nil || e.summary == "" || len(e.answers) == 0 || names[e.Name] {
			t.Errorf("row %q is incomplete or there twice", e.Name)
		}
		names[e.Name] = true
		served[e.Op] = true
		if strings.Contains(e.Methods, "GET") != strings.Contains(e.Methods, "HEAD") {
			t.Errorf("%s has GET or HEAD alone", e.Name)
		}
	}
	for _, r := range api.Routes() {
		if !served[r.Op] {
			t.Errorf("%s is not served", r.Name)
		}
	}
}
