//go:build e2e

package proxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// front is a program of others between the client and us, with a configuration that
// lets as much through as it can.
type front struct {
	name    string
	program string
	args    func(config string) []string
	config  func(dir, back, secret string) string
}

// headerFront marks what a front forwards as one request; its value is a secret of
// the run, so that no byte of the corpus can pretend to be one.
const headerFront = "X-Front"

// frontSocket is where a front listens, in the test's folder.
const frontSocket = "front.sock"

func fronts() []front {
	nginx := func(name, more string) front {
		return front{name, "nginx", func(c string) []string { return []string{"-p", filepath.Dir(c), "-e", "stderr", "-c", c} },
			func(dir, back, secret string) string { return nginxConfig(dir, back, secret, more) }}
	}
	haproxy := func(name, more string) front {
		return front{name, "haproxy", func(c string) []string { return []string{"-db", "-f", c} },
			func(dir, back, secret string) string { return haproxyConfig(dir, back, secret, more) }}
	}
	return []front{
		nginx("nginx", ""),
		nginx("nginx, bodies unbuffered, invalid fields passed on", "proxy_request_buffering off; ignore_invalid_headers off; underscores_in_headers on;"),
		haproxy("HAProxy", ""),
		haproxy("HAProxy, invalid requests passed on", "option accept-invalid-http-request"),
	}
}

