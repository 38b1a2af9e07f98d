package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// logBuffer is a log that tests can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func loggedTo(l *logBuffer, level slog.Level) func(*Options) {
	return func(o *Options) { o.Log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level})) }
}

func TestPanicsAreAnswered(t *testing.T) {
	var log logBuffer
	st := newSite(t, loggedTo(&log, slog.LevelInfo))
	st.own.panics = true
	got := st.exchange("GET", get("/v1/fetch/checkpoint")+sentinel, false)
	if len(got) != 1 || got[0].status != 500 || got[0].body != message(500, "an error occurred while processing the request") || !got[0].last {
		t.Fatalf("%+v", got)
	}
	checkCommon(t, got[0])
	id := got[0].header.Get("X-Request-Id")
	if text := log.String(); !strings.Contains(text, "canned panic") || !strings.Contains(text, `"request":"`+id+`"`) || !strings.Contains(text, "goroutine") {
		t.Errorf("the log does not tell the panic %s: %s", id, text)
	}
	st.own.panics = false
	if r := st.get("/v1/fetch/checkpoint"); r.status != 200 {
		t.Errorf("afterwards: %d", r.status)
	}
	if n := metric(t, st.s, "entrepot_http_panics_total"); n != "1" {
		t.Errorf("%s panics counted", n)
	}
}

// TestInternalErrorsStayInside: the client gets a fixed text, the log the rest.
func TestInternalErrorsStayInside(t *testing.T) {
	var log logBuffer
	st := newSite(t, loggedTo(&log, slog.LevelInfo))
	st.own.failWith(fmt.Errorf("opening the store: %w", &warg.Error{Kind: warg.KindInternal, Message: "secret message", Err: errors.New("secret cause")}))
	r := st.get("/v1/fetch/checkpoint")
	if r.status != 500 || strings.Contains(r.body, "secret") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if text := log.String(); !strings.Contains(text, "secret message") || !strings.Contains(text, "secret cause") || !strings.Contains(text, r.header.Get("X-Request-Id")) {
		t.Errorf("log: %s", text)
	}
}

// TestLogKeepsSecrets: tokens, queries and capabilities never reach the log.
func TestLogKeepsSecrets(t *testing.T) {
	var log logBuffer
	st := newSite(t, loggedTo(&log, slog.LevelDebug))
	st.get("/v1/fetch/checkpoint?token=canary1", "Authorization: Bearer canary2", "Cookie: a=canary3", "X-Api-Key: canary4")
	st.post("/v1/fetch/logs?canary5", `{"logLength":"canary6"}`, "Authorization: Basic canary7")
	st.exchange("GET", get("/v1/fetch/checkpoint", "Authorization: canary8", "Authorization: canary9"), true)
	st.exchange("GET", "GET / HTTP/1.1\r\nHost: a\r\nX: canary\x00\r\n\r\n", true)
	st.get("/nothing?canary")
	st.post("/"+api.PathUploadCapability("canary"), "content")
	text := log.String()
	if strings.Contains(text, "canary") {
		t.Errorf("secrets in the log: %s", text)
	}
	if n := strings.Count(text, `"msg":"request"`); n < 8 {
		t.Errorf("%d lines for 8 requests at level debug", n)
	}
	for line := range strings.Lines(text) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if l["msg"] == "request" && (l["op"] == nil || l["status"] == nil || l["took"] == nil || l["method"] == nil || l["request"] == nil) {
			t.Errorf("incomplete line %s", line)
		}
	}
}

