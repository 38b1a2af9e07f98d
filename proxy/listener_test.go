package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a listener whose accepts are scripted.
type scripted struct {
	next   chan any // net.Conn or error
	closed chan struct{}
	once   sync.Once
}

func newScripted(steps ...any) *scripted {
	l := &scripted{next: make(chan any, len(steps)+8), closed: make(chan struct{})}
	for _, s := range steps {
		l.next <- s
	}
	return l
}

func (l *scripted) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case s := <-l.next:
		if err, ok := s.(error); ok {
			return nil, err
		}
		return s.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *scripted) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *scripted) Addr() net.Addr { return &net.TCPAddr{} }

// fakeConn has an address, and records what is written and whether it is closed.
type fakeConn struct {
	net.Conn
	addr    net.Addr
	mu      sync.Mutex
	written bytes.Buffer
	closes  int
}

func fakeFrom(addr string) *fakeConn {
	return &fakeConn{addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}
}

func (c *fakeConn) RemoteAddr() net.Addr             { return c.addr }
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }
func (c *fakeConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closes++
	return nil
}

func (c *fakeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written.Write(p)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// testListener returns a listener over a scripted one, and the refusals it counts.
func testListener(inner net.Listener, caps connCaps) (*listener, *[]connRefusal) {
	var refused []connRefusal
	return newListener(inner, caps, nil, quiet(), func(r connRefusal) { refused = append(refused, r) }), &refused
}

func TestListenerSurvivesFailingAccepts(t *testing.T) {
	failures := []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM,
		&net.OpError{Op: "accept", Err: syscall.EMFILE}, errors.New("something nobody has seen before"), io.EOF,
	}
	for _, failure := range failures {
		t.Run(failure.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var steps []any
				for range 12 {
					steps = append(steps, failure)
				}
				want := fakeFrom("192.0.2.1:1000")
				l, _ := testListener(newScripted(append(steps, want)...), connCaps{total: 10, perPeer: 10})
				start := time.Now()
				c, err := l.Accept()
				if err != nil {
					t.Fatalf("Accept: %v; it must not fail while the listener is open", err)
				}
				if c.(*conn).Conn != want {
					t.Fatal("Accept returned another connection")
				}
				// 5 ms, doubled eight times, then a second each.
				if waited := time.Since(start); waited < 4*time.Second || waited > 6*time.Second {
					t.Errorf("waited %v for 12 failures; want about 5 s", waited)
				}
			})
		})
	}
}

func TestListenerLogsFailuresRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var steps []any
		for range 40 {
			steps = append(steps, syscall.EMFILE)
		}
		inner := newScripted(append(steps, fakeFrom("192.0.2.1:1000"))...)
		l := newListener(inner, connCaps{total: 1, perPeer: 1}, nil, slog.New(slog.NewTextHandler(&out, nil)), func(connRefusal) {})
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\n"); n < 3 || n > 5 {
			t.Errorf("%d log lines in 33 s of failures; want one in ten seconds:\n%s", n, &out)
		}
	})
}

func TestListenerCloseEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []any
		for range 20 {
			steps = append(steps, syscall.EMFILE)
		}
		l, _ := testListener(newScripted(steps...), connCaps{total: 1, perPeer: 1})
		done := make(chan error)
		go func() {
			_, err := l.Accept()
			done <- err
		}()
		time.Sleep(1500 * time.Millisecond)
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	})
}

