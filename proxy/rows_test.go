package proxy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// sameAnswer reports whether two answers are the same but for the time they were given.
func sameAnswer(a, b reply) bool {
	x, y := a.header.Clone(), b.header.Clone()
	for _, h := range []http.Header{x, y} {
		h.Del("Date")
		h.Del("X-Request-Id")
	}
	return a.status == b.status && a.body == b.body && maps.EqualFunc(x, y, slices.Equal)
}

// TestC08CacheKeys: pairs of requests that differ in one thing. Where the thing decides
// nothing the answers are the same to the byte, so that no cache can be made to keep one
// for the other; where it decides, a cache is told so.
func TestC08CacheKeys(t *testing.T) {
	st := newSite(t)
	d, other := st.own.put([]byte("content")), st.own.put([]byte("other content"))
	foreign := st.up.c.put([]byte("foreign content"))
	paths := []string{"/v1/fetch/checkpoint", "/v1/ledger", "/v1/ledger/records/0", "/v1/content/" + d.String(), "/content/sha256-" + d.Hex(),
		"/content/" + upDomain + "/sha256-" + foreign.Hex(), "/v1/ledger/" + upDomain + "/records/0", "/v1/package/" + knownLog + "/record/" + knownRecord,
		"/.well-known/wasm-pkg/registry.json", "/openapi.json", "/", "/healthz", "/v1/nothing", "/nothing"}
	ignored := []string{"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Prefix: /evil", "Forwarded: host=evil.example",
		"X-Original-URL: /nothing", "X-Rewrite-URL: /nothing", "X-HTTP-Method-Override: POST", "X-HTTP-Method: DELETE", "X-Host: evil.example", "Via: 1.1 evil",
		"Accept: text/html", "Accept-Encoding: gzip, br", "Accept-Language: de", "User-Agent: other", "Cookie: a=b", "Authorization: Bearer x", "Origin: https://page.example",
		"Referer: https://evil.example/", "Cache-Control: no-cache", "Pragma: no-cache", "X-Warg-Registry: up.example", "Warg_Registry: up.example", "Content-Type: text/plain"}
	pairs := 0
	for _, path := range paths {
		want := st.get(path)
		same := func(what string, got reply) {
			pairs++
			if !sameAnswer(want, got) {
				t.Errorf("%s with %s:\n %+v\nwithout:\n %+v", path, what, got, want)
			}
		}
		for _, h := range ignored {
			same(h, st.get(path, h))
		}
		for _, query := range []string{"?", "?x=1", "?cb=2&path=/nothing", "?Warg-Registry=up.example"} {
			same(query, st.get(path+query))
		}
		same("another Host", st.one("GET", strings.Replace(get(path), "Host: pkg.example.com", "Host: evil.example", 1)))
		same("absolute form", st.one("GET", strings.Replace(get(path), "GET /", "GET http://pkg.example.com/", 1)))
		head := st.head(path)
		head.body = want.body
		same("HEAD", head)
		checkStorable(t, path, want)
	}
	different := func(what string, a, b reply) {
		pairs++
		if sameAnswer(a, b) {
			t.Errorf("%s decides nothing", what)
		}
	}
	different("the registry", st.get("/v1/ledger"), st.get("/v1/ledger", "Warg-Registry: "+upDomain))
	different("our own domain", st.get("/v1/ledger"), st.get("/v1/ledger", "Warg-Registry: "+ownDomain))
	different("the digest", st.get("/content/sha256-"+d.Hex()), st.get("/content/sha256-"+other.Hex()))
	different("the range", st.get("/content/sha256-"+d.Hex()), st.get("/content/sha256-"+d.Hex(), "Range: bytes=0-1"))
	different("the page", st.get("/v1/ledger/records/0"), st.get("/v1/ledger/records/1"))
	t.Logf("%d pairs", pairs)
}

