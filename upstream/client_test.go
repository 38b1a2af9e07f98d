package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// filled returns a served registry with one package, and its content.
func filled(t *testing.T) (s *served, content []byte) {
	t.Helper()
	m := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
	content = publishTo(t, m, map[string]*wargtest.Package{}, "test:a", "1.0.0")
	return serve(t, m), content
}

type httpAttack = func(op api.Op, w http.ResponseWriter, r *http.Request) bool

// always answers every request with f.
func always(f http.HandlerFunc) httpAttack {
	return func(_ api.Op, w http.ResponseWriter, r *http.Request) bool {
		f(w, r)
		return true
	}
}

func TestClientRefusesAnswers(t *testing.T) {
	good := `{"contents":{"logRoot":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","logLength":1,` +
		`"mapRoot":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","timestamp":1},"keyId":"sha256:aa",` +
		`"signature":"ecdsa-p256:MEUCIQCzWZBW6ux9LecP66Y+hjmLZTaTWRyLlJDIGKtYaRjuMgIgBbRb1bXBrrtk3nhAYKmvZzBZ1tn6xZvPPqfOBPbsL1k="}`
	typed := func(contentType, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			io.WriteString(w, text)
		}
	}
	cases := []struct {
		name   string
		answer http.HandlerFunc
		class  Class
	}{
		{"charset", typed("application/json; charset=utf-8", good), ClassAnswer},
		{"upper-case type", typed("Application/JSON", good), ClassAnswer},
		{"text", typed("text/plain", good), ClassAnswer},
		{"html", typed("text/html", "<html>"), ClassAnswer},
		{"two types", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"application/json", "application/json"}
			io.WriteString(w, good)
		}, ClassAnswer},
		{"gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, good)
			z.Close()
		}, ClassAnswer},
		{"brotli", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, good)
		}, ClassAnswer},
		{"empty", typed("application/json", ""), ClassAnswer},
		{"half", typed("application/json", good[:len(good)/2]), ClassAnswer},
		{"member twice", typed("application/json", strings.Replace(good, `"keyId"`, `"keyId":"x","keyId"`, 1)), ClassAnswer},
		{"other case", typed("application/json", strings.Replace(good, `"keyId"`, `"keyID"`, 1)), ClassAnswer},
		{"length as text", typed("application/json", strings.Replace(good, `:1,"mapRoot"`, `:"1","mapRoot"`, 1)), ClassAnswer},
		{"length as fraction", typed("application/json", strings.Replace(good, `:1,"mapRoot"`, `:1.5,"mapRoot"`, 1)), ClassAnswer},
		{"negative length", typed("application/json", strings.Replace(good, `:1,"mapRoot"`, `:-1,"mapRoot"`, 1)), ClassAnswer},
		{"line break in the signature", typed("application/json", strings.Replace(good, `ecdsa-p256:MEUC`, `ecdsa-p256:ME\nUC`, 1)), ClassAnswer},
		{"deep", typed("application/json", `{"x":`+strings.Repeat("[", 5000)), ClassAnswer},
		{"long", typed("application/json", good+strings.Repeat(" ", maxCheckpointBody)), ClassEndless},
		{"announced long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000000000")
		}, ClassEndless},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 4096)); err != nil {
					return
				}
			}
		}, ClassEndless},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, ClassAnswer},
		{"redirect that keeps the method", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusTemporaryRedirect)
		}, ClassAnswer},
	}
	s, _ := filled(t)
	c := s.client(t, nil)
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.setAttack(always(k.answer))
			_, err := c.Checkpoint(t.Context())
			if got := ClassOf(err); got != k.class {
				t.Errorf("class %s (%v); want %s", got, err, k.class)
			}
			if e, ok := asWarg(err); !ok || e.Kind != warg.KindUpstreamInvalid {
				t.Errorf("kind of %v", err)
			}
			s.setAttack(nil)
			if _, err := c.Checkpoint(t.Context()); err != nil {
				t.Errorf("honest again: %v", err)
			}
		})
	}
	s.setAttack(always(typed("application/json", good)))
	if _, err := c.Checkpoint(t.Context()); err != nil {
		t.Errorf("the answer that all others are made from: %v", err)
	}
}

