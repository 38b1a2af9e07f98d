package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// rawUpstream answers every request on a connection with the same bytes, and then reads
// on, so that whoever uses the connection again gets them again.
func rawUpstream(t *testing.T, answer func(conn net.Conn, nth int)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	done, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { l.Close(); stop(); work.Wait() })
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(done, func() { conn.Close() })
			work.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for nth := 0; ; nth++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					answer(conn, nth)
				}
			})
		}
	})
	return "http://" + l.Addr().String()
}

// TestClientFraming: an answer whose end can be read in two ways is an error, and no
// byte of it is taken for the answer to another request. What stands behind a whole
// answer is nobody's.
func TestClientFraming(t *testing.T) {
	const body = `{"contents":{"logRoot":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","logLength":1,` +
		`"mapRoot":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","timestamp":1},"keyId":"sha256:aa",` +
		`"signature":"ecdsa-p256:MEUCIQCzWZBW6ux9LecP66Y+hjmLZTaTWRyLlJDIGKtYaRjuMgIgBbRb1bXBrrtk3nhAYKmvZzBZ1tn6xZvPPqfOBPbsL1k="}`
	evil := strings.Replace(body, `"logLength":1`, `"logLength":666`, 1)
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	length := func(s string) string { return "Content-Length: " + strconv.Itoa(len(s)) + "\r\n" }
	chunk := func(s string) string { return strconv.FormatInt(int64(len(s)), 16) + "\r\n" + s + "\r\n" }
	for _, k := range []struct {
		name, answer string
		good         bool // the true answer, and nothing else, may come of it
	}{
		{"honest", head + length(body) + "\r\n" + body, true},
		{"honest, in chunks", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body) + "0\r\n\r\n", true},
		{"two lengths", head + length(body) + length(body+" ") + "\r\n" + body + " ", false},
		{"a length and chunks", head + length("0") + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body) + "0\r\n\r\n", true},
		{"chunks within identity", head + "Transfer-Encoding: identity, chunked\r\n\r\n" + chunk(body) + "0\r\n\r\n", false},
		{"negative length", head + "Content-Length: -1\r\n\r\n" + body, false},
		{"length with a sign", head + "Content-Length: +" + strconv.Itoa(len(body)) + "\r\n\r\n" + body, false},
		{"length of two numbers", head + "Content-Length: " + strconv.Itoa(len(body)) + ", 1\r\n\r\n" + body, false},
		{"chunk size that is none", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body + "\r\n0\r\n\r\n", false},
		{"chunk longer than it says", head + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(body)-1), 16) + "\r\n" + body + "\r\n0\r\n\r\n", false},
		{"chunks without an end", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body) + "HTTP", false},
		{"no status line", "200 OK\r\n\r\n" + body, false},
		{"line break in a header", head + "X-A: b\r\n c: d\r\n" + length(body) + "\r\n" + body, true},
		{"a header without a name", head + ": x\r\n" + length(body) + "\r\n" + body, false},
		{"blank before the colon", head + "Content-Length : 3\r\n" + length(body) + "\r\n" + body, true},
		{"another answer behind it", head + length(body) + "\r\n" + body + head + length(evil) + "\r\n" + evil, true},
		{"another body behind it", head + length(body) + "\r\n" + body + evil, true},
		{"informational answers first", strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", 3) + head + length(body) + "\r\n" + body, true},
		{"a flood of informational answers", strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 4000)+"\r\n\r\n", 1000) + head + length(body) + "\r\n" + body, false},
		{"endless head", head + strings.Repeat("X: "+strings.Repeat("y", 4000)+"\r\n", 3000) + "\r\n" + body, false},
		{"cut short", head + length(body+" ") + "\r\n" + body, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			base := rawUpstream(t, func(conn net.Conn, _ int) {
				_, _ = io.WriteString(conn, k.answer)
				if !k.good {
					conn.Close()
				}
			})
			c, err := NewClient(ClientOptions{URL: base, Domain: "up.example", AllowPrivateAddresses: true})
			if err != nil {
				t.Fatal(err)
			}
			// What stands behind an answer ends the connection; a request that was sent on it
			// just then cannot be told from one that was asked for it. It comes from the same
			// registry either way, and is verified like any other.
			requests := 3
			if strings.HasSuffix(k.name, "behind it") {
				requests = 1
			}
			for nth := range requests {
				v, err := c.Checkpoint(t.Context())
				if (err == nil) != k.good {
					t.Fatalf("request %d: %v", nth, err)
				}
				if err == nil && v.Signed.Unverified().LogLength != 1 {
					t.Fatalf("request %d was answered with what stood behind another answer", nth)
				}
			}
		})
	}
}