func TestListenerCaps(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}
	caps := connCaps{total: 6, perPeer: 2, trusted: trusted}
	rows := []struct {
		name    string
		addrs   []string
		refused []connRefusal // in order
	}{
		{"three of one IPv4 address", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"}, []connRefusal{refusedPeer}},
		{"two each of two addresses", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"}, nil},
		{"three of one IPv6 /64", []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:0:ffff::3]:1"}, []connRefusal{refusedPeer}},
		{"neighbouring /64s", []string{"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", "[2001:db8:0:1::2]:1", "[2001:db8:0:2::2]:1"}, nil},
		{"an IPv4 address written as IPv6 is the same", []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:2", "[::ffff:192.0.2.1]:3"}, []connRefusal{refusedPeer}},
		{"a trusted proxy is not counted by address", []string{"10.1.1.1:1", "10.1.1.1:2", "10.1.1.1:3", "[2001:db8:ffff::1]:1", "[2001:db8:ffff::1]:2", "[2001:db8:ffff::1]:3"}, nil},
		{"but in all", []string{"10.1.1.1:1", "10.1.1.1:2", "10.1.1.1:3", "10.1.1.1:4", "10.1.1.1:5", "10.1.1.1:6", "10.1.1.1:7"}, []connRefusal{refusedTotal}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			l, refused := testListener(newScripted(), caps)
			for _, a := range row.addrs {
				l.admit(fakeFrom(a))
			}
			if fmt.Sprint(*refused) != fmt.Sprint(row.refused) {
				t.Errorf("refused %v, want %v", *refused, row.refused)
			}
			if want := len(row.addrs) - len(row.refused); l.count() != want {
				t.Errorf("%d open, want %d", l.count(), want)
			}
		})
	}
}

func TestListenerForgetsClosedConnections(t *testing.T) {
	l, refused := testListener(newScripted(), connCaps{total: 1, perPeer: 1})
	for range 100 {
		c := l.admit(fakeFrom("[2001:db8::1]:1"))
		if c == nil {
			t.Fatalf("refused: %v", *refused)
		}
		_ = c.Close()
		_ = c.Close() // twice counts once
	}
	if len(l.peers) != 0 || len(l.open) != 0 {
		t.Errorf("left behind: %v %v", l.peers, l.open)
	}
}

func TestListenerTellsWhy(t *testing.T) {
	l, _ := testListener(newScripted(), connCaps{total: 1, perPeer: 1})
	l.admit(fakeFrom("192.0.2.1:1"))
	surplus := fakeFrom("192.0.2.2:1")
	l.admit(surplus)
	r := parseReplies(t, "GET", surplus.written.Bytes())
	if len(r) != 1 || r[0].status != 503 || r[0].body != `{"status":503,"message":"too many connections"}` || r[0].header.Get("Retry-After") != "1" {
		t.Errorf("answer %+v", r)
	}
	if surplus.closes != 1 {
		t.Errorf("closed %d times", surplus.closes)
	}

	byPeer, _ := testListener(newScripted(), connCaps{total: 9, perPeer: 1})
	byPeer.admit(fakeFrom("192.0.2.1:1"))
	surplus = fakeFrom("192.0.2.1:2")
	byPeer.admit(surplus)
	r = parseReplies(t, "GET", surplus.written.Bytes())
	if len(r) != 1 || r[0].status != 429 || r[0].body != `{"status":429,"message":"too many connections from this address"}` {
		t.Errorf("answer %+v", r)
	}

	overTLS := newListener(newScripted(), connCaps{}, &tls.Config{}, quiet(), func(connRefusal) {})
	surplus = fakeFrom("192.0.2.2:1")
	overTLS.admit(surplus)
	if surplus.written.Len() != 0 || surplus.closes != 1 {
		t.Errorf("plain text on a TLS port: %q", surplus.written.String())
	}
}

func TestListenerKeepsDescriptorsInReserve(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, refused := testListener(inner, connCaps{total: 10, perPeer: 10, lastFile: 3}) // 0 to 2 are taken always
	go func() {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err == nil {
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
		_ = l.Close()
	}()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if len(*refused) != 1 || (*refused)[0] != refusedDescriptors {
		t.Errorf("refused %v", *refused)
	}
}

func TestCapsLeaveDescriptors(t *testing.T) {
	rows := []struct {
		name            string
		files           int
		known           bool
		total, lastFile int
	}{
		{"plenty", 1 << 20, true, 16384, 1<<20 - 64},
		{"few", 1024, true, 960, 960},
		{"half of few", 64, true, 32, 32},
		{"half of few, and odd", 101, true, 51, 51},
		{"not known", 0, false, 16384, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			caps := Limits{}.withDefaults().caps(row.files, row.known)
			if caps.total != row.total || caps.lastFile != row.lastFile {
				t.Errorf("total %d, last file %d; want %d, %d", caps.total, caps.lastFile, row.total, row.lastFile)
			}
		})
	}
}

func TestTooFewDescriptors(t *testing.T) {
	for files, enough := range map[int]bool{0: false, 63: false, 64: true, 1 << 20: true} {
		if err := checkDescriptors(files, true); (err == nil) != enough {
			t.Errorf("%d descriptors: %v", files, err)
		}
	}
	if err := checkDescriptors(0, false); err != nil {
		t.Errorf("a limit that is not known: %v", err)
	}
}

// TestServerOutlivesExhaustion is the whole server on a process that runs out of
// descriptors: the port must answer again as soon as there are some.
func TestServerOutlivesExhaustion(t *testing.T) {
	s, err := New(Options{Own: newCanned(t, ownDomain), BaseURL: baseURL})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flaky := &failsFirst{Listener: inner, left: 5}
	served := make(chan error, 1)
	go func() { served <- s.Serve(flaky) }()
	st := &site{t: t, s: s, addr: inner.Addr().String()}
	if r := st.get("/healthz"); r.status != 200 {
		t.Errorf("status %d", r.status)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
		t.Error(err)
	}
}

// failsFirst fails the first accepts as a process without descriptors does.
type failsFirst struct {
	net.Listener
	left int
}

func (l *failsFirst) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}
