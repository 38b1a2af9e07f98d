package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

func uploadPath(log, record string, d warg.Digest) string {
	return "/v1/package/" + log + "/record/" + record + "/content/" + d.String()
}

// uploadRows are uploads that are refused.
func uploadRows(own *canned) []rawRow {
	put := func(name, path, body string, status int, want string, headers ...string) rawRow {
		return rawRow{"upload: " + name, request("POST", path, &body, headers...), status, want, true}
	}
	wanted, done := warg.Sum([]byte("wanted")), warg.Sum([]byte("done"))
	wrong := escaped(400, fmt.Sprintf("content digest `%s` does not match expected digest `%s`", warg.Sum([]byte("x")), wanted))
	rows := []rawRow{
		put("an unknown log", uploadPath(otherLog, knownRecord, wanted), "x", 404, typed("log", otherLog)),
		put("an unknown record", uploadPath(knownLog, noDigest, wanted), "x", 404, typed("record", noDigest)),
		put("other bytes", uploadPath(knownLog, knownRecord, wanted), "x", 400, wrong),
		put("nothing", uploadPath(knownLog, knownRecord, wanted), "", 400,
			escaped(400, fmt.Sprintf("content digest `%s` does not match expected digest `%s`", warg.Sum(nil), wanted))),
		put("a record that waits for nothing", uploadPath(knownLog, knownRecord, done), "done", 405, `{"status":405}`),
		put("a digest that does not parse", "/v1/package/"+knownLog+"/record/"+knownRecord+"/content/x", "x", 400, escaped(400, "Invalid URL: expected two parts for hash; found 1")),
		put("to another registry", uploadPath(knownLog, knownRecord, wanted), "x", 501,
			escaped(501, "publishing to registry `up.example` through this server is not supported"), "Warg-Registry: up.example"),
		{"upload: a length beyond the limit", "POST " + uploadPath(knownLog, knownRecord, wanted) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 62914560\r\n\r\nxy", 413,
			escaped(413, "content is larger than the 4194304 bytes that are allowed"), false},
		{"upload: a chunked body beyond the limit", "POST " + uploadPath(knownLog, knownRecord, wanted) + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
			chunkedBody(strings.Repeat("x", 5<<20), 1<<16) + "0\r\n\r\n", 413,
			escaped(413, "content is larger than the 4194304 bytes that are allowed"), false},
	}
	for name, chunk := range map[string]string{
		"a chunk size with 0x":         "0x1\r\nx\r\n0\r\n\r\n",
		"a chunk size that overflows":  "10000000000000001\r\nx\r\n0\r\n\r\n",
		"a chunk size with a minus":    "-1\r\nx\r\n0\r\n\r\n",
		"a chunk without its line end": "1\r\nxy\r\n0\r\n\r\n",
		"a chunk extension with LF":    "1;\nxx\r\nx\r\n0\r\n\r\n",
		"a chunk size that is none":    "g\r\nx\r\n0\r\n\r\n",
		"an empty chunk size":          "\r\nx\r\n0\r\n\r\n",
		"a forbidden trailer":          "1\r\nx\r\n0\r\nContent-Length: 1\r\n\r\n",
	} {
		rows = append(rows, rawRow{"upload: " + name, "POST " + uploadPath(knownLog, knownRecord, wanted) +
			" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk, 400, message(400, "malformed request body"), false})
	}
	return rows
}

func limited(o *Options) { o.Limits.ContentSize = 4 << 20 }

func TestUploadsThatAreRefused(t *testing.T) {
	st := newSite(t, limited)
	for _, row := range uploadRows(st.own) {
		t.Run(row.name, func(t *testing.T) { row.check(t, st) })
	}
	if n, _ := st.own.counts(); n != 0 {
		t.Errorf("%d uploads were stored", n)
	}
}

func TestUploads(t *testing.T) {
	st := newSite(t, limited)
	body := strings.Repeat("0123456789", 100_000)
	d := warg.Sum([]byte(body))
	path := uploadPath(knownLog, knownRecord, d)
	for _, method := range []string{"POST", "PUT"} {
		for name, raw := range map[string]string{
			"with a length": request(method, path, &body),
			"with a type":   request(method, path, &body, "Content-Type: application/wasm"),
			"chunked":       method + " " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedBody(body, 8192) + "0\r\n\r\n",
			"in odd chunks": method + " " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedBody(body, 997) + "0\r\n\r\n",
		} {
			before, _ := st.own.counts()
			r := st.one(method, raw)
			after, _ := st.own.counts()
			if r.status != 201 || r.body != "" || after != before+1 {
				t.Errorf("%s %s: %d %q, %d stored", method, name, r.status, r.body, after-before)
			}
			checkCommon(t, r)
		}
	}
}

// TestCutBodies: a request whose body did not arrive in full has no effect.
func TestCutBodies(t *testing.T) {
	st := newSite(t, limited)
	body := strings.Repeat("x", 30_000)
	path := uploadPath(knownLog, knownRecord, warg.Sum([]byte(body)))
	publish := newCannedBody("test:component", "")
	head := func(path, framing string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + framing + "\r\n\r\n"
	}
	logPath := "/v1/package/" + knownLog + "/record"
	rows := map[string]string{
		"chunked without the last chunk":         head(path, "Transfer-Encoding: chunked") + chunkedBody(body, 5000),
		"chunked without the last line":          head(path, "Transfer-Encoding: chunked") + chunkedBody(body, 5000) + "0\r\n",
		"chunked within the last line":           head(path, "Transfer-Encoding: chunked") + chunkedBody(body, 5000) + "0\r\n\r",
		"chunked within a chunk":                 head(path, "Transfer-Encoding: chunked") + chunkedBody(body, 5000)[:20_000],
		"chunked behind a size":                  head(path, "Transfer-Encoding: chunked") + "7530\r\n",
		"chunked without anything":               head(path, "Transfer-Encoding: chunked"),
		"a length with less":                     head(path, fmt.Sprint("Content-Length: ", len(body))) + body[:20_000],
		"a length with one byte less":            head(path, fmt.Sprint("Content-Length: ", len(body))) + body[1:],
		"a length with one byte":                 head(path, fmt.Sprint("Content-Length: ", len(body))) + body[:1],
		"JSON, a length with less":               head(logPath, fmt.Sprint("Content-Length: ", len(publish)+1)) + publish,
		"JSON, chunked without the last chunk":   head(logPath, "Transfer-Encoding: chunked") + chunkedBody(publish, 100),
		"JSON, chunked without the last newline": head(logPath, "Transfer-Encoding: chunked") + chunkedBody(publish, 100) + "0\r\n\r",
	}
	for name, raw := range rows {
		t.Run(name, func(t *testing.T) {
			got := (&site{t, st.s, st.addr, st.own, st.up}).exchange("POST", raw, true)
			if len(got) != 1 || got[0].status != 400 || !got[0].last {
				t.Errorf("answered %+v", got)
			}
		})
	}
	if uploads, accepted := st.own.counts(); uploads != 0 || accepted != 0 {
		t.Errorf("%d uploads and %d records went through", uploads, accepted)
	}
	// A client that ends its side after a complete request is served.
	whole := head(path, "Transfer-Encoding: chunked") + chunkedBody(body, 5000) + "0\r\n\r\n"
	if got := st.exchange("POST", whole, true); len(got) != 1 || got[0].status != 201 {
		t.Errorf("a complete body, then FIN: %+v", got)
	}
}

// TestExpect: the body is only asked for when it is welcome.
func TestExpect(t *testing.T) {
	st := newSite(t, limited)
	body := "wanted"
	path := uploadPath(knownLog, knownRecord, warg.Sum([]byte(body)))
	expect := func(method, path string, headers ...string) string {
		return request(method, path, nil, append(headers, "Expect: 100-continue")...)
	}
	rows := []struct {
		name, raw string
		status    int // of the first answer
	}{
		{"welcome", expect("POST", path, "Content-Length: 6"), 100},
		{"welcome, chunked", expect("PUT", path, "Transfer-Encoding: chunked"), 100},
		{"welcome, in another case", request("POST", path, nil, "Content-Length: 6", "expect: 100-Continue"), 100},
		{"too large", expect("POST", path, "Content-Length: 99999999"), 413},
		{"JSON too large", expect("POST", "/v1/fetch/logs", "Content-Type: application/json", "Content-Length: 2097153"), 413},
		{"not JSON", expect("POST", "/v1/fetch/logs", "Content-Length: 2"), 415},
		{"unknown path", expect("POST", "/v1/nothing", "Content-Length: 2"), 404},
		{"wrong method", expect("POST", "/v1/ledger", "Content-Length: 2"), 405},
		{"unknown registry", expect("POST", "/v1/fetch/logs", "Content-Type: application/json", "Content-Length: 2", "Warg-Registry: x.example"), 404},
		{"bad parameter", expect("POST", "/v1/package/x/record", "Content-Type: application/json", "Content-Length: 2"), 400},
		{"bad framing", expect("POST", path, "Content-Length: 2", "Transfer-Encoding: chunked"), 400},
		{"preflight", expect("OPTIONS", path, "Content-Length: 2"), 200},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c, err := net.Dial("tcp", st.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(c, row.raw); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(c)
			method, _, _ := strings.Cut(row.raw, " ")
			resp, err := http.ReadResponse(r, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != row.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, row.status)
			}
			if row.status != 100 {
				if b, _ := io.ReadAll(resp.Body); !resp.Close || row.status == 413 && len(b) == 0 {
					t.Errorf("closes %v, body %q", resp.Close, b)
				}
				return
			}
			send := body
			if strings.Contains(row.raw, "chunked") {
				send = chunkedBody(body, 4) + "0\r\n\r\n"
			}
			_, _ = io.WriteString(c, send)
			resp, err = http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 201 {
				t.Errorf("after the body: %v %v", resp, err)
			}
		})
	}
}

