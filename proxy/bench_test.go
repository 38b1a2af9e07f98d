package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// treadmill is a connection on which one request arrives again and again, and
// whose answers go nowhere: what is measured is everything but the kernel.
type treadmill struct {
	request []byte
	rest    []byte
	left    int
	sent    int64
}

func (c *treadmill) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		c.left--
		c.rest = c.request
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *treadmill) Write(p []byte) (int, error) { c.sent += int64(len(p)); return len(p), nil }

func (c *treadmill) ReadFrom(r io.Reader) (int64, error) {
	part := r.(*io.LimitedReader)
	n := part.N
	part.N = 0
	c.sent += n
	return n, nil
}

func (c *treadmill) Close() error                     { return nil }
func (c *treadmill) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *treadmill) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *treadmill) SetDeadline(time.Time) error      { return nil }
func (c *treadmill) SetReadDeadline(time.Time) error  { return nil }
func (c *treadmill) SetWriteDeadline(time.Time) error { return nil }

// run measures a request without the kernel.
func run(b *testing.B, s *Server, raw string) {
	b.Helper()
	s.http.MaxRequestsPerConn = 0
	l, _ := testListener(newScripted(), connCaps{total: 1, perPeer: 1})
	mill := &treadmill{request: []byte(raw), left: b.N}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	if err := s.http.ServeConn(newConn(mill, l, netip.Prefix{}, false)); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.SetBytes(mill.sent / int64(b.N))
}

// cpuTime returns the processor time that the process has used; on a machine with
// other work it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchServer(b *testing.B, own *canned) *Server {
	b.Helper()
	s, err := New(Options{Own: own, BaseURL: baseURL})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// cliHeaders are what the reference client sends.
const cliHeaders = "GET /v1/fetch/checkpoint HTTP/1.1\r\naccept: */*\r\nuser-agent: reqwest\r\nhost: pkg.example.com:8090\r\n\r\n"

func BenchmarkCheckpoint(b *testing.B) { run(b, benchServer(b, newCanned(b, ownDomain)), cliHeaders) }

func BenchmarkHealthz(b *testing.B) {
	run(b, benchServer(b, newCanned(b, ownDomain)), strings.Replace(cliHeaders, "/v1/fetch/checkpoint", "/healthz", 1))
}

// manyLogs answers with as many records as logs are asked for, ready to be sent.
type manyLogs struct {
	*canned
	record warg.Record
}

func (r *manyLogs) Logs(_ context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	page := warg.LogsPage{Packages: make([]warg.LogRecords, len(req.Packages))}
	for i, c := range req.Packages {
		page.Packages[i] = warg.LogRecords{LogID: c.LogID, Records: []warg.Record{r.record}}
	}
	return page, nil
}

func BenchmarkLogs(b *testing.B) {
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			own := newCanned(b, ownDomain)
			ready := api.AppendRecord(nil, warg.Record{Envelope: initRecord(own.key), Index: 1, Token: knownRecord})
			s, err := New(Options{Own: &manyLogs{own, warg.Record{JSON: ready}}, BaseURL: baseURL})
			if err != nil {
				b.Fatal(err)
			}
			req := warg.LogsRequest{LogLength: 3}
			for i := range n {
				req.Packages = append(req.Packages, warg.LogCursor{LogID: warg.LogID(warg.Sum([]byte{byte(i)}))})
			}
			run(b, s, post("/v1/fetch/logs", string(api.AppendLogsRequest(nil, req))))
		})
	}
}

func BenchmarkInclusion(b *testing.B) {
	run(b, benchServer(b, newCanned(b, ownDomain)), post("/v1/proof/inclusion", `{"logLength":3,"leafs":[0,2,2,2,2]}`))
}

func BenchmarkContent(b *testing.B) {
	for _, size := range []int{4 << 10, 32 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			own := newCanned(b, ownDomain)
			own.dir = b.TempDir()
			d := own.put(bytes.Repeat([]byte("x"), size))
			run(b, benchServer(b, own), get(contentURL(d)))
		})
	}
}

func BenchmarkGate(b *testing.B) {
	raw := []byte(strings.SplitN(cliHeaders, "\r\n", 2)[1])
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, why := inspectFields(raw); why != accepted {
			b.Fatal(why)
		}
	}
}

// BenchmarkContentOverLoopback is a round trip with the kernel in it: a stall
// between head and body would show as milliseconds.
func BenchmarkContentOverLoopback(b *testing.B) {
	for _, size := range []int{32 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			st := newSite(b)
			st.own.dir = b.TempDir()
			d := st.own.put(bytes.Repeat([]byte("x"), size))
			client := &http.Client{}
			defer client.CloseIdleConnections()
			b.SetBytes(int64(size))
			buf := make([]byte, 64<<10)
			for b.Loop() {
				resp, err := client.Get("http://" + st.addr + contentURL(d))
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{resp.Body}, buf); err != nil || n != int64(size) {
					b.Fatal(n, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
