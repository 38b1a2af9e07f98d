package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// fenceKind is a kind of fence that a start raises.
type fenceKind struct {
	name    string
	open    bool // everything is read behind it
	prepare func(*testing.T, *person)
}

// fenceKinds are all of them. Each is prepared after the one before was; the last one
// stays.
func fenceKinds() []fenceKind {
	clock := func(d time.Duration) func(*testing.T, *person) {
		return func(_ *testing.T, u *person) { u.ahead = d }
	}
	return []fenceKind{
		{"clock", true, clock(-time.Hour)},
		{"clock jump", true, clock(2 * 366 * 24 * time.Hour)},
		{"peers", false, func(t *testing.T, u *person) {
			u.ahead = 0
			u.write(t, "entrepot.toml", lonelyRegistry+`peers = ["peer.example"]
[upstream."peer.example"]
url = "http://`+freeAddress(t)+`"
trust_first_key = true
allow_private_addresses = true
`)
		}},
		{"frozen", true, func(t *testing.T, u *person) {
			u.write(t, "entrepot.toml", lonelyRegistry)
			u.ok(t, "freeze", "own.example")
		}},
		{"behind", false, copyAuthority}, // which weighs more than being frozen
	}
}

const lonelyRegistry = `listen = "127.0.0.1:0"
[authority]
domain = "own.example"
namespaces = ["local"]
`

// copyAuthority makes the authority's folder another one, without its index.
func copyAuthority(t *testing.T, u *person) {
	t.Helper()
	original, kept := u.path("entrepot-data/authority"), u.path("kept")
	if err := os.Rename(original, kept); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(original, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(u.path("entrepot-data/authority/index")); err != nil {
		t.Fatal(err)
	}
}

// fencedCall is a request, and what it is answered with where everything is read, and
// where only records and content are.
type fencedCall struct {
	op           string // name of the row in the route table
	method, path string
	body         []byte
	open, closed int
}

func fencedCalls(t *testing.T, u *person, url string) []fencedCall {
	t.Helper()
	_, head := get(t, url+"/v1/fetch/checkpoint")
	var shown struct {
		Contents struct {
			LogLength uint64 `json:"logLength"`
		} `json:"contents"`
	}
	if err := json.Unmarshal([]byte(head), &shown); err != nil {
		t.Fatal(err)
	}
	length := shown.Contents.LogLength
	name, err := warg.ParsePackageName("local:first")
	if err != nil {
		t.Fatal(err)
	}
	log := name.LogID()
	_, logs := send(t, "POST", url+"/v1/fetch/logs", api.AppendLogsRequest(nil, warg.LogsRequest{LogLength: length, Packages: []warg.LogCursor{{LogID: log}}}))
	var page struct {
		Packages map[string][]struct {
			Token string `json:"fetchToken"`
		} `json:"packages"`
	}
	if err := json.Unmarshal([]byte(logs), &page); err != nil || len(page.Packages[log.String()]) == 0 {
		t.Fatalf("%s: %v", logs, err)
	}
	content := []byte(u.read(t, "local-first"))
	digest := warg.Sum(content)
	record := "/v1/package/" + log.String() + "/record"
	one := record + "/" + page.Packages[log.String()][0].Token
	p := wargtest.NewPackage("local:second")
	next := p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob())))
	submit := api.AppendPublishRequest(nil, api.PublishBody{Name: next.Name, Record: next.Record})
	const ok, no = http.StatusOK, http.StatusServiceUnavailable
	return []fencedCall{
		{"checkpoint", "GET", "/v1/fetch/checkpoint", nil, ok, no},
		{"logs", "POST", "/v1/fetch/logs", api.AppendLogsRequest(nil, warg.LogsRequest{LogLength: length}), ok, no},
		{"names", "POST", "/v1/fetch/names", api.AppendNamesRequest(nil, []warg.LogID{log}), ok, no},
		{"publish", "POST", "/v1/package/" + next.LogID.String() + "/record", submit, no, no},
		{"record", "GET", one, nil, ok, ok},
		{"record", "GET", record + "/" + digest.String(), nil, http.StatusNotFound, no},
		{"upload", "POST", one + "/content/" + digest.String(), content, no, no},
		{"upload_capability", "POST", "/v1/upload/none", content, http.StatusNotFound, http.StatusNotFound},
		{"sources", "GET", "/v1/content/" + digest.String(), nil, ok, ok},
		{"sources", "GET", "/v1/content/" + warg.Sum(nil).String(), nil, http.StatusNotFound, no},
		{"consistency", "POST", "/v1/proof/consistency", api.AppendConsistencyRequest(nil, 1, length), ok, no},
		{"inclusion", "POST", "/v1/proof/inclusion", api.AppendInclusionRequest(nil, length, []uint64{0}), ok, no},
		{"verify", "POST", "/v1/verify/checkpoint", []byte(head), ok, no},
		{"ledger", "GET", "/v1/ledger", nil, ok, no}, // it says the length
		{"ledger_records", "GET", "/v1/ledger/records/0", nil, ok, no},
		{"upstream_ledger_records", "GET", "/v1/ledger/none.example/records/0", nil, http.StatusNotFound, http.StatusNotFound},
		{"content", "GET", "/content/sha256-" + digest.Hex(), nil, ok, ok},
		{"upstream_content", "GET", "/content/none.example/sha256-" + digest.Hex(), nil, http.StatusNotFound, http.StatusNotFound},
		{"well_known", "GET", "/.well-known/wasm-pkg/registry.json", nil, ok, ok},
		{"", "GET", "/healthz", nil, ok, ok},
		{"", "GET", "/readyz", nil, ok, no},
		{"", "GET", "/openapi.json", nil, ok, ok},
		{"", "GET", "/", nil, ok, ok},
	}
}

