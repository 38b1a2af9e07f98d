package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// firstBackoff and lastBackoff bound the pause after an accept that failed:
	// short enough that a lost connection is not noticed, long enough that a
	// process out of descriptors does not burn a core on asking for more.
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second

	// acceptLogEvery is the least time between two log lines about failing accepts.
	acceptLogEvery = 10 * time.Second

	// keepAlivePeriod is the idle time after which the kernel probes a connection.
	keepAlivePeriod = 30 * time.Second

	// refusalWriteTime bounds the one small write that tells a surplus connection
	// why it is closed; the socket is new, so the write does not block in practice.
	refusalWriteTime = 100 * time.Millisecond
)

// listener accepts connections for the server and never gives up: an accept
// that fails, for want of descriptors or buffers for example, is tried again
// after a pause. It returns an error only once it is closed, because the server
// behind it would take any other error as the end of the port.
//
// It holds the caps on connections, in all and per address, and knows every
// open connection, so that a shutdown that has waited long enough can cut them.
type listener struct {
	net.Listener
	caps   connCaps
	tls    *tls.Config // nil: plain text
	log    *slog.Logger
	refuse func(connRefusal) // counts
	spread func() float64    // of a new connection; nil: none

	mu     sync.Mutex
	open   map[*conn]struct{}
	peers  map[netip.Prefix]int
	closed chan struct{}
	spare  sync.Pool // of *[writeBuffer]byte, for answers held back
}

// connCaps are the limits on open connections.
type connCaps struct {
	total    int            // connections in all
	perPeer  int            // connections of one IPv4 address or one IPv6 /64
	trusted  []netip.Prefix // addresses to which perPeer does not apply
	lastFile int            // descriptors from this number on are left to the stores; 0 = no such number
}

// connRefusal says why a new connection was turned away.
type connRefusal uint8

const (
	refusedTotal connRefusal = iota
	refusedPeer
	refusedDescriptors
	connRefusals
)

// String returns the label of the reason in metrics.
func (r connRefusal) String() string {
	return [...]string{"total", "address", "descriptors"}[r]
}

// answer is what a refused connection is told.
func (r connRefusal) answer() string {
	status, body := "503 Service Unavailable", `{"status":503,"message":"too many connections"}`
	if r == refusedPeer {
		status, body = "429 Too Many Requests", `{"status":429,"message":"too many connections from this address"}`
	}
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s",
		status, len(body), body)
}

func newListener(inner net.Listener, caps connCaps, cfg *tls.Config, log *slog.Logger, refuse func(connRefusal)) *listener {
	return &listener{
		Listener: inner, caps: caps, tls: cfg, log: log, refuse: refuse,
		open:   map[*conn]struct{}{},
		peers:  map[netip.Prefix]int{},
		closed: make(chan struct{}),
	}
}

// Accept returns the next connection that is within the caps. Its only error is
// [net.ErrClosed], after Close.
func (l *listener) Accept() (net.Conn, error) {
	pause, lastLog := time.Duration(0), time.Time{}
	for {
		raw, err := l.Listener.Accept()
		if err == nil {
			pause = 0
			if c := l.admit(raw); c != nil {
				return c, nil
			}
			continue
		}
		if l.isClosed() || errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		pause = min(max(2*pause, firstBackoff), lastBackoff)
		if now := time.Now(); now.Sub(lastLog) >= acceptLogEvery {
			lastLog = now
			l.log.LogAttrs(context.Background(), slog.LevelWarn, "accepting a connection, trying again", slog.Any("error", err), slog.Duration("pause", pause))
		}
		if !l.wait(pause) {
			return nil, net.ErrClosed
		}
	}
}

// wait pauses for d and reports whether the listener is still open.
func (l *listener) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.closed:
		return false
	}
}

// admit counts raw and wraps it, or turns it away and returns nil.
func (l *listener) admit(raw net.Conn) net.Conn {
	peer, counted := peerOf(raw.RemoteAddr(), l.caps.trusted)
	c := newConn(raw, l, peer, counted)
	if l.spread != nil {
		c.spread = l.spread()
	}
	if why, ok := l.enter(c); !ok {
		l.refuse(why)
		l.turnAway(raw, why)
		return nil
	}
	if k, ok := raw.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		// A connection that cannot be probed still serves; its peer may be gone already.
		_ = k.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlivePeriod, Interval: keepAlivePeriod})
	}
	if l.tls != nil {
		return newTLSConn(c, l.tls)
	}
	return c
}

// enter counts c if it is within the caps.
func (l *listener) enter(c *conn) (connRefusal, bool) {
	if l.caps.lastFile > 0 {
		if fd, ok := descriptorOf(c.Conn); ok && fd >= l.caps.lastFile {
			return refusedDescriptors, false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.open) >= l.caps.total:
		return refusedTotal, false
	case c.counted && l.peers[c.peer] >= l.caps.perPeer:
		return refusedPeer, false
	}
	l.open[c] = struct{}{}
	if c.counted {
		l.peers[c.peer]++
	}
	return 0, true
}

// leave forgets c.
func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[c]; !ok {
		return
	}
	delete(l.open, c)
	if !c.counted {
		return
	}
	if l.peers[c.peer]--; l.peers[c.peer] == 0 {
		delete(l.peers, c.peer)
	}
}

// turnAway closes a surplus connection, after a word of explanation where that
// does not need a TLS handshake.
func (l *listener) turnAway(raw net.Conn, why connRefusal) {
	if l.tls == nil && raw.SetWriteDeadline(time.Now().Add(refusalWriteTime)) == nil {
		_, _ = raw.Write([]byte(why.answer()))
	}
	_ = raw.Close()
}

// Close stops accepting. It may be called more than once.
func (l *listener) Close() error {
	l.mu.Lock()
	select {
	case <-l.closed:
		l.mu.Unlock()
		return nil
	default:
		close(l.closed)
	}
	l.mu.Unlock()
	return l.Listener.Close()
}

func (l *listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// count returns the number of open connections.
func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// cut closes every connection that is still open.
func (l *listener) cut() {
	l.mu.Lock()
	all := make([]*conn, 0, len(l.open))
	for c := range l.open {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Conn.Close()
	}
}
