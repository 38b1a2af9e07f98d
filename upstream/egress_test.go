package upstream

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// stranger is a server at an origin that nothing was configured for. It notes what
// reaches it.
type stranger struct {
	*httptest.Server
	connections atomic.Int64

	mu   sync.Mutex
	seen []*http.Request
}

func newStranger(t *testing.T, answer http.HandlerFunc) *stranger {
	t.Helper()
	s := &stranger{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(r.Context()))
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// sawNothing fails if a request carried what is for the registry alone.
func (s *stranger) sawNothing(t *testing.T, requests int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) != requests {
		t.Errorf("%d requests arrived; want %d", len(s.seen), requests)
	}
	for _, r := range s.seen {
		for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", api.HeaderRegistry} {
			if v := r.Header.Values(name); v != nil {
				t.Errorf("%s %s carries %s: %q", r.Method, r.URL, name, v)
			}
		}
	}
}

// TestCredentialsStayAtTheirOrigin: wherever a registry says that pages of its ledger,
// content and places for uploads are, whatever it redirects to, and however it asks for
// them: nobody else gets to see the token and the name that we ask for.
func TestCredentialsStayAtTheirOrigin(t *testing.T) {
	s, content := filled(t)
	packed, err := s.reg.Ledger(t.Context(), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	away := newStranger(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			w.Header().Set("Content-Type", api.ContentTypeLedger)
			_, _ = w.Write(packed)
		case "/locked":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/page",service="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = w.Write(content)
		}
	})
	c := s.client(t, func(o *ClientOptions) { o.Token, o.OnBehalf = "secret", "other.example" })
	sources := func(urls ...string) {
		s.contentURL = func(warg.Digest) (all []api.Source) {
			for _, u := range urls {
				all = append(all, api.Source{URL: u, Size: -1})
			}
			return all
		}
	}
	open := func(want Class) {
		t.Helper()
		f, err := c.Open(t.Context(), warg.Sum(content))
		if ClassOf(err) != want {
			t.Errorf("content: %v", err)
		}
		if err == nil {
			f.Close()
		}
	}

	s.setAttack(jsonAnswer(api.OpLedger, http.StatusOK, "application/json", fmt.Sprintf(
		`{"hashAlgorithm":"sha256","sources":[{"firstRegistryIndex":0,"lastRegistryIndex":1,"url":%q,"contentType":%q}]}`, away.URL+"/page", api.ContentTypeLedger)))
	if got, err := c.Ledger(t.Context(), 0, 2); err != nil || string(got) != string(packed) {
		t.Errorf("a page elsewhere: %d bytes, %v", len(got), err)
	}
	s.setAttack(nil)
	sources(away.URL + "/good")
	open(ClassNone)
	sources(away.URL+"/locked", away.URL+"/good") // a challenge is not taken up
	open(ClassNone)

	s.setAttack(func(op api.Op, w http.ResponseWriter, r *http.Request) bool {
		if op == api.OpContent {
			http.Redirect(w, r, away.URL+"/redirected", http.StatusTemporaryRedirect)
		}
		return op == api.OpContent
	})
	sources(s.http.URL + "/" + api.PathContent(warg.Sum(content)))
	open(ClassNone)
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		if err := c.UploadTo(t.Context(), warg.UploadSite{Method: method, URL: away.URL + "/upload"}, strings.NewReader("x")); err != nil {
			t.Errorf("%s elsewhere: %v", method, err)
		}
	}
	away.sawNothing(t, 1+1+2+1+2)

	// Calls of the API follow nobody, and an upload does not either.
	for _, status := range []int{301, 302, 303, 307, 308} {
		s.setAttack(always(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, away.URL+"/api", status) }))
		if _, err := c.Checkpoint(t.Context()); ClassOf(err) != ClassAnswer {
			t.Errorf("checkpoint behind a %d: %v", status, err)
		}
		site := warg.UploadSite{Method: http.MethodPost, URL: api.PathUpload(warg.LogID{}, warg.RecordID{}, warg.Sum(nil))}
		if err := c.UploadTo(t.Context(), site, strings.NewReader("x")); err == nil {
			t.Errorf("upload behind a %d: %v", status, err)
		}
	}
	away.sawNothing(t, 7)
}

// TestForeignNamesAreJudgedWhenDialed: a name says nothing about where it leads. What a
// registry sends us to is judged by the address that its name has at that moment, and
// before anything is connected to, in every way in which it can send us somewhere.
func TestForeignNamesAreJudgedWhenDialed(t *testing.T) {
	s, content := filled(t)
	inside := newStranger(t, func(http.ResponseWriter, *http.Request) {})
	names := &nameServer{asked: map[uint16]int{}} // of which every name leads to this machine
	named := func(url, name string) string { return strings.Replace(url, "127.0.0.1", name, 1) }
	c := s.client(t, func(o *ClientOptions) {
		o.Resolver, o.URL = names.resolver(), named(o.URL, "up.example") // a registry on a private network
	})
	honest := named(s.http.URL, "up.example") + "/" + api.PathContent(warg.Sum(content))
	evil := named(inside.URL, "innocent.example") + "/x"
	open := func() error {
		f, err := c.Open(t.Context(), warg.Sum(content))
		if err == nil {
			f.Close()
		}
		return err
	}
	source := func(u string) {
		s.contentURL = func(warg.Digest) []api.Source { return []api.Source{{URL: u, Size: -1}} }
	}
	source(honest)
	if err := open(); err != nil {
		t.Fatalf("content at the registry: %v", err)
	}
	source(evil)
	tries := map[string]error{"content": open()}
	source(honest)
	s.setAttack(func(op api.Op, w http.ResponseWriter, r *http.Request) bool {
		if op == api.OpContent {
			http.Redirect(w, r, evil, http.StatusFound)
		}
		return op == api.OpContent
	})
	tries["redirect"] = open()
	tries["upload"] = c.UploadTo(t.Context(), warg.UploadSite{Method: http.MethodPost, URL: evil}, strings.NewReader("x"))
	s.setAttack(jsonAnswer(api.OpLedger, http.StatusOK, "application/json", fmt.Sprintf(
		`{"hashAlgorithm":"sha256","sources":[{"firstRegistryIndex":0,"lastRegistryIndex":1,"url":%q,"contentType":%q}]}`, evil, api.ContentTypeLedger)))
	_, tries["ledger"] = c.Ledger(t.Context(), 0, 2)
	for what, err := range tries {
		if ClassOf(err) != ClassAddress {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := inside.connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestConnectionsAreBounded: however many want something of a registry at a time, there
// are no more connections to it than the operator allowed.
func TestConnectionsAreBounded(t *testing.T) {
	const allowed, wanted = 2, 12
	var asked sync.WaitGroup // for a connection
	asked.Add(wanted)
	up := newStranger(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Wait() // until then whoever has a connection keeps it
		w.Header().Set("Content-Type", api.ContentTypeJSON)
		_, _ = w.Write([]byte("{}")) // is read to its end, so that the connection serves the next
	})
	c, err := NewClient(ClientOptions{Domain: "up.example", URL: up.URL, AllowPrivateAddresses: true, MaxConnections: allowed})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var readers sync.WaitGroup
	for range wanted {
		readers.Go(func() {
			once := sync.OnceFunc(asked.Done) // the transport may try again
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) { once() }})
			_, _ = c.Checkpoint(ctx)
		})
	}
	readers.Wait()
	if n := up.connections.Load(); n < 1 || n > allowed {
		t.Errorf("%d connections for %d requests; %d are allowed", n, wanted, allowed)
	}
	up.sawNothing(t, wanted)
}
