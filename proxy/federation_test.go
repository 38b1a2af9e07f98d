package proxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

var upLog = mustName("wasi:http").LogID().String()

func TestSelect(t *testing.T) {
	own, up := newCanned(t, ownDomain), newReplica(newCanned(t, upDomain))
	f, err := NewFederation(own, map[string]Upstream{upDomain: up}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name, domain string
		given        bool
		want         warg.Registry
		kind         warg.Kind
	}{
		{"no header", "", false, own, 0},
		{"our own domain", ownDomain, true, own, 0},
		{"an upstream", upDomain, true, up, 0},
		{"nobody", "nobody.example", true, nil, warg.KindNotFound},
		{"an upstream in another case", "UP.example", true, nil, warg.KindNotFound},
		{"nothing", "", true, nil, warg.KindBadRequest},
		{"nonsense", "a b", true, nil, warg.KindBadRequest},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := f.Select(row.domain, row.given)
			switch {
			case row.want != nil && (err != nil || got != row.want):
				t.Errorf("got %v, %v", got, err)
			case row.want == nil && !errors.Is(err, &warg.Error{Kind: row.kind}):
				t.Errorf("got %v, %v; want kind %d", got, err, row.kind)
			}
		})
	}
}

func TestFederationsThatContradictThemselves(t *testing.T) {
	own := newCanned(t, ownDomain)
	up := newReplica(newCanned(t, upDomain))
	rows := map[string]Options{
		"our own domain as upstream":     {Own: own, BaseURL: baseURL, Upstreams: map[string]Upstream{ownDomain: up}},
		"a malformed domain":             {Own: own, BaseURL: baseURL, Upstreams: map[string]Upstream{"a/b": up}},
		"a namespace of nobody":          {Own: own, BaseURL: baseURL, Namespaces: map[string]string{"wasi": upDomain}},
		"a malformed namespace":          {Own: own, BaseURL: baseURL, Upstreams: map[string]Upstream{upDomain: up}, Namespaces: map[string]string{"Wasi": upDomain}},
		"no registry":                    {BaseURL: baseURL},
		"no base URL":                    {Own: own},
		"a relative base URL":            {Own: own, BaseURL: "/x"},
		"another scheme":                 {Own: own, BaseURL: "ftp://x"},
		"a base URL with a query":        {Own: own, BaseURL: "http://x/?y"},
		"a base URL with a user":         {Own: own, BaseURL: "http://u@x/"},
		"a base URL with an escape":      {Own: own, BaseURL: "http://x/a%2fb"},
		"a base URL with braces":         {Own: own, BaseURL: "http://x/{a}"},
		"a base URL that is none":        {Own: own, BaseURL: "http://[x"},
		"a base URL with double slashes": {Own: own, BaseURL: "http://x/a//b"},
	}
	for name, o := range rows {
		t.Run(name, func(t *testing.T) {
			if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "making the HTTP server: ") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestEcho: every route that takes the header echoes it, on errors as well, and
// the answer is that of the registry that it names.
func TestEcho(t *testing.T) {
	st := newSite(t)
	bodies := jsonPaths()
	for _, e := range endpoints() {
		path, body := fill(e.Template), ""
		var raw func(headers ...string) string
		if method := e.methods()[0]; method == "GET" {
			raw = func(headers ...string) string { return get(path, headers...) }
		} else {
			body = bodies[path]
			raw = func(headers ...string) string { return post(path, body, headers...) }
		}
		method := e.methods()[0]
		r := st.one(method, raw("Warg-Registry: "+upDomain))
		if !e.Header {
			if r.header.Get("Warg-Registry") != "" {
				t.Errorf("%s echoes a header that it does not look at", e.Name)
			}
			continue
		}
		if r.header.Get("Warg-Registry") != upDomain || r.header.Get("Age") != "90" || r.header.Get("Entrepot-Checkpoint-Time") != "2023-08-14T17:51:42Z" {
			t.Errorf("%s: %d %v", e.Name, r.status, r.header)
		}
		if !strings.Contains(r.header.Get("Vary"), "warg-registry") {
			t.Errorf("%s does not vary by registry: %q", e.Name, r.header.Get("Vary"))
		}
		if o := st.one(method, raw()); o.header.Get("Warg-Registry") != "" || o.header.Get("Age") != "" || o.header.Get("Entrepot-Checkpoint-Time") != "" {
			t.Errorf("%s of our own: %v", e.Name, o.header)
		}
	}
}

// TestUpstreamURLs: what clients fetch without the header names the registry in
// its URL, and is on this server.
func TestUpstreamURLs(t *testing.T) {
	st := newSite(t)
	own, foreign := st.own.put([]byte("own")), st.up.c.put([]byte("foreign"))
	source := func(d warg.Digest, path string, size int) string {
		return fmt.Sprintf(`{"contentSources":{%q:[{"type":"httpGet","url":"%s/%s","acceptRanges":true,"size":%d}]}}`, d, baseURL, path, size)
	}
	if r := st.get("/v1/content/" + own.String()); r.body != source(own, "content/sha256-"+own.Hex(), 3) {
		t.Errorf("own: %s", r.body)
	}
	r := st.get("/v1/content/"+foreign.String(), "Warg-Registry: "+upDomain)
	if r.body != source(foreign, "content/up.example/sha256-"+foreign.Hex(), 7) {
		t.Errorf("foreign: %s", r.body)
	}
	if r := st.get("/content/up.example/sha256-" + foreign.Hex()); r.status != 200 || r.body != "foreign" || r.header.Get("Age") != "90" {
		t.Errorf("foreign content: %d %q %v", r.status, r.body, r.header)
	}
	// Below the path of the base URL as well, as the URLs above say.
	if r := st.get("/warg/content/up.example/sha256-" + foreign.Hex()); r.status != 200 || r.body != "foreign" {
		t.Errorf("below the base path: %d %q", r.status, r.body)
	}
	// Content belongs to its registry.
	if r := st.get("/content/sha256-" + foreign.Hex()); r.status != 404 {
		t.Errorf("foreign content as our own: %d", r.status)
	}
	if r := st.get("/content/own.example/sha256-" + own.Hex()); r.status != 200 || r.body != "own" || r.header.Get("Age") != "" {
		t.Errorf("our own content by our domain: %d %q %v", r.status, r.body, r.header)
	}
	ledger := st.get("/v1/ledger", "Warg-Registry: "+upDomain)
	if want := `{"hashAlgorithm":"sha256","sources":[{"firstRegistryIndex":0,"lastRegistryIndex":2,"url":"v1/ledger/up.example/records/0","contentType":"application/vnd.warg.ledger.packed"}]}`; ledger.body != want {
		t.Errorf("ledger: %s", ledger.body)
	}
	if r := st.get("/v1/ledger/up.example/records/1"); r.status != 200 || len(r.body) != 2*warg.LedgerEntrySize || r.header.Get("Content-Type") != api.ContentTypeLedger {
		t.Errorf("ledger page: %d, %d bytes", r.status, len(r.body))
	}
	if r := st.get("/v1/ledger/records/1", "Warg-Registry: "+upDomain); r.status != 200 || len(r.body) != 2*warg.LedgerEntrySize {
		t.Errorf("ledger page by header: %d, %d bytes", r.status, len(r.body))
	}
}

func TestHints(t *testing.T) {
	st := newSite(t)
	st.up.known[warg.LogID(warg.Sum([]byte("liar")))] = mustName("other:thing")
	ask := func(log string, headers ...string) reply {
		return st.post("/v1/fetch/logs", `{"logLength":3,"packages":{"`+log+`":null}}`, headers...)
	}
	rows := []struct {
		name, log string
		headers   []string
		hint      string
	}{
		{"a mapped namespace", upLog, nil, "wasi=up.example"},
		{"another package of it", mustName("wasi:cli").LogID().String(), nil, "wasi=up.example"},
		{"a namespace that is not mapped", mustName("other:thing").LogID().String(), nil, ""},
		{"a log that nobody knows", otherLog, nil, ""},
		{"with our own domain in the header", upLog, []string{"Warg-Registry: own.example"}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := ask(row.log, row.headers...)
			if r.status != 404 || r.body != typed("log", row.log) {
				t.Fatalf("%d %s", r.status, r.body)
			}
			if got := r.header.Get("Warg-Registry-Hint"); got != row.hint {
				t.Errorf("hint %q, want %q", got, row.hint)
			}
		})
	}
	st.up.asked = nil
	if r := ask(otherLog, "Warg-Registry: "+upDomain); r.status != 404 || r.header.Get("Warg-Registry-Hint") != "" || len(st.up.asked) != 0 {
		t.Errorf("a named registry: %d %v, asked %v", r.status, r.header, st.up.asked)
	}
	if r := st.post("/v1/fetch/names", `{"packages":["`+upLog+`"]}`); r.status != 404 || r.header.Get("Warg-Registry-Hint") != "" {
		t.Errorf("names give hints: %d %v", r.status, r.header)
	}
	if r := ask(knownLog); r.status != 200 || r.header.Get("Warg-Registry-Hint") != "" {
		t.Errorf("a known log: %d %v", r.status, r.header)
	}
	if r := st.post("/v1/fetch/logs", `{"logLength":99,"packages":{"`+upLog+`":null}}`); r.status != 404 || r.header.Get("Warg-Registry-Hint") != "" {
		t.Errorf("another error: %d %v", r.status, r.header)
	}
}

// TestUnnamedLogs: a log that an upstream has, whose name cannot be had now, is not one
// that nobody has. A client that named our own registry is answered by that alone.
func TestUnnamedLogs(t *testing.T) {
	st := newSite(t)
	log, err := warg.ParseLogID(otherLog)
	if err != nil {
		t.Fatal(err)
	}
	st.up.unnamed = map[warg.LogID]error{log: &warg.Error{Kind: warg.KindUnavailable, Message: "registry `up.example` cannot be reached", RetryAfter: 9}}
	body := `{"logLength":3,"packages":{"` + otherLog + `":null}}`
	r := st.post("/v1/fetch/logs", body)
	if r.status != 503 || r.header.Get("Retry-After") != "9" || !strings.Contains(r.body, "up.example") {
		t.Errorf("%d %s, retry after %q", r.status, r.body, r.header.Get("Retry-After"))
	}
	if r := st.post("/v1/fetch/logs", body, "Warg-Registry: own.example"); r.status != 404 {
		t.Errorf("asked of us by name: %d %s", r.status, r.body)
	}

	// A package that is about to be published here is ours, whoever lists it as well.
	st.own.waiting = map[warg.LogID]bool{log: true, mustName("wasi:http").LogID(): true}
	for _, log := range []string{otherLog, upLog} {
		r := st.post("/v1/fetch/logs", `{"logLength":3,"packages":{"`+log+`":null}}`)
		if r.status != 404 || r.body != typed("log", log) || r.header.Get("Warg-Registry-Hint") != "" {
			t.Errorf("not published yet: %d %s, hint %q", r.status, r.body, r.header.Get("Warg-Registry-Hint"))
		}
	}
}

// TestNamespacesChange: the table of namespaces can be replaced while the server runs,
// by one that makes sense.
func TestNamespacesChange(t *testing.T) {
	st := newSite(t)
	hint := func() string {
		return st.post("/v1/fetch/logs", `{"logLength":3,"packages":{"`+upLog+`":null}}`).header.Get("Warg-Registry-Hint")
	}
	if err := st.s.SetNamespaces(map[string]string{"other": upDomain}); err != nil || hint() != "" {
		t.Errorf("%v, hint %q", err, hint())
	}
	if page := st.get("/"); !strings.Contains(page.body, "other") {
		t.Errorf("the page for people: %s", page.body)
	}
	for _, bad := range []map[string]string{{"wasi": "nobody.example"}, {"Wasi": upDomain}} {
		if err := st.s.SetNamespaces(bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	if err := st.s.SetNamespaces(map[string]string{"wasi": upDomain}); err != nil || hint() != "wasi=up.example" {
		t.Errorf("%v, hint %q", err, hint())
	}
}

// TestNoFallThrough: what a named registry does not have is not looked for
// elsewhere, in either direction.
func TestNoFallThrough(t *testing.T) {
	st := newSite(t)
	d := st.own.put([]byte("own"))
	if r := st.get("/v1/content/"+d.String(), "Warg-Registry: "+upDomain); r.status != 404 || r.body != typed("contentDigest", d.String()) {
		t.Errorf("our own content asked of another: %d %s", r.status, r.body)
	}
	foreign := st.up.c.put([]byte("foreign"))
	if r := st.get("/v1/content/" + foreign.String()); r.status != 404 {
		t.Errorf("foreign content asked of us: %d %s", r.status, r.body)
	}
	if r := st.post("/v1/fetch/names", `{"packages":["`+upLog+`"]}`); r.status != 404 || r.body != typed("log", upLog) {
		t.Errorf("a foreign name asked of us: %d %s", r.status, r.body)
	}
}

// TestFederatedOutages: what an upstream cannot answer is never a 404.
func TestFederatedOutages(t *testing.T) {
	st := newSite(t)
	d := st.up.c.put([]byte("foreign"))
	rows := []struct {
		name   string
		err    error
		status int
		body   string
		retry  string
	}{
		{"unreachable", &warg.Error{Kind: warg.KindUnavailable, Message: "registry up.example cannot be reached", RetryAfter: 30}, 503, message(503, "registry up.example cannot be reached"), "30"},
		{"unreachable, no time known", warg.Errorf(warg.KindUnavailable, "offline"), 503, message(503, "offline"), "1"},
		{"refused by verification", warg.Errorf(warg.KindUpstreamInvalid, "bad proof"), 502, message(502, "bad proof"), ""},
		{"denied, though it is listed", &warg.Error{Kind: warg.KindUpstreamInvalid, Message: "denied", Err: warg.NotFound(warg.KindContentNotFound, d)}, 502, message(502, "denied"), ""},
		{"timed out", warg.Errorf(warg.KindUpstreamTimeout, "too slow"), 504, message(504, "too slow"), ""},
		{"broken", errors.New("secret detail"), 500, message(500, "an error occurred while processing the request"), ""},
		{"wrapped", fmt.Errorf("reading: %w", warg.Errorf(warg.KindUnavailable, "offline")), 503, message(503, "offline"), "1"},
	}
	paths := []string{"/v1/fetch/checkpoint", "/v1/content/" + d.String(), "/v1/ledger", "/v1/ledger/records/0"}
	for _, row := range rows {
		st.up.c.failWith(row.err)
		check := func(path string, r reply) {
			if r.status != row.status || r.body != row.body || r.header.Get("Retry-After") != row.retry {
				t.Errorf("%s, %s: %d %s, retry after %q", row.name, path, r.status, r.body, r.header.Get("Retry-After"))
			}
			checkCommon(t, r)
		}
		for _, path := range paths {
			check(path, st.get(path, "Warg-Registry: "+upDomain))
		}
		check("content", st.get("/content/up.example/sha256-"+d.Hex()))
		check("ledger page", st.get("/v1/ledger/up.example/records/0"))
		check("logs", st.post("/v1/fetch/logs", `{"logLength":3}`, "Warg-Registry: "+upDomain))
	}
	st.up.c.failWith(nil)
	if r := st.get("/v1/fetch/checkpoint", "Warg-Registry: "+upDomain); r.status != 200 {
		t.Errorf("afterwards: %d", r.status)
	}
}

// TestFullLedgerPagesAreFinal: the log only grows.
func TestFullLedgerPagesAreFinal(t *testing.T) {
	st := newSite(t)
	st.own.more = 2000 - cannedLength + 500
	for path, row := range map[string]struct {
		entries int
		cache   string
	}{
		"/v1/ledger/records/0":    {1000, cacheForever},
		"/v1/ledger/records/1000": {1000, cacheForever},
		"/v1/ledger/records/1500": {1000, cacheForever},
		"/v1/ledger/records/1501": {999, cacheNever},
		"/v1/ledger/records/2000": {500, cacheNever},
		"/v1/ledger/records/2500": {0, cacheNever},
	} {
		r := st.get(path)
		if r.status != 200 || len(r.body) != row.entries*warg.LedgerEntrySize || r.header.Get("Cache-Control") != row.cache {
			t.Errorf("%s: %d, %d bytes, %q", path, r.status, len(r.body), r.header.Get("Cache-Control"))
		}
	}
}

// TestRootOnly: without a path in the base URL there is one set of routes.
func TestRootOnly(t *testing.T) {
	st := newSite(t, func(o *Options) { o.BaseURL = "http://127.0.0.1:8090/" })
	if r := st.get("/v1/fetch/checkpoint"); r.status != 200 {
		t.Errorf("%d", r.status)
	}
	if r := st.get("/warg/v1/fetch/checkpoint"); r.status != 404 || r.body != "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := st.get("/.well-known/wasm-pkg/registry.json"); r.body != `{"preferredProtocol":"warg","warg":{"url":"http://127.0.0.1:8090"}}` {
		t.Errorf("%s", r.body)
	}
}
