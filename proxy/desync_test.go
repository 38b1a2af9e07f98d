package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
)

// rawCase is one request of the corpus in testdata/desync, as bytes, and what must
// come back. Its files say per case:
//
//	case NAME
//	want STATUS… open|close   answers in order; whether the connection goes on behind them
//	fin                       the client ends its side behind what it sent
//	send TEXT                 with Go's escapes, ${name} for the pieces of rawPieces and ${TEXT*N} for N times
type rawCase struct {
	name  string // with the group
	want  []int
	open  bool
	fin   bool
	raw   string
	group string
}

// canary is a request that stands in the corpus where it is no request: in bodies,
// and behind what is refused. It must never be answered.
const canary = "GET /canary HTTP/1.1\r\nHost: a\r\n\r\n"

// rawPieces are the beginnings of requests that the corpus goes on from.
func rawPieces() map[string]string {
	path := uploadPath(knownLog, knownRecord, warg.Sum([]byte("wanted")))
	return map[string]string{
		"get":    "GET /healthz HTTP/1.1\r\nHost: a\r\n",
		"post":   "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n",
		"upload": "POST " + path + " HTTP/1.1\r\nHost: a\r\n",
		"put":    "PUT " + path + " HTTP/1.1\r\nHost: a\r\n",
		"canary": canary,
	}
}

// rawCases reads the corpus. A malformed file fails the test.
func rawCases(t testing.TB) (all []rawCase) {
	t.Helper()
	files, err := filepath.Glob("testdata/desync/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		group := strings.TrimSuffix(filepath.Base(file), ".txt")
		for block := range strings.SplitSeq(string(text), "\n\n") {
			if strings.HasPrefix(block, "#") {
				continue
			}
			c, err := parseRawCase(block)
			if err != nil {
				t.Fatalf("%s: %v in %q", file, err, block)
			}
			c.name, c.group = group+": "+c.name, group
			if names[c.name] {
				t.Fatalf("%s: two cases %q", file, c.name)
			}
			names[c.name] = true
			all = append(all, c)
		}
	}
	return all
}

func parseRawCase(block string) (c rawCase, err error) {
	for line := range strings.SplitSeq(strings.TrimSuffix(block, "\n"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "case":
			c.name = rest
		case "fin":
			c.fin = true
		case "want":
			fields := strings.Fields(rest)
			last := fields[len(fields)-1]
			if c.open = last == "open"; !c.open && last != "close" {
				return c, fmt.Errorf("neither open nor close")
			}
			for _, f := range fields[:len(fields)-1] {
				status, err := strconv.Atoi(f)
				if err != nil {
					return c, err
				}
				c.want = append(c.want, status)
			}
		case "send":
			if c.raw, err = rawText(rest); err != nil {
				return c, err
			}
		default:
			return c, fmt.Errorf("unknown word %q", word)
		}
	}
	if c.name == "" || len(c.want) == 0 && c.open {
		return c, fmt.Errorf("incomplete")
	}
	return c, nil
}

var piece = regexp.MustCompile(`\$\{([^{}]+)\}`)

// rawText replaces pieces, repetitions and escapes.
func rawText(s string) (string, error) {
	pieces, broken := rawPieces(), error(nil)
	var out strings.Builder
	plain := func(s string) string {
		text, err := unescaped(s)
		if err != nil {
			broken = err
		}
		return text
	}
	rest := 0
	for _, at := range piece.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(plain(s[rest:at[0]]))
		name := s[at[2]:at[3]]
		rest = at[1]
		if text, ok := pieces[name]; ok {
			out.WriteString(text)
			continue
		}
		star := strings.LastIndexByte(name, '*')
		n, err := strconv.Atoi(name[star+1:])
		if star < 0 || err != nil {
			return "", fmt.Errorf("unknown piece %q", name)
		}
		out.WriteString(strings.Repeat(plain(name[:star]), n))
	}
	out.WriteString(plain(s[rest:]))
	return out.String(), broken
}

// unescaped reads Go's escapes.
func unescaped(s string) (string, error) {
	var out []byte
	for len(s) > 0 {
		c, wide, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return "", fmt.Errorf("escapes of %q: %w", s, err)
		}
		if s = rest; wide {
			out = append(out, string(c)...)
		} else {
			out = append(out, byte(c))
		}
	}
	return string(out), nil
}

// minRawCases is how many cases the corpus must have.
const minRawCases = 300

// TestDesync sends the corpus to a server on loopback, each case with a request
// behind it: the canary where the connection must be over, an ordinary one where it
// goes on.
func TestDesync(t *testing.T) {
	cases := rawCases(t)
	if len(cases) < minRawCases {
		t.Fatalf("%d cases; want at least %d", len(cases), minRawCases)
	}
	groups := map[string]int{}
	for _, c := range cases {
		groups[c.group]++
	}
	t.Logf("%d cases: %v", len(cases), groups)
	st := newSite(t, limited)
	reached := watchCanary(st.s)
	work, wg := make(chan rawCase), sync.WaitGroup{}
	for range 8 {
		wg.Go(func() {
			for c := range work {
				if err := c.play(st.addr); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		})
	}
	for _, c := range cases {
		work <- c
	}
	close(work)
	wg.Wait()
	for _, request := range reached() {
		t.Errorf("a smuggled request was answered: %q", request)
	}
}

// watchCanary has s remember every canary it takes for a request. It must be called
// before the first connection.
func watchCanary(s *Server) func() []string {
	var mu sync.Mutex
	var seen []string
	next := s.http.Handler
	s.http.Handler = func(ctx *fasthttp.RequestCtx) {
		if head := string(ctx.Request.Header.RequestURI()); strings.Contains(head, "canary") {
			mu.Lock()
			seen = append(seen, head)
			mu.Unlock()
		}
		next(ctx)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

// play sends the case and compares all answers.
func (c rawCase) play(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	raw, want := c.raw, c.want
	switch {
	case c.open:
		raw, want = raw+sentinel, append(append([]int(nil), want...), http.StatusOK)
	case !c.fin:
		raw += canary
	}
	go func() {
		_, _ = io.WriteString(conn, raw)
		if c.fin {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}()
	all, err := io.ReadAll(conn)
	if err != nil {
		return fmt.Errorf("reading answers: %w (so far %q)", err, all)
	}
	got, err := statuses(all, raw)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("answered %v (%w); want %v\n%q", got, err, want, all)
	}
	return nil
}

// statuses takes a stream of answers apart. Interim answers count.
func statuses(all []byte, raw string) (got []int, err error) {
	r := bufio.NewReader(strings.NewReader(string(all)))
	method, _, _ := strings.Cut(strings.TrimLeft(raw, "\r\n"), " ")
	for {
		if _, err := r.Peek(1); err == io.EOF {
			return got, nil
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return got, err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return got, err
		}
		if got = append(got, resp.StatusCode); resp.StatusCode >= 200 {
			method = http.MethodGet
		}
	}
}