func TestClientErrorAnswers(t *testing.T) {
	s, _ := filled(t)
	c := s.client(t, nil)
	cases := []struct {
		name        string
		status      int
		contentType string
		body        string
		want        warg.Kind
	}{
		{"known form", 404, "application/json", `{"status":404,"type":"logLength","id":7}`, warg.KindLengthNotFound},
		{"text of a proxy on the way", 404, "text/html", `{"status":404,"type":"log","id":"x"}`, warg.KindNotFound},
		{"not supported", 501, "text/plain; charset=utf-8", "`Warg-Registry` header is not supported", warg.KindUnsupported},
		{"too many", 429, "application/json", `{"status":429,"message":"slow down"}`, warg.KindTooMany},
		{"endless error", 500, "application/json", `{"status":500,"message":"` + strings.Repeat("x", maxErrorBody), warg.KindInternal},
		{"status in the body differs", 404, "application/json", `{"status":200,"type":"log","id":"x"}`, warg.KindNotFound},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.setAttack(func(_ api.Op, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", k.contentType)
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(k.status)
				io.WriteString(w, k.body)
				return true
			})
			_, err := c.Checkpoint(t.Context())
			e, ok := asWarg(err)
			if !ok || e.Kind != k.want || e.RetryAfter != 7 {
				t.Errorf("got %#v (%v)", e, err)
			}
		})
	}
}