func nginxConfig(dir, back, secret, more string) string {
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("\t%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	return user + fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr crit;
events { worker_connections 512; }
http {
%[5]s	access_log off; client_max_body_size 0; client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 2s;
	upstream back { server %[2]s; keepalive 4; }
	server {
		listen unix:%[1]s/%[6]s; %[4]s
		location / {
			proxy_pass http://back; proxy_http_version 1.1; proxy_read_timeout 10s;
			proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header %[7]s %[3]s;
		}
	}
}
`, dir, back, secret, more, temp, frontSocket, headerFront)
}

func haproxyConfig(dir, back, secret, more string) string {
	return fmt.Sprintf(`global
	nbthread 1
defaults
	mode http
	timeout connect 5s
	timeout client 2s
	timeout server 10s
	timeout http-request 2s
	timeout http-keep-alive 2s
	http-reuse always
frontend front
	bind unix@%[1]s/%[5]s
	%[4]s
	default_backend back
backend back
	http-request set-header %[6]s %[3]s
	server one %[2]s
`, dir, back, secret, more, frontSocket, headerFront)
}

// start runs the program until the test ends, and returns its socket.
func (f front) start(t *testing.T, back, secret string) string {
	t.Helper()
	program, err := exec.LookPath(f.program)
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/" + f.program); err != nil {
			t.Fatalf("%s is missing: apt-get install nginx-light haproxy", f.program)
		}
	}
	dir, err := os.MkdirTemp("", "front") // short: paths of sockets have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "conf")
	if err := os.WriteFile(config, []byte(f.config(dir, back, secret)), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(program, f.args(config)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-done
	})
	socket := filepath.Join(dir, frontSocket)
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			return socket
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("%s ended: %v\n%s", f.name, err, &out)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// wiretap stands between a front and us and remembers what went to us.
type wiretap struct {
	net.Listener
	back string

	mu    sync.Mutex
	lines map[string]*bytes.Buffer // by the address that we see
	ended sync.WaitGroup
}

func newWiretap(t *testing.T, back string) *wiretap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{Listener: ln, back: back, lines: map[string]*bytes.Buffer{}}
	w.ended.Go(w.serve)
	return w
}

func (w *wiretap) serve() {
	for {
		c, err := w.Accept()
		if err != nil {
			return
		}
		w.ended.Go(func() { w.relay(c) })
	}
}

func (w *wiretap) relay(front net.Conn) {
	defer front.Close()
	back, err := net.Dial("tcp", w.back)
	if err != nil {
		return
	}
	defer back.Close()
	line := &bytes.Buffer{}
	w.mu.Lock()
	w.lines[back.LocalAddr().String()] = line
	w.mu.Unlock()
	w.ended.Go(func() {
		_, _ = io.Copy(front, back)
		_ = front.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(back, io.TeeReader(front, locked{&w.mu, line}))
	_ = back.(*net.TCPConn).CloseWrite()
	var rest [1]byte // until our side is through as well
	_ = back.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = back.Read(rest[:])
}

// locked writes under a lock.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// backCounts is what the server answered, by connection.
type backCounts struct {
	secret string

	mu       sync.Mutex
	answers  map[string]int
	unmarked []string // requests that no front forwarded
	canaries int      // that a front took for a request itself
	served   int
}

// countAnswers hooks into s before its first connection.
func countAnswers(s *Server, secret string) *backCounts {
	b := &backCounts{secret: secret, answers: map[string]int{}}
	handler, unreadable, expect := s.http.Handler, s.http.ErrorHandler, s.http.ExpectHandler
	s.http.Handler = func(ctx *fasthttp.RequestCtx) {
		b.note(ctx)
		handler(ctx)
	}
	s.http.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) {
		b.count(ctx)
		unreadable(ctx, err)
	}
	s.http.ExpectHandler = func(ctx *fasthttp.RequestCtx) int {
		status := expect(ctx)
		if status != http.StatusContinue {
			b.count(ctx)
		}
		return status
	}
	return b
}

func (b *backCounts) count(ctx *fasthttp.RequestCtx) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[ctx.RemoteAddr().String()]++
}

func (b *backCounts) note(ctx *fasthttp.RequestCtx) {
	b.count(ctx)
	marks := ctx.Request.Header.PeekAll(headerFront)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served++
	switch {
	case len(marks) != 1 || string(marks[0]) != b.secret:
		b.unmarked = append(b.unmarked, fmt.Sprintf("%s %s", ctx.Method(), ctx.RequestURI()))
	case bytes.Contains(ctx.RequestURI(), []byte("canary")):
		b.canaries++
	}
}

// minForwarded is how many cases a front must let through for its run to say anything.
const minForwarded = 150

// TestDesyncBehindFronts sends the corpus through front ends that keep connections to
// us for all their clients, with an honest client among them. Front and we must agree
// where requests begin: we answer nothing that the front did not forward as a request,
// and the honest client gets its own answers.
func TestDesyncBehindFronts(t *testing.T) {
	for _, f := range fronts() {
		t.Run(f.name, func(t *testing.T) { f.run(t, rawCases(t)) })
	}
}

func (f front) run(t *testing.T, cases []rawCase) {
	secret := rand.Text()
	var counts *backCounts
	st := newSite(t, limited, func(o *Options) { o.Limits.HeaderTimeout = 5 * time.Second })
	counts = countAnswers(st.s, secret)
	tapped := newWiretap(t, st.addr)
	t.Cleanup(func() {
		_ = tapped.Close()
		tapped.ended.Wait()
	})
	content := make([]string, 16)
	for i := range content {
		content[i] = contentURL(st.own.put([]byte(fmt.Sprintf("content of client %d", i))))
	}
	socket := f.start(t, tapped.Addr().String(), secret)
	work, wg := make(chan rawCase), sync.WaitGroup{}
	for i := range content {
		wg.Go(func() {
			for c := range work {
				all := throughFront(t, socket, c.raw+sentinel, c.fin)
				if n := bytes.Count(all, []byte("HTTP/1.")); n == 0 && len(c.want) > 0 && c.open {
					t.Errorf("%s: not answered", c.name)
				}
				honest(t, socket, c.name, content[i], fmt.Sprintf("content of client %d", i))
			}
		})
	}
	for _, c := range cases {
		work <- c
	}
	close(work)
	wg.Wait()
	f.judge(t, tapped, counts)
}

// judge compares what was forwarded with what was answered, connection by connection.
func (f front) judge(t *testing.T, tapped *wiretap, counts *backCounts) {
	tapped.mu.Lock()
	defer tapped.mu.Unlock()
	counts.mu.Lock()
	defer counts.mu.Unlock()
	forwarded := 0
	for addr, answers := range counts.answers {
		line, ok := tapped.lines[addr]
		if !ok {
			t.Errorf("answers to %s, which is no connection of the front", addr)
			continue
		}
		sent := bytes.Count(line.Bytes(), []byte(counts.secret))
		if forwarded += sent; answers > sent {
			t.Errorf("%d answers to %d forwarded requests: %.2000q", answers, sent, line.Bytes())
		}
	}
	for _, request := range counts.unmarked {
		t.Errorf("answered a request that was not forwarded as one: %s", request)
	}
	if forwarded < minForwarded {
		t.Errorf("only %d requests were forwarded", forwarded)
	}
	t.Logf("%s: %d requests forwarded on %d connections, %d reached a handler, %d of them were the canary that the front itself took for a request",
		f.name, forwarded, len(tapped.lines), counts.served, counts.canaries)
}

// throughFront sends raw to the front and returns all that comes back.
func throughFront(t *testing.T, socket, raw string, fin bool) []byte {
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	go func() {
		_, _ = io.WriteString(c, raw)
		if fin {
			_ = c.(*net.UnixConn).CloseWrite()
		}
	}()
	all, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the front keeps a connection open: %v, after %.300q", err, raw)
	}
	return all
}

// honest asks for a thing of its own and must get it.
func honest(t *testing.T, socket, after, path, want string) {
	all := throughFront(t, socket, get(path, "Connection: close"), false)
	_, body, _ := strings.Cut(string(all), "\r\n\r\n")
	if !strings.HasPrefix(string(all), "HTTP/1.1 200 ") || body != want {
		t.Errorf("after %s: an honest client was answered %.500q; want %q", after, all, want)
	}
}