// TestLogLevels: reads are quiet, changes are not, faults are loud.
func TestLogLevels(t *testing.T) {
	var log logBuffer
	st := newSite(t, loggedTo(&log, slog.LevelInfo))
	st.get("/v1/fetch/checkpoint")
	st.get("/v1/nothing")
	if log.String() != "" {
		t.Errorf("reads at level info: %s", log.String())
	}
	st.post("/v1/package/"+knownLog+"/record", st.own.publishBody("test:component", ""))
	if !strings.Contains(log.String(), `"level":"INFO","msg":"request"`) || !strings.Contains(log.String(), `"op":"publish"`) {
		t.Errorf("a publish: %s", log.String())
	}
	st.own.failWith(warg.Errorf(warg.KindNoSpace, "disk full"))
	st.get("/v1/fetch/checkpoint")
	if !strings.Contains(log.String(), `"level":"ERROR","msg":"request"`) || !strings.Contains(log.String(), "disk full") {
		t.Errorf("a fault: %s", log.String())
	}
}

func TestConcurrently(t *testing.T) {
	st := newSite(t)
	small, large := st.own.put([]byte("small")), st.own.put(bytes.Repeat([]byte("x"), 300_000))
	bodies := jsonPaths()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
			defer client.CloseIdleConnections()
			check := func(want int, length int, do func() (*http.Response, error)) {
				resp, err := do()
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != want || length >= 0 && len(b) != length {
					t.Errorf("%s: status %d, %d bytes, %v", resp.Request.URL, resp.StatusCode, len(b), err)
				}
			}
			base := "http://" + st.addr
			for j := range 20 {
				check(200, -1, func() (*http.Response, error) { return client.Get(base + "/v1/fetch/checkpoint") })
				check(200, 5, func() (*http.Response, error) { return client.Get(base + contentURL(small)) })
				check(200, 300_000, func() (*http.Response, error) { return client.Get(base + contentURL(large)) })
				for path, body := range bodies {
					want := 200
					if strings.HasSuffix(path, "/record") {
						want = 202
					}
					check(want, -1, func() (*http.Response, error) {
						return client.Post(base+path, "application/json", strings.NewReader(body))
					})
				}
				body := fmt.Sprintf("content %d %d", i, j)
				check(201, 0, func() (*http.Response, error) {
					url := base + uploadPath(knownLog, knownRecord, warg.Sum([]byte(body)))
					return client.Post(url, "", io.MultiReader(strings.NewReader(body))) // chunked
				})
			}
		})
	}
	wg.Wait()
	if n, accepted := st.own.counts(); n != 320 || accepted != 320 {
		t.Errorf("%d uploads, %d records", n, accepted)
	}
	if used := st.s.memory.used(); used != 0 {
		t.Errorf("%d bytes of body memory are still taken", used)
	}
}

// TestPipelining: requests sent in one piece are answered in order, also where an
// answer fills the response buffer.
func TestPipelining(t *testing.T) {
	st := newSite(t)
	var raw strings.Builder
	var want []string
	for i := range 50 {
		body := strings.Repeat(string(rune('a'+i%26)), 1000*(i%9))
		d := st.own.put([]byte(body))
		raw.WriteString(get(contentURL(d)))
		want = append(want, body)
	}
	raw.WriteString(sentinel)
	got := st.exchange("GET", raw.String(), false)
	if len(got) != len(want)+1 {
		t.Fatalf("%d answers", len(got))
	}
	for i := range want {
		if got[i].body != want[i] {
			t.Errorf("answer %d has %d bytes, want %d", i, len(got[i].body), len(want[i]))
		}
	}
}