// TestRefusedWhileSending: a client that is in the middle of sending a body that
// nobody wants still gets to read why.
func TestRefusedWhileSending(t *testing.T) {
	st := newSite(t, limited)
	path := uploadPath(knownLog, knownRecord, warg.Sum([]byte("wanted")))
	const sent = 200 << 10 // more than the server reads ahead, less than it drains
	for name, row := range map[string]struct {
		head string
		want int
	}{
		"too large":       {"POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413},
		"both framings":   {"POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"not JSON":        {"POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 415},
		"JSON, too large": {"POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n", 413},
	} {
		for range 20 {
			c, err := net.Dial("tcp", st.addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(c, row.head+strings.Repeat("x", sent)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all, err := io.ReadAll(c)
			if err != nil {
				t.Fatalf("%s: the answer was lost: %v", name, err)
			}
			if got := parseReplies(t, "POST", all); len(got) != 1 || got[0].status != row.want || !got[0].last {
				t.Errorf("%s: %+v", name, got)
			}
			_ = c.Close()
		}
	}
}

// TestUnwantedUploadsAreReadOver: a refused upload of moderate size costs the
// client its answer neither way, and not the connection.
func TestUnwantedUploadsAreReadOver(t *testing.T) {
	st := newSite(t, limited)
	body := strings.Repeat("x", 3<<20)
	path := uploadPath(otherLog, knownRecord, warg.Sum([]byte("wanted")))
	for name, raw := range map[string]string{
		"with a length": request("POST", path, &body),
		"chunked":       "POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedBody(body, 1<<16) + "0\r\n\r\n",
	} {
		if r := st.one("POST", raw); r.status != 404 || r.body != typed("log", otherLog) || r.last {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestSlowHeads: a head that does not arrive in time is given up.
func TestSlowHeads(t *testing.T) {
	st := newSite(t, func(o *Options) { o.Limits.HeaderTimeout = 50 * time.Millisecond })
	for name, raw := range map[string]string{
		"nothing at all": "",
		"half a line":    "GET /healthz HT",
		"half a head":    "GET /healthz HTTP/1.1\r\nHost: a\r\n",
	} {
		got := st.exchange("GET", raw, false)
		if len(got) != 1 || got[0].status != 408 || got[0].body != message(408, "the request took too long to arrive") || !got[0].last {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// The limit is for heads alone: a body may take longer.
	c, err := net.Dial("tcp", st.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{")
	<-time.After(150 * time.Millisecond)
	_, _ = io.WriteString(c, `"logLength":3}`)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("a slow body: %v %v", resp, err)
	}
}

// padded is a request for logs whose body has about n bytes.
func padded(n int) string { return `{"logLength":3` + strings.Repeat(" ", n) + "}" }

// takeAll takes all of a budget for a stranger whose body is there.
func takeAll(t *testing.T, b *budget) (giveBack func()) {
	t.Helper()
	s := &stake{peer: netip.MustParsePrefix("192.0.2.1/32")}
	if !b.take(s, b.total) || !b.arrived(s) {
		t.Fatal("the budget is not free")
	}
	return func() { b.give(s) }
}

// TestBodyMemory: more bodies than the budget allows wait, and then get 503.
func TestBodyMemory(t *testing.T) {
	st := newSite(t, func(o *Options) { o.Limits.BodyMemory = 2 << 20 })
	giveBack := takeAll(t, st.s.memory.small)
	answered := make(chan reply, 1)
	go func() { answered <- st.post("/v1/fetch/logs", padded(2000)) }()
	select {
	case r := <-answered:
		t.Fatalf("answered without memory: %+v", r)
	case <-time.After(50 * time.Millisecond):
	}
	giveBack()
	if r := <-answered; r.status != 200 {
		t.Errorf("with memory: %+v", r)
	}
	if st.s.memory.used() != 0 {
		t.Errorf("%d bytes are still taken", st.s.memory.used())
	}
	st.s.memory.small.wait = 30 * time.Millisecond
	giveBack = takeAll(t, st.s.memory.small)
	start := time.Now()
	r := st.post("/v1/fetch/logs", padded(2000))
	if r.status != 503 || r.body != message(503, "too many request bodies at once") || r.header.Get("Retry-After") != "1" {
		t.Errorf("after the wait: %+v", r)
	}
	if took := time.Since(start); took < 30*time.Millisecond || took > 5*time.Second {
		t.Errorf("waited %v", took)
	}
	if r := st.post("/v1/fetch/logs", padded(800)); r.status != 200 {
		t.Errorf("a body within the first step, which everybody may have: %+v", r)
	}
	giveBack()
}

// TestAnnouncedBodiesTakeNoMemory: what is announced and not sent costs nothing.
func TestAnnouncedBodiesTakeNoMemory(t *testing.T) {
	st := newSite(t)
	var conns []net.Conn
	for range 50 {
		c, err := net.Dial("tcp", st.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		_, _ = io.WriteString(c, "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n  ")
	}
	// Wait until all have taken what they take.
	for deadline := time.Now().Add(5 * time.Second); st.s.memory.used() < 50*firstBodyStep && time.Now().Before(deadline); {
		<-time.After(5 * time.Millisecond)
	}
	if used := st.s.memory.used(); used != 50*firstBodyStep {
		t.Errorf("50 bodies that were announced with 2 MB hold %d bytes", used)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

// TestLargeBodiesLeaveRoom: large bodies that hold all the memory that bodies may grow by
// keep no ordinary request from being answered.
func TestLargeBodiesLeaveRoom(t *testing.T) {
	st := newSite(t, func(o *Options) { o.Limits.BodyMemory = 8 << 20 })
	st.s.memory.large.wait = 20 * time.Millisecond
	if st.s.memory.large.total != 6<<20 {
		t.Fatal("the budget for large bodies has not three quarters")
	}
	giveBack := takeAll(t, st.s.memory.large)
	if r := st.post("/v1/fetch/logs", padded(15<<10)); r.status != 200 {
		t.Errorf("an ordinary request: %d %s", r.status, r.body)
	}
	if r := st.post("/v1/fetch/logs", padded(20<<10)); r.status != 503 || r.header.Get("Retry-After") != "1" {
		t.Errorf("a large one: %+v", r)
	}
	giveBack()
	if r := st.post("/v1/fetch/logs", padded(20<<10)); r.status != 200 {
		t.Errorf("a large one, afterwards: %d %s", r.status, r.body)
	}
	if used := st.s.memory.used(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
	for _, total := range []int64{2 << 20, 3 << 20, 64 << 20} {
		if m := newBodyMemory(total, 0); m.large.total < warg.MaxJSONBody || m.small.total < smallBody {
			t.Errorf("of %d bytes: %d for large bodies, %d for small ones", total, m.large.total, m.small.total)
		}
	}
}

// TestUnfilledBodiesGiveWay: bodies that stopped arriving hold all the memory for small
// ones. They are left alone as long as nobody needs it, and told to come again when
// somebody does.
func TestUnfilledBodiesGiveWay(t *testing.T) {
	st := newSite(t, func(o *Options) { o.Limits.BodyMemory = 2 << 20 })
	st.s.memory.small.grace = 20 * time.Millisecond
	head := "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 16000\r\n\r\n"
	var hoarders []net.Conn
	for used := int64(0); used < st.s.memory.small.total; used += 16<<10 - firstBodyStep {
		c, err := net.Dial("tcp", st.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, head+strings.Repeat(" ", 5000))
		hoarders = append(hoarders, c)
	}
	for deadline := time.Now().Add(5 * time.Second); st.s.memory.small.used() < st.s.memory.small.total*9/10; {
		if time.Now().After(deadline) {
			t.Fatalf("%d bodies hold only %d bytes", len(hoarders), st.s.memory.small.used())
		}
		<-time.After(5 * time.Millisecond)
	}
	for range 20 {
		if r := st.post("/v1/fetch/logs", padded(15<<10)); r.status != 200 {
			t.Fatalf("an ordinary request beside bodies that do not arrive: %d %s", r.status, r.body)
		}
	}
	told := make([]byte, 4096)
	_ = hoarders[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _ := hoarders[0].Read(told)
	if got := string(told[:n]); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "\r\nRetry-After: 1\r\n") || !strings.Contains(got, "\r\nConnection: close\r\n") {
		t.Errorf("the first body that stopped was told %q", got)
	}
}