func send(t *testing.T, method, url string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode == http.StatusServiceUnavailable && strings.HasPrefix(req.URL.Path, "/v1/") && answer.Header.Get("Retry-After") == "" {
		t.Errorf("%s %s: 503 without Retry-After", method, url)
	}
	return answer.StatusCode, string(text)
}

// TestRoutesBehindFences: every route behind every kind of fence. Where nobody can have
// seen more than we know, all is read; where somebody may have, records and content are,
// although the index is gone, and what is not known is not said to be missing.
func TestRoutesBehindFences(t *testing.T) {
	u := newPerson(t)
	u.write(t, "entrepot.toml", lonelyRegistry)
	u.ok(t, "key", "new")
	s := u.serve(t)
	u.released(t, s, "local:first")
	calls := fencedCalls(t, u, s.url)
	everyRowIsThere(t, calls)
	s.end(t)
	for _, kind := range fenceKinds() {
		kind.prepare(t, u)
		if r := u.run(t, "doctor", "--quick"); r.code != exitOK || kind.name != "peers" && !strings.Contains(r.stdout, stateFenced) {
			t.Errorf("%s: doctor --quick keeps the server from starting: %+v", kind.name, r)
		}
		if r := u.run(t, "doctor"); kind.name != "peers" && r.code != exitConfig { // who is asked only by a server
			t.Errorf("%s: doctor: %+v", kind.name, r)
		}
		s := u.serve(t)
		for _, c := range calls {
			want := c.closed
			if kind.open {
				want = c.open
			}
			if code, body := send(t, c.method, s.url+c.path, c.body); code != want {
				t.Errorf("%s: %s %s: %d, want %d: %.200s", kind.name, c.method, c.path, code, want, body)
			}
		}
		if status := askAdmin(t, u, "/statusz"); !strings.Contains(status, `"state":"fenced"`) || !strings.Contains(status, "("+kind.name+"): ") {
			t.Errorf("%s: /statusz: %s", kind.name, status)
		}
		s.end(t)
	}
}

// everyRowIsThere compares the calls with the route table.
func everyRowIsThere(t *testing.T, calls []fencedCall) {
	t.Helper()
	called := map[string]bool{}
	for _, c := range calls {
		called[c.op] = true
	}
	for _, r := range api.Routes() {
		if !called[r.Name] {
			t.Errorf("%s %s is not tried behind a fence", r.Methods, r.Template)
		}
	}
}