// checkStorable: only what a URL names for ever may be stored, and where a header takes
// part in the choice a cache must know.
func checkStorable(t *testing.T, path string, r reply) {
	t.Helper()
	cache, vary := r.header.Get("Cache-Control"), strings.ToLower(r.header.Get("Vary"))
	if strings.Contains(cache, "immutable") && !strings.Contains(path, "/content/sha256-") && !strings.Contains(path, "/content/"+upDomain) && !strings.Contains(path, "/ledger/") {
		t.Errorf("%s: Cache-Control %q", path, cache)
	}
	if r.status != 200 && !strings.Contains(cache, "no-store") {
		t.Errorf("%s: status %d with Cache-Control %q", path, r.status, cache)
	}
	if strings.HasPrefix(path, "/v1/") && r.status == 200 && !strings.Contains(cache, "no-store") && !strings.Contains(vary, "warg-registry") && !strings.Contains(path, upDomain) {
		t.Errorf("%s: stored without regard for Warg-Registry: %q, %q", path, cache, vary)
	}
}

// rights says what a request needs for each route beside being sent. A route that is
// not listed was not thought about.
var rights = map[string]string{
	"checkpoint": "nothing", "logs": "nothing", "names": "nothing", "record": "nothing", "sources": "nothing", "content": "nothing", "upstream_content": "nothing",
	"consistency": "nothing", "inclusion": "nothing", "verify": "nothing", "ledger": "nothing", "ledger_records": "nothing", "upstream_ledger_records": "nothing",
	"well_known": "nothing", "healthz": "nothing", "readyz": "nothing", "openapi": "nothing", "index": "nothing",
	"publish":           "a signature of a key of the package, and the policy",
	"upload":            "the id of a record that waits for the digest",
	"upload_capability": "the address itself",
}

// TestC18RoutesAreDecided: the router serves the table's routes and no other, what each
// needs is written down, and credentials that mean nothing here change no answer.
func TestC18RoutesAreDecided(t *testing.T) {
	st := newSite(t)
	registered := 0
	for method, paths := range st.s.router.List() {
		for _, path := range paths {
			registered++
			path = strings.TrimPrefix(path, "/warg")
			if !slices.ContainsFunc(endpoints(), func(e endpoint) bool { return e.Template == path && slices.Contains(e.methods(), method) }) {
				t.Errorf("%s %s is served, but not in the table", method, path)
			}
		}
	}
	want := 0
	seen := map[string]bool{}
	for _, e := range endpoints() {
		want += len(st.s.prefixes) * len(e.methods())
		seen[e.Name] = true
		if rights[e.Name] == "" {
			t.Errorf("what a request for %s needs is written down nowhere", e.Name)
		}
		body := jsonPaths()[fill(e.Template)]
		method := e.methods()[0]
		raw := func(headers ...string) string {
			if e.takesJSON() {
				headers = append(headers, "Content-Type: application/json")
			}
			return request(method, fill(e.Template), &body, headers...)
		}
		plain := st.one(method, raw())
		for _, h := range []string{"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.", "Authorization: Basic YWRtaW46YWRtaW4=", "Cookie: session=admin", "X-Remote-User: admin", "X-Forwarded-User: admin"} {
			if got := st.one(method, raw(h)); !sameAnswer(plain, got) {
				t.Errorf("%s %s with %s: %d, without %d", method, fill(e.Template), h, got.status, plain.status)
			}
		}
	}
	if registered != want {
		t.Errorf("%d routes are served, %d are in the table", registered, want)
	}
	for name := range rights {
		if !seen[name] {
			t.Errorf("%s is no route", name)
		}
	}
}