func TestClientGivesUpOnSlowBodies(t *testing.T) {
	s, content := filled(t)
	quick := Timing{Head: 100 * time.Millisecond, Window: 20 * time.Millisecond, Bytes: 1 << 10}
	c := s.client(t, func(o *ClientOptions) { o.Timing = quick })
	trickle := always(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte("{"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	s.setAttack(trickle)
	if _, err := c.Checkpoint(t.Context()); ClassOf(err) != ClassSlow || !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout}) {
		t.Errorf("body that stalls: %v", err)
	}
	s.setAttack(func(op api.Op, w http.ResponseWriter, r *http.Request) bool {
		return op == api.OpContent && trickle(op, w, r)
	})
	if _, err := c.Open(t.Context(), warg.Sum(content)); ClassOf(err) != ClassSlow {
		t.Errorf("content that stalls: %v", err)
	}
	s.setAttack(always(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	if _, err := c.Checkpoint(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout}) {
		t.Errorf("no answer at all: %v", err)
	}
	s.setAttack(nil)
	if _, err := c.Checkpoint(t.Context()); err != nil {
		t.Errorf("honest again: %v", err)
	}
}

func TestClientTellsDownFromCancelled(t *testing.T) {
	s, _ := filled(t)
	c := s.client(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Checkpoint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	s.http.Close()
	_, err := c.Checkpoint(t.Context())
	if e, ok := asWarg(err); !ok || e.Kind != warg.KindUnavailable || e.RetryAfter == 0 {
		t.Errorf("down: %v", err)
	}
}

func TestClientContent(t *testing.T) {
	s, content := filled(t)
	digest := warg.Sum(content)
	c := s.client(t, func(o *ClientOptions) { o.MaxContent = 4096 })
	honest := s.http.URL + "/" + api.PathContent(digest)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get(api.HeaderRegistry) != "" {
			t.Error("credentials went to another origin")
		}
		switch r.URL.Path {
		case "/good":
			w.Write(content)
		case "/hop":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/long":
			w.Write(append(bytes.Clone(content), 0))
		case "/large":
			w.Write(make([]byte, 5000))
		case "/zip":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	defer elsewhere.Close()
	from := func(paths ...string) []api.Source {
		var sources []api.Source
		for _, p := range paths {
			if strings.HasPrefix(p, "/") {
				p = elsewhere.URL + p
			}
			sources = append(sources, api.Source{URL: p, Size: -1})
		}
		return sources
	}
	cases := []struct {
		name    string
		sources []api.Source
		class   Class
		ok      bool
	}{
		{name: "at the origin", sources: from(honest), ok: true},
		{name: "elsewhere", sources: from("/good"), ok: true},
		{name: "redirected", sources: from("/hop"), ok: true},
		{name: "the second source", sources: from("/missing", "/good"), ok: true},
		{name: "wrong bytes, then right ones", sources: from("/long", "/good"), ok: true},
		{name: "announced with the wrong size", sources: []api.Source{{URL: honest, Size: 1}}, class: ClassContent},
		{name: "announced too large", sources: []api.Source{{URL: honest, Size: 1 << 40}}, class: ClassEndless},
		{name: "longer than it is", sources: from("/long"), class: ClassContent},
		{name: "larger than allowed", sources: from("/large"), class: ClassEndless},
		{name: "encoded", sources: from("/zip"), class: ClassAnswer},
		{name: "redirected in a circle", sources: from("/loop"), class: ClassAnswer},
		{name: "redirected to the metadata of a cloud machine", sources: from("/metadata"), class: ClassAddress},
		{name: "redirected to a file", sources: from("/file"), class: ClassAddress},
		{name: "relative", sources: from("content/x"), class: ClassAddress},
		{name: "on a private network that cannot be meant", sources: from("http://169.254.169.254/x"), class: ClassAddress},
		{name: "with a user", sources: from("http://user@127.0.0.1/x"), class: ClassAddress},
		{name: "no source", sources: nil, class: ClassAnswer},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.contentURL = func(warg.Digest) []api.Source { return k.sources }
			f, err := c.Open(t.Context(), digest)
			if (err == nil) != k.ok || ClassOf(err) != k.class {
				t.Fatalf("class %s, %v", ClassOf(err), err)
			}
			if !k.ok {
				return
			}
			defer f.Close()
			if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestClientCredentials: the token goes to API calls at its origin and to nothing
// else, and the reference's refusal of the registry header is not provoked.
func TestClientCredentials(t *testing.T) {
	s, content := filled(t)
	c := s.client(t, func(o *ClientOptions) { o.Token = "secret" })
	if _, err := c.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(t.Context(), warg.Sum(content)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ledger(t.Context(), 0, 10); err != nil {
		t.Fatal(err)
	}
	for op, want := range map[api.Op]string{
		api.OpCheckpoint: "Bearer secret", api.OpSources: "Bearer secret", api.OpLedger: "Bearer secret",
		api.OpLedgerRecords: "Bearer secret", api.OpContent: "",
	} {
		h := s.header(op)
		if got := h.Get("Authorization"); got != want {
			t.Errorf("%s: Authorization %q; want %q", op, got, want)
		}
		if h.Values(api.HeaderRegistry) != nil {
			t.Errorf("%s: a registry header was sent", op)
		}
		if got := h.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("%s: Accept-Encoding %q", op, got)
		}
	}
	c = s.client(t, func(o *ClientOptions) { o.OnBehalf = "other.example" })
	if _, err := c.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(t.Context(), warg.Sum(content)); err != nil {
		t.Fatal(err)
	}
	if got := s.header(api.OpCheckpoint).Get(api.HeaderRegistry); got != "other.example" {
		t.Errorf("registry header %q", got)
	}
	if s.header(api.OpContent).Values(api.HeaderRegistry) != nil {
		t.Error("content was asked for with a registry header")
	}
}

// TestClientPrivateAddresses: an upstream on this machine must say so.
func TestClientPrivateAddresses(t *testing.T) {
	s, _ := filled(t)
	c := s.client(t, func(o *ClientOptions) { o.AllowPrivateAddresses = false })
	if _, err := c.Checkpoint(t.Context()); ClassOf(err) != ClassAddress {
		t.Errorf("checkpoint: %v", err)
	}
	if n := s.count(api.OpCheckpoint); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestClientMountPoint(t *testing.T) {
	var mu sync.Mutex
	var paths []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
		http.NotFound(w, r)
	}))
	defer s.Close()
	for _, base := range []string{"/team-a", "/team-a/"} {
		c, err := NewClient(ClientOptions{URL: s.URL + base, AllowPrivateAddresses: true})
		if err != nil {
			t.Fatal(err)
		}
		c.Checkpoint(t.Context())
	}
	for _, p := range paths {
		if p != "/team-a/v1/fetch/checkpoint" {
			t.Errorf("path %q", p)
		}
	}
}

func TestClientBadOptions(t *testing.T) {
	for _, o := range []ClientOptions{
		{URL: ""}, {URL: "ftp://x"}, {URL: "https://"}, {URL: "https://user:pass@x"}, {URL: "https://x/?a=b"}, {URL: "://"},
		{URL: "https://x", OnBehalf: "a b"},
	} {
		if _, err := NewClient(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestClientLedgerPages: pages of any size and more pages than one call wants.
func TestClientLedgerPages(t *testing.T) {
	m := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
	pkgs := map[string]*wargtest.Package{}
	for _, v := range []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"} {
		publishTo(t, m, pkgs, "test:a", v)
	}
	s := serve(t, m)
	c := s.client(t, nil)
	all, err := m.Ledger(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for start := range 9 {
		for n := range 9 {
			got, err := c.Ledger(t.Context(), uint64(start), n)
			lo, hi := min(start, 7)*64, min(start+n, 7)*64
			if err != nil || !bytes.Equal(got, all[lo:max(lo, hi)]) {
				t.Errorf("%d entries from %d: %d bytes, %v", n, start, len(got), err)
			}
		}
	}
	cases := []struct {
		name  string
		pages string
		class Class
	}{
		{"type", `[{"firstRegistryIndex":0,"lastRegistryIndex":6,"url":"v1/ledger/records/0","contentType":"text/plain"}]`, ClassAnswer},
		{"huge page", `[{"firstRegistryIndex":0,"lastRegistryIndex":99999999,"url":"v1/ledger/records/0","contentType":"application/vnd.warg.ledger.packed"}]`, ClassAnswer},
		{"link-local", `[{"firstRegistryIndex":0,"lastRegistryIndex":6,"url":"http://169.254.1.1/","contentType":"application/vnd.warg.ledger.packed"}]`, ClassAddress},
		{"gap", `[{"firstRegistryIndex":1,"lastRegistryIndex":6,"url":"v1/ledger/records/0","contentType":"application/vnd.warg.ledger.packed"}]`, ClassAnswer},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.setAttack(jsonAnswer(api.OpLedger, 200, "application/json", `{"hashAlgorithm":"sha256","sources":`+k.pages+`}`))
			if _, err := c.Ledger(t.Context(), 0, 7); ClassOf(err) != k.class {
				t.Errorf("class %s: %v", ClassOf(err), err)
			}
		})
	}
}

func TestUploadGivesUpWhenNobodyTakesIt(t *testing.T) {
	s, _ := filled(t)
	c := s.client(t, func(o *ClientOptions) {
		o.Timing = Timing{Head: time.Second, Window: 20 * time.Millisecond, Bytes: 1}
	})
	done := make(chan struct{})
	s.setAttack(always(func(http.ResponseWriter, *http.Request) { <-done }))
	endless := io.LimitReader(zeros{}, 1<<30)
	err := c.UploadTo(t.Context(), warg.UploadSite{Method: "POST", URL: api.PathUpload(warg.LogID{}, warg.RecordID{}, warg.Digest{})}, endless)
	close(done)
	if ClassOf(err) != ClassSlow {
		t.Errorf("upload that nobody takes: %v", err)
	}
	for _, site := range []warg.UploadSite{{Method: "DELETE", URL: "x"}, {Method: "POST", URL: "http://169.254.169.254/"}, {Method: "POST", URL: "file:///x"}} {
		if err := c.UploadTo(t.Context(), site, strings.NewReader("x")); ClassOf(err) == ClassNone {
			t.Errorf("%+v: %v", site, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
