package proxy

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// TestMain finds what is left running. The library's clock runs for ever, and its
// workers notice the end of a server only after their next nap.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// script is a connection on which bytes arrive, and that keeps what is answered.
type script struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *script) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *script) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *script) Close() error                     { return nil }
func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// play has the server answer raw.
func play(tb testing.TB, s *Server, raw []byte) []byte {
	tb.Helper()
	l, _ := testListener(newScripted(), connCaps{total: 1, perPeer: 1})
	c := &script{in: bytes.NewReader(raw)}
	conn := newConn(c, l, netip.Prefix{}, false)
	if err := s.http.ServeConn(conn); err != nil && c.out.Len() == 0 {
		return nil
	}
	return c.out.Bytes()
}

func fuzzServer(f testing.TB) (*Server, *canned) {
	f.Helper()
	own := newCanned(f, ownDomain)
	own.put([]byte("content"))
	s, err := New(Options{Own: own, Upstreams: map[string]Upstream{upDomain: newReplica(newCanned(f, upDomain))}, BaseURL: baseURL})
	if err != nil {
		f.Fatal(err)
	}
	return s, own
}

// FuzzServer: whatever arrives, the answers are HTTP, and nothing panics.
func FuzzServer(f *testing.F) {
	s, own := fuzzServer(f)
	for _, row := range headRows() {
		if len(row.raw) < 2000 {
			f.Add([]byte(row.raw + sentinel))
		}
	}
	for _, row := range uploadRows(own) {
		if len(row.raw) < 2000 {
			f.Add([]byte(row.raw))
		}
	}
	for path, body := range jsonPaths() {
		f.Add([]byte(post(path, body)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Contains(raw, []byte("HEAD")) {
			return // its answers cannot be told apart without the request
		}
		for _, r := range parseReplies(t, "GET", play(t, s, raw)) {
			if r.status == 500 {
				t.Fatalf("%+v", r)
			}
			checkCommon(t, r)
		}
	})
}

// FuzzPath: a path that is answered is the one way to write what it asks for,
// apart from percent-encoding within a parameter.
func FuzzPath(f *testing.F) {
	s, _ := fuzzServer(f)
	for _, row := range pathRows() {
		if path, ok := strings.CutPrefix(row.raw, "GET "); ok {
			path, _, _ = strings.Cut(path, " ")
			f.Add(path)
		}
	}
	for _, e := range endpoints() {
		f.Add(fill(e.Template))
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " \r\n?#") {
			return
		}
		replies := parseReplies(t, "GET", play(t, s, []byte(get(path))))
		if len(replies) != 1 || replies[0].status >= 300 {
			return
		}
		if !canonical(strings.TrimPrefix(path, "/warg")) {
			t.Fatalf("%q is answered with %d", path, replies[0].status)
		}
	})
}

// canonical reports whether path is what the builders of the api package make from
// its own parameters.
func canonical(path string) bool {
	var parts []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		parts = append(parts, api.Segment(segment))
	}
	decoded := strings.Join(parts, "/")
	literal := []string{"", api.PathCheckpoint, api.PathLedger, api.PathWellKnown, "healthz", "readyz", "openapi.json"}
	for _, l := range literal {
		if path == "/"+l {
			return true
		}
	}
	switch {
	case len(parts) == 5 && parts[1] == "package":
		log, _ := warg.ParseLogID(parts[2])
		record, _ := warg.ParseRecordID(parts[4])
		return decoded == api.PathRecord(log, record)
	case len(parts) == 3 && parts[1] == "content":
		d, _ := warg.ParseDigest(parts[2])
		return decoded == api.PathSources(d)
	case len(parts) == 4 && parts[1] == "ledger":
		n, _ := strconv.ParseUint(parts[3], 10, 64)
		return strings.TrimLeft(parts[3], "0") == strings.TrimLeft(strconv.FormatUint(n, 10), "0") && parts[2] == "records"
	case len(parts) == 5 && parts[1] == "ledger":
		return parts[2] == upDomain || parts[2] == ownDomain
	case parts[0] == "content":
		d, ok := api.SegmentContent(parts[len(parts)-1])
		return ok && (decoded == api.PathContent(d) || decoded == api.PathUpstreamContent(parts[1], d))
	}
	return false
}
