package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// line is the network between a replica and an HTTP server, in memory, so that its
// time is the bubble's. What is on it can be spoiled, in ways that real lines have.
type line struct {
	hosts    map[string]*piped // by name
	carriers sync.WaitGroup

	mu     sync.Mutex
	faults map[string]fault // by host
	dials  map[string]int   // by host
	open   map[net.Conn]struct{}
}

// fault is what a line does to what is sent over it. The zero one does nothing.
type fault struct {
	refuse    bool          // nobody listens; who was connected is cut off
	reset     int           // the connection breaks after so many bytes of an answer, 0 = never
	latency   time.Duration // of every piece, either way
	blackhole bool          // what is sent arrives nowhere; the connection stays
	halfOpen  bool          // the server hears, and is not heard
	rate      int           // bytes a second of answers, 0 = not limited
}

func newLine() *line {
	return &line{hosts: map[string]*piped{}, faults: map[string]fault{}, dials: map[string]int{}, open: map[net.Conn]struct{}{}}
}

// spoil changes what the line to a host does, to connections that are open as well.
func (l *line) spoil(host string, f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults[host] = f
}

func (l *line) now(host string) fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults[host]
}

// dialed returns how often a host was dialed.
func (l *line) dialed(host string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials[host]
}

// dial connects to a host of the line.
func (l *line) dial(ctx context.Context, _, address string) (net.Conn, error) {
	name, _, _ := net.SplitHostPort(address)
	host := l.hosts[name]
	l.mu.Lock()
	l.dials[name]++
	l.mu.Unlock()
	if host == nil || l.now(name).refuse {
		return nil, errors.New("connection refused")
	}
	client, near := net.Pipe()
	far, server := net.Pipe()
	select {
	case host.accepted <- server:
	case <-host.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	l.open[near], l.open[far] = struct{}{}, struct{}{}
	l.mu.Unlock()
	l.carriers.Go(func() { l.carry(name, far, near, false) })
	l.carriers.Go(func() { l.carry(name, near, far, true) })
	return client, nil
}

// carry carries what comes from one end to the other until one of them closes.
func (l *line) carry(host string, to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 1<<10)
	for carried := 0; ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		f := l.now(host)
		time.Sleep(f.latency)
		if answers && f.rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(f.rate))
		}
		carried += n
		switch {
		case f.refuse:
			return
		case f.blackhole, f.halfOpen && answers:
			continue
		case answers && f.reset > 0 && carried >= f.reset:
			_, _ = to.Write(buf[:max(n-(carried-f.reset), 0)])
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// close ends all connections, and waits for what is on its way.
func (l *line) close() {
	l.mu.Lock()
	for c := range l.open {
		c.Close()
	}
	l.mu.Unlock()
	l.carriers.Wait()
}

// piped is a listener whose connections are pipes.
type piped struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPiped() *piped { return &piped{accepted: make(chan net.Conn), closed: make(chan struct{})} }

func (p *piped) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *piped) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *piped) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

// host has a server listen under a name.
func (l *line) host(t *testing.T, name string, h http.Handler) (stop func()) {
	t.Helper()
	p := newPiped()
	l.hosts[name] = p
	server := &http.Server{Handler: h}
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(p) })
	return func() {
		server.Close()
		done.Wait()
	}
}

// wired is a world whose replica reaches its registry by HTTP, over a line.
type wired struct {
	*world
	line   *line
	served *served
	client *Client
}

// onLine runs a test in a bubble with a registry `up.example` on a line, and another
// host `cdn.example` that has its content as well.
func onLine(t *testing.T, test func(t *testing.T, w *wired)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		s := newServed(w.up)
		s.url = "http://up.example"
		l := newLine()
		stopAPI, stopCDN := l.host(t, "up.example", s.mux), l.host(t, "cdn.example", s.mux)
		c, err := NewClient(ClientOptions{Domain: "up.example", URL: s.url, AllowPrivateAddresses: true, TempDir: w.dir})
		if err != nil {
			t.Fatal(err)
		}
		transport := c.http.Transport.(*http.Transport)
		transport.DialContext = l.dial
		w.options.Transport = c
		w.restart()
		defer func() {
			w.replica.Close()
			c.Close()
			l.close()
			stopAPI()
			stopCDN()
		}()
		test(t, &wired{w, l, s, c})
	})
}

// content reads what the replica has of some content.
func (w *wired) content(name, version string) error {
	want := wargtest.Component(name + " " + version)
	f, err := w.replica.Open(w.t.Context(), warg.Sum(want))
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err == nil && string(got) != string(want) {
		return errors.New("other content")
	}
	return err
}
