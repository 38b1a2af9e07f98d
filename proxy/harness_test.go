package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

const (
	ownDomain = "own.example"
	upDomain  = "up.example"
	baseURL   = "https://pkg.example.com/warg"
)

// site is a running server over canned registries.
type site struct {
	t    testing.TB
	s    *Server
	addr string
	own  *canned
	up   *replica
}

// newSite starts a server and stops it when the test ends.
func newSite(t testing.TB, change ...func(*Options)) *site {
	t.Helper()
	own, upstream := newCanned(t, ownDomain), newCanned(t, upDomain)
	upstream.name = mustName("wasi:http")
	up := newReplica(upstream, "wasi:http", "wasi:cli", "other:thing")
	o := Options{
		Own:        own,
		Uploads:    &cannedUploads{c: newCanned(t, upDomain)},
		Upstreams:  map[string]Upstream{upDomain: up},
		Namespaces: map[string]string{"wasi": upDomain},
		BaseURL:    baseURL,
		Now:        func() time.Time { return time.Unix(cannedTimestamp+90, 0) },
		Version:    "1.2.3",
	}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &site{t, s, ln.Addr().String(), own, up}
}

func mustName(s string) warg.PackageName {
	n, err := warg.ParsePackageName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// reply is one answer as it came over the wire.
type reply struct {
	status int
	header http.Header
	body   string
	last   bool // the answer says that the connection is closed behind it
}

// sentinel is sent behind a request to see where the server thinks it ended.
const sentinel = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// exchange sends raw bytes on a new connection and returns everything that is
// answered until the server closes it. method is that of the first request, for
// answers without a body.
func (st *site) exchange(method, raw string, fin bool) []reply {
	st.t.Helper()
	c, err := net.Dial("tcp", st.addr)
	if err != nil {
		st.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		_, _ = io.WriteString(c, raw)
		if fin {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	all, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		st.t.Fatalf("reading answers: %v (so far %q)", err, all)
	}
	return parseReplies(st.t, method, all)
}

// parseReplies takes a byte stream apart into answers.
func parseReplies(t testing.TB, method string, all []byte) (replies []reply) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(all))
	for {
		if _, err := r.Peek(1); errors.Is(err, io.EOF) {
			return replies
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("answer %d of %q: %v", len(replies), all, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("body of answer %d of %q: %v", len(replies), all, err)
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		replies = append(replies, reply{resp.StatusCode, resp.Header, string(body), resp.Close})
		method = http.MethodGet
	}
}

// one sends a request and returns its answer; the sentinel behind it must be
// answered as well, as the connection is in order.
func (st *site) one(method, raw string) reply {
	st.t.Helper()
	replies := st.exchange(method, raw+sentinel, false)
	if len(replies) != 2 || replies[1].status != http.StatusOK || replies[1].body != `{"status":"ok"}` {
		st.t.Fatalf("want the answer and that of the sentinel, got %+v", replies)
	}
	return replies[0]
}

// get, head and post build requests; headers are whole lines.
func get(path string, headers ...string) string { return request("GET", path, nil, headers...) }

func post(path, body string, headers ...string) string {
	return request("POST", path, &body, append([]string{"Content-Type: application/json"}, headers...)...)
}

func request(method, path string, body *string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: pkg.example.com\r\n", method, path)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(*body))
	}
	b.WriteString("\r\n")
	if body != nil {
		b.WriteString(*body)
	}
	return b.String()
}

func (st *site) get(path string, headers ...string) reply {
	st.t.Helper()
	return st.one("GET", get(path, headers...))
}

func (st *site) head(path string, headers ...string) reply {
	st.t.Helper()
	return st.one("HEAD", request("HEAD", path, nil, headers...))
}

func (st *site) post(path, body string, headers ...string) reply {
	st.t.Helper()
	return st.one("POST", post(path, body, headers...))
}

// message is the body of a generic error.
func message(status int, text string) string {
	return fmt.Sprintf(`{"status":%d,"message":%q}`, status, text)
}

func newReader(raw []byte) *bufio.Reader { return bufio.NewReaderSize(bytes.NewReader(raw), headBytes) }