// TestC22Series: names, paths, methods and registries that nobody has seen before make
// no new series.
func TestC22Series(t *testing.T) {
	st := newSite(t)
	count := func() (n int) {
		families, err := st.s.metrics.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	before := count()
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string { return fmt.Sprintf("w%x", r.Uint64()) }
	templates := []string{"/%s", "/v1/%s", "/v1/content/%s", "/v1/package/%s/record/x", "/content/%s", "/v1/ledger/%s/records/0", "/v1/fetch/checkpoint?%s"}
	var ctx fasthttp.RequestCtx
	ctx.Init(&fasthttp.Request{}, nil, nil)
	reader := newReader(nil)
	for i := range 100_000 {
		ctx.Request.Reset()
		ctx.Response.Reset()
		method := "GET"
		if i%3 == 0 {
			method = strings.ToUpper(word())
		}
		raw := method + " " + fmt.Sprintf(templates[i%len(templates)], word()) + " HTTP/1.1\r\nHost: " + word() + "\r\nUser-Agent: " + word() + "\r\nWarg-Registry: " + word() + "\r\n" + word() + ": x\r\n\r\n"
		reader.Reset(strings.NewReader(raw))
		if err := ctx.Request.Header.Read(reader); err != nil {
			t.Fatal(err)
		}
		st.s.serve(&ctx)
	}
	if after := count(); after != before {
		t.Errorf("%d series, %d before", after, before)
	}
}

// TestC23Exposure: nothing of the admin listener is on the public one, under any
// method or spelling.
func TestC23Exposure(t *testing.T) {
	st := newSite(t)
	public := map[string]bool{"/healthz": true, "/readyz": true}
	for _, c := range adminCalls() {
		_, path, _ := strings.Cut(c.pattern, " ")
		if public[path] {
			continue
		}
		for _, p := range []string{path, path + "/", "/warg" + path, "/v1" + path, strings.ToUpper(path), "//" + path, "/." + path, "/v1/.." + path, "/%2e%2e" + path} {
			for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"} {
				empty := ""
				r := st.one(method, request(method, p, &empty, "Host2: localhost", "X-Forwarded-For: 127.0.0.1"))
				if method == "OPTIONS" && r.status == 200 && r.body == "" {
					continue // the CORS answer, for everything
				}
				if r.status != 404 {
					t.Errorf("%s %s: %d %.100q", method, p, r.status, r.body)
				}
			}
		}
	}
}

// TestPanicsEverywhere: a panic of any handler is a 500, and the server goes on.
func TestPanicsEverywhere(t *testing.T) {
	st := newSite(t, limited)
	st.own.panics, st.up.c.panics = true, true
	panics := 0
	for _, e := range endpoints() {
		if e.Op == api.OpNone || e.Op == api.OpWellKnown || e.Op == api.OpUploadCapability {
			continue
		}
		method, body := e.methods()[0], jsonPaths()[fill(e.Template)]
		headers := []string{}
		if e.takesJSON() {
			headers = append(headers, "Content-Type: application/json")
		}
		got := st.exchange(method, request(method, fill(e.Template), &body, headers...)+sentinel, false)
		if len(got) != 1 || got[0].status != 500 || !got[0].last {
			t.Errorf("%s: %+v", e.Name, got)
		}
		panics++
	}
	st.own.panics, st.up.c.panics = false, false
	if r := st.get("/v1/fetch/checkpoint"); r.status != 200 || panics < 10 {
		t.Errorf("after %d panics: %d", panics, r.status)
	}
}

// TestL10Goroutines: connections that come and go, in every way, leave nothing behind.
func TestL10Goroutines(t *testing.T) {
	st := newSite(t, limited, func(o *Options) { o.Limits.HeaderTimeout = 200 * time.Millisecond })
	path := uploadPath(knownLog, knownRecord, warg.Sum([]byte("wanted")))
	for range 50 {
		st.get("/healthz")
		st.exchange("GET", "GET /healthz HTTP/1.1\r\nHost: a\r\n", true)
		st.exchange("POST", "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx", true)
		st.exchange("POST", "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false)
	}
	st.exchange("GET", "", false) // given up by us
	for deadline := time.Now().Add(10 * time.Second); st.s.connections() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open", st.s.connections())
		}
		<-time.After(5 * time.Millisecond)
	}
	if n := st.s.metrics.running(); n != 0 || st.s.memory.used() != 0 {
		t.Errorf("%d requests and %d bytes are left", n, st.s.memory.used())
	}
	// Goroutines are counted at the end of all tests, by TestMain.
}