// TestShutdownFinishesWhatRuns: a request that is being answered is answered.
func TestShutdownFinishesWhatRuns(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
	own := newCanned(t, ownDomain)
	own.block = make(chan struct{})
	s, err := New(Options{Own: own, BaseURL: baseURL})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	st := &site{t: t, s: s, addr: ln.Addr().String(), own: own}
	answered := make(chan []reply, 1)
	go func() { answered <- st.exchange("GET", get("/v1/fetch/checkpoint"), false) }()
	for s.metrics.running() == 0 {
		<-time.After(time.Millisecond)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("shut down while a request runs: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(own.block)
	if got := <-answered; len(got) != 1 || got[0].status != 200 || !got[0].last {
		t.Errorf("%+v", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", st.addr); err == nil {
		t.Error("the port is still open")
	}
}

// TestShutdownIsBounded: what does not end in time is cut.
func TestShutdownIsBounded(t *testing.T) {
	own := newCanned(t, ownDomain)
	own.block = make(chan struct{}) // never opened: the request ends with its context
	s, err := New(Options{Own: own, BaseURL: baseURL})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, get("/v1/fetch/checkpoint"))
	for s.metrics.running() == 0 {
		<-time.After(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if s.connections() != 0 {
		t.Errorf("%d connections are left", s.connections())
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestShutdownBeforeServe: a server that is told to stop while it starts stops.
func TestShutdownBeforeServe(t *testing.T) {
	s, err := New(Options{Own: newCanned(t, ownDomain), BaseURL: baseURL})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Shutdown(context.Background()), s.Serve(ln)); err != nil {
		t.Error(err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

// selfSigned returns a certificate for loopback.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	cert := selfSigned(t)
	st := newSite(t, func(o *Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	})
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	large := st.own.put(bytes.Repeat([]byte("0123456789"), 100_000))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MaxVersion: version}}}
		for path, want := range map[string]int{"/v1/fetch/checkpoint": 423, contentURL(large): 1_000_000} {
			resp, err := client.Get("https://" + st.addr + path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 1 || resp.TLS.NegotiatedProtocol != "http/1.1" || len(b) < want-20 {
				t.Errorf("%s: %s %d, %d bytes, %v", path, resp.Proto, resp.StatusCode, len(b), err)
			}
		}
		body := strings.Repeat("x", 200_000)
		resp, err := client.Post("https://"+st.addr+uploadPath(knownLog, knownRecord, warg.Sum([]byte(body))), "", io.MultiReader(strings.NewReader(body)))
		if err != nil || resp.StatusCode != 201 {
			t.Errorf("upload: %v %v", resp, err)
		}
		client.CloseIdleConnections()
	}
	if c, err := tls.Dial("tcp", st.addr, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11}); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	// A body that TLS itself ends early is a cut body as well.
	c, err := tls.Dial("tcp", st.addr, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := "cut over TLS"
	_, _ = io.WriteString(c, "POST "+uploadPath(knownLog, knownRecord, warg.Sum([]byte(body)))+" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+chunkedBody(body, 5))
	before, _ := st.own.counts()
	_ = c.CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("a cut body: %v %v", resp, err)
	}
	if after, _ := st.own.counts(); after != before {
		t.Error("a cut body was stored")
	}
}

func TestIndexPage(t *testing.T) {
	st := newSite(t)
	r := st.get("/")
	for _, want := range []string{"<html lang=\"en\">", "<title>own.example", "warg config --registry " + baseURL, "up.example", "wasi", "1.2.3", "<main>", "scope=\"row\""} {
		if !strings.Contains(r.body, want) {
			t.Errorf("%q is missing in %s", want, r.body)
		}
	}
	if strings.Contains(r.body, "<script") || r.header.Get("Content-Security-Policy") == "" || r.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%v", r.header)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	var broken error
	st := newSite(t, func(o *Options) { o.Ready = func(context.Context) error { return broken } })
	if r := st.get("/readyz"); r.status != 200 || r.body != `{"status":"ok"}` {
		t.Errorf("%d %s", r.status, r.body)
	}
	broken = errors.New("the authority is fenced: its clock is behind")
	if r := st.get("/readyz"); r.status != 503 || r.body != message(503, "not ready: the authority is fenced: its clock is behind") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := st.get("/healthz"); r.status != 200 {
		t.Errorf("alive: %d", r.status)
	}
}

// TestHouseRules: bodies are read in one place, and paths are taken raw.
func TestHouseRules(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{".PostBody(", ".Request.Body(", ".URI().Path(", ".FormValue(", ".QueryArgs(", ".SendFile", "ctx.Error("} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s uses %s", f, word)
			}
		}
		if n := strings.Count(string(b), "RequestBodyStream("); n > 0 && f != "body.go" {
			t.Errorf("%s reads a body past body.go", f)
		}
	}
}
