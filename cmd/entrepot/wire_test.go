package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// wire stands before a server and sees what is sent to it.
type wire struct {
	*httptest.Server
	to *url.URL

	refuse func(*http.Request) bool // says 503 instead; set while nothing is sent

	mu   sync.Mutex
	seen []*http.Request // without bodies
}

// newWire puts a wire before a server.
func newWire(t *testing.T, to string, start func(*httptest.Server)) *wire {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{to: u}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(w.Server)
	t.Cleanup(w.Close)
	return w
}

func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.seen = append(w.seen, r.Clone(r.Context()))
	w.mu.Unlock()
	if w.refuse != nil && w.refuse(r) {
		http.Error(rw, "not now", http.StatusServiceUnavailable)
		return
	}
	(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = w.to.Scheme, w.to.Host, w.to.Host
	}}).ServeHTTP(rw, r)
}

// requests returns the requests seen whose path contains a text.
func (w *wire) requests(part string) []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.seen), func(r *http.Request) bool { return !strings.Contains(r.URL.Path, part) })
}

// through makes a person's server reach its upstream by another URL.
func (u *person) through(t *testing.T, up *running, wireURL string) {
	t.Helper()
	u.write(t, "entrepot.toml", strings.Replace(u.read(t, "entrepot.toml"), up.url, wireURL, 1))
}

// maxAge sets how old a checkpoint may be before anybody looks for a newer one.
func (u *person) maxAge(t *testing.T, age string) {
	t.Helper()
	u.write(t, "entrepot.toml", strings.Replace(u.read(t, "entrepot.toml"), `max_age = "1s"`, `max_age = "`+age+`"`, 1))
}
