package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// rawRow is a request as bytes and what it must be answered with. A request that
// is refused closes the connection, so that nothing behind it is ever answered.
type rawRow struct {
	name   string
	raw    string
	status int
	body   string // exact
	open   bool   // the connection stays in order: the request behind it is answered
}

const checkpointHead = "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n"

// headRows are heads that HTTP implementations disagree about.
func headRows() []rawRow {
	bad := func(name, raw, why string) rawRow { return rawRow{name, raw, 400, message(400, why), false} }
	logs := "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
	many := func(n int) string { return strings.Repeat("A: b\r\n", n) }
	const hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n" // 33 bytes that must never be a request
	return []rawRow{
		bad("length and chunked", logs+"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", "both Content-Length and Transfer-Encoding"),
		bad("chunked and length", logs+"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX", "both Content-Length and Transfer-Encoding"),
		bad("length and identity", logs+"Content-Length: 33\r\nTransfer-Encoding: identity\r\n\r\n"+hidden, "both Content-Length and Transfer-Encoding"),
		bad("identity alone", logs+"Transfer-Encoding: identity\r\n\r\n"+hidden, "unsupported Transfer-Encoding"),
		bad("identity on GET", checkpointHead+"Transfer-Encoding: identity\r\n\r\n", "unsupported Transfer-Encoding"),
		bad("unknown encoding", logs+"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "malformed request"),
		bad("gzip, chunked", logs+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "malformed request"),
		bad("chunked, chunked", logs+"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "malformed request"),
		bad("encoding twice", logs+"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "malformed request"),
		bad("encoding on HTTP/1.0", "POST /v1/fetch/logs HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed request"),
		bad("encoding with a space before the colon", logs+"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "malformed request"),
		bad("encoding on a folded line", logs+"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "folded header line"),
		bad("length on a folded line", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\nX-A: b\r\n Content-Length: 33\r\n\r\n"+hidden, "folded header line"),
		bad("folded with a tab", checkpointHead+"X-A: b\r\n\tc\r\n\r\n", "folded header line"),
		bad("folded to nothing", checkpointHead+"X-A: b\r\n \r\n\r\n", "folded header line"),
		bad("space before the first name", "GET /v1/fetch/checkpoint HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n", "malformed request"),
		bad("space within a name", logs+"Content Length: 32\r\n\r\n"+hidden, "malformed header name"),
		bad("space within another name", checkpointHead+"X Y: 1\r\n\r\n", "malformed header name"),
		bad("no name", checkpointHead+": 1\r\n\r\n", "malformed request"),
		bad("no colon", checkpointHead+"nothing\r\n\r\n", "malformed request"),
		bad("a name with a bracket", checkpointHead+"X(Y): 1\r\n\r\n", "malformed request"),
		bad("a name with bytes above ASCII", checkpointHead+"X\xc3\xa9: 1\r\n\r\n", "malformed request"),
		bad("NUL in a value", checkpointHead+"X: a\x00b\r\n\r\n", "malformed request"),
		bad("CR in a value", checkpointHead+"X: a\rb\r\n\r\n", "malformed request"),
		bad("LF alone between lines", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "malformed header line"),
		bad("LF alone at the end of a line", checkpointHead+"X: b\n\r\n", "malformed header line"),

		bad("two lengths that differ", logs+"Content-Length: 1\r\nContent-Length: 3\r\n\r\nabc", "malformed request"),
		bad("two equal lengths", logs+"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "malformed request"),
		bad("a length with a plus", logs+"Content-Length: +2\r\n\r\n{}", "malformed request"),
		bad("a negative length", logs+"Content-Length: -2\r\n\r\n{}", "malformed request"),
		bad("a list of lengths", logs+"Content-Length: 2, 2\r\n\r\n{}", "malformed request"),
		bad("a hexadecimal length", logs+"Content-Length: 0x2\r\n\r\n{}", "malformed request"),
		bad("a length beyond 64 bits", logs+"Content-Length: 18446744073709551618\r\n\r\n{}", "malformed request"),
		bad("an empty length", logs+"Content-Length:\r\n\r\n", "malformed request"),

		bad("no Host", "GET /v1/fetch/checkpoint HTTP/1.1\r\n\r\n", "malformed request"),
		bad("an empty Host", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost:\r\n\r\n", "malformed request"),
		bad("two Hosts", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "malformed request"),
		bad("two equal Hosts", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "malformed request"),
		bad("Host with a user", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: u@evil\r\n\r\n", "malformed Host"),
		bad("Host in angle brackets", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: <evil>\r\n\r\n", "malformed Host"),
		bad("Host in quotes", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: \"a\"\r\n\r\n", "malformed Host"),
		bad("Host with a path", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a/b\r\n\r\n", "malformed request"),
		bad("Host with a long port", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a:123456\r\n\r\n", "malformed Host"),
		bad("Host with letters as port", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a:b\r\n\r\n", "malformed request"),
		bad("Host with an open bracket", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: [::1\r\n\r\n", "malformed request"),
		bad("Host with a comma", "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a,b\r\n\r\n", "malformed Host"),
		bad("two content types", "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", "duplicate header Content-Type"),
		bad("two Authorizations", checkpointHead+"Authorization: Bearer a\r\nauthorization: Bearer a\r\n\r\n", "duplicate header Authorization"),
		bad("two registries", checkpointHead+"Warg-Registry: own.example\r\nWarg-Registry: up.example\r\n\r\n", "duplicate header Warg-Registry"),
		bad("two equal registries", checkpointHead+"Warg-Registry: up.example\r\nwarg-registry: up.example\r\n\r\n", "duplicate header Warg-Registry"),

		bad("absolute form of another host", "GET http://evil/v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "the request target names another host than Host"),
		bad("absolute form with a user", "GET http://a@evil/v1/fetch/checkpoint HTTP/1.1\r\nHost: evil\r\n\r\n", "malformed request target"),
		bad("absolute form of another scheme", "GET ftp://a/v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
		bad("absolute form without a host", "GET http:///v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
		bad("absolute form without Host", "GET http://a/v1/fetch/checkpoint HTTP/1.0\r\n\r\n", "the request target names another host than Host"),
		bad("a target without a slash", "GET v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request"),
		bad("a target with a fragment", "GET /v1/fetch/checkpoint#x HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
		bad("a star that is not OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request"),
		bad("a target with a control byte", "GET /v1/\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request"),
		bad("an authority as target", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "malformed request target"),
		bad("a space in the target", "GET /v1/fetch /checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request"),
		bad("no version", "GET /v1/fetch/checkpoint\r\nHost: a\r\n\r\n", "malformed request"),
		bad("no method", " /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request"),
		bad("a method with a control byte", "GE\x01T /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request"),
		bad("TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "malformed request"),
		bad("an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed request"),
		bad("a lower-case protocol", "GET /v1/fetch/checkpoint http/1.1\r\nHost: a\r\n\r\n", "malformed request"),

		{"version 0.9", "GET /v1/fetch/checkpoint HTTP/0.9\r\nHost: a\r\n\r\n", 505, message(505, "only HTTP/1.0 and HTTP/1.1 are supported"), false},
		{"version 1.2", "GET /v1/fetch/checkpoint HTTP/1.2\r\nHost: a\r\n\r\n", 505, message(505, "only HTTP/1.0 and HTTP/1.1 are supported"), false},
		{"version 2.0", "GET /v1/fetch/checkpoint HTTP/2.0\r\nHost: a\r\n\r\n", 505, message(505, "only HTTP/1.0 and HTTP/1.1 are supported"), false},
		{"version 9.9", "GET /v1/fetch/checkpoint HTTP/9.9\r\nHost: a\r\n\r\n", 505, message(505, "only HTTP/1.0 and HTTP/1.1 are supported"), false},

		{"101 fields", "GET /healthz HTTP/1.1\r\nHost: a\r\n" + many(100) + "\r\n", 431, message(431, "too many header fields"), false},
		{"100 fields", "GET /healthz HTTP/1.1\r\nHost: a\r\n" + many(99) + "\r\n", 200, `{"status":"ok"}`, true},
		{"600 fields", "GET /healthz HTTP/1.1\r\nHost: a\r\n" + many(599) + "\r\n", 431, message(431, "too many header fields"), false},
		{"a field of 17 KiB", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 17<<10) + "\r\n\r\n", 431, message(431, "request head too large"), false},
		{"a field of 12 KiB", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 12<<10) + "\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"a target of 17 KiB", "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 431, message(431, "request head too large"), false},
		{"an endless head", "GET /healthz HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-Header: "+strings.Repeat("something that goes on and on", 10)+"\r\n", 5000), 431, message(431, "request head too large"), false},
		{"an endless head of small fields", "GET /healthz HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 50000), 431, message(431, "too many header fields"), false},

		{"another expectation", "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", 417, message(417, "unsupported expectation"), false},
		{"an expectation of HTTP/1.0 is ignored", "GET /healthz HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n", 200, `{"status":"ok"}`, true},

		{"absolute form", "GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"absolute form in other case", "GET HTTP://A/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"absolute form with a port", "GET https://a:8443/healthz?x=1 HTTP/1.1\r\nHost: a:8443\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"an IPv6 Host", "GET /healthz HTTP/1.1\r\nHost: [2001:db8::1]:8090\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"blank lines before a request", "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"HTTP/1.0 without Host", "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"HTTP/1.0 with a network path", "GET //healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 404, "", true},
		{"HTTP/1.0 with a network path and a real one", "GET //evil/healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 404, "", true},
		{"a query is ignored", "GET /healthz?x=../..&y=%00 HTTP/1.1\r\nHost: a\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"GET with a body", "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" + hidden, 200, `{"status":"ok"}`, true},
		{"GET with a chunked body", "GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n" + hidden + "\r\n0\r\n\r\n", 200, `{"status":"ok"}`, true},
		{"HEAD with a body", "HEAD /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" + hidden, 200, "", true},
	}
}

func TestHeads(t *testing.T) {
	st := newSite(t)
	rows := headRows()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.check(t, st) })
	}
	t.Logf("%d rows", len(rows))
}

// check sends the row's request with another behind it and compares all that is
// answered.
func (row rawRow) check(t *testing.T, st *site) reply {
	t.Helper()
	method, _, _ := strings.Cut(strings.TrimLeft(row.raw, "\r\n"), " ")
	here := &site{t, st.s, st.addr, st.own, st.up}
	got := here.exchange(method, row.raw+sentinel, false)
	want := 1
	if row.open {
		want = 2
	}
	if len(got) != want {
		t.Fatalf("%d answers, want %d: %+v", len(got), want, got)
	}
	first := got[0]
	if first.status != row.status || first.body != row.body {
		t.Errorf("answered %d %q\n  want %d %q", first.status, first.body, row.status, row.body)
	}
	checkCommon(t, first)
	if first.last == row.open {
		t.Errorf("the answer says that the connection is closed: %v", first.last)
	}
	return first
}

// checkCommon checks what every answer has.
func checkCommon(t *testing.T, r reply) {
	t.Helper()
	if r.header.Get("Access-Control-Allow-Origin") != "*" || !strings.HasPrefix(r.header.Get("Vary"), corsVary) {
		t.Errorf("CORS headers are missing: %v", r.header)
	}
	if r.header.Get("Server") != "" {
		t.Errorf("the answer names its software: %v", r.header)
	}
	if strings.HasPrefix(r.body, "{") && r.header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", r.header.Get("Content-Type"))
	}
	if r.body == "" && r.status >= 400 && r.header.Get("Content-Length") == "0" && r.header.Get("Content-Type") != "" {
		t.Errorf("an empty answer with content type %q", r.header.Get("Content-Type"))
	}
	if r.header.Get("Cache-Control") == "" && r.status != 200 {
		t.Errorf("status %d without Cache-Control", r.status)
	}
	if r.status >= 500 && r.header.Get("X-Request-Id") == "" {
		t.Errorf("status %d without a request id", r.status)
	}
}

// TestGateTrustsNobody: the gate finds what the HTTP library would have refused
// before it, so that an update of the library cannot open a hole.
func TestGateTrustsNobody(t *testing.T) {
	rows := []struct {
		name, raw string
		want      refusal
	}{
		{"two Hosts", "Host: a\r\nHost: a\r\n\r\n", refusedHostTwice},
		{"two lengths", "Content-Length: 1\r\nCONTENT-LENGTH: 1\r\n\r\n", refusedLengthTwice},
		{"two encodings", "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", refusedEncodingTwice},
		{"no name", ": x\r\n\r\n", refusedName},
		{"no colon", "x\r\n\r\n", refusedName},
		{"a space before the colon", "Host : a\r\n\r\n", refusedName},
		{"a bare LF", "\n", refusedLine},
		{"a line without end", "Host: a", refusedLine},
		{"a fold first", " Host: a\r\n\r\n", refusedFold},
		{"nothing", "", accepted},
		{"an end", "\r\n", accepted},
		{"all at once", "Host: a\r\nContent-Length: 1\r\nContent-Type: a\r\nAuthorization: b\r\nWarg-Registry: c\r\nX: y\r\nX: y\r\n\r\n", accepted},
	}
	for _, row := range rows {
		if _, got := inspectFields([]byte(row.raw)); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, refusals[got].message, refusals[row.want].message)
		}
	}
}

// FuzzGate: what the gate lets through has one reading.
func FuzzGate(f *testing.F) {
	for _, row := range headRows() {
		if len(row.raw) < 2000 {
			f.Add([]byte(row.raw))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var req fasthttp.Request
		if err := req.Header.Read(newReader(raw)); err != nil {
			return
		}
		seen, why := inspect(&req.Header)
		if why != accepted {
			if refusals[why].status == 0 || refusals[why].message == "" || why.String() == "" {
				t.Fatalf("refusal %d has no answer", why)
			}
			return
		}
		head := string(req.Header.RawHeaders())
		switch {
		case strings.Contains(head, "\n ") || strings.Contains(head, "\n\t"):
			t.Fatal("a folded line passed")
		case strings.Contains(strings.ReplaceAll(head, "\r\n", ""), "\n"):
			t.Fatal("a bare LF passed")
		case seen.has(fieldLength) && seen.has(fieldEncoding):
			t.Fatal("both framings passed")
		case seen.has(fieldEncoding) && req.Header.ContentLength() != chunked:
			t.Fatal("an encoding other than chunked passed")
		case seen.has(fieldLength) && fmt.Sprint(req.Header.ContentLength()) != strings.TrimLeft(string(req.Header.Peek("Content-Length")), "0") && req.Header.ContentLength() != 0:
			t.Fatalf("length %q read as %d", req.Header.Peek("Content-Length"), req.Header.ContentLength())
		}
		if p := rawPath(req.Header.RequestURI()); len(p) > 0 && p[0] != '/' && string(p) != "*" {
			t.Fatalf("path %q", p)
		}
	})
}
