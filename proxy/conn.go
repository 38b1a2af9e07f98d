package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// paceWindow and paceBytes are the progress rule: a peer that we wait for must
	// move 1 KiB a second, measured over 30 seconds of waiting.
	paceWindow = 30 * time.Second
	paceBytes  = 30 << 10

	// pacedFrom separates deadlines of the server from "no deadline, but keep
	// moving": a read deadline further away than this, or none, means the latter.
	pacedFrom = time.Hour

	// unhurried is the read timeout that asks for the progress rule.
	unhurried = 2 * pacedFrom

	// writeSlack is how much later than paceWindow a write may be given up, so
	// that the deadline need not be set anew for each write.
	writeSlack = 10 * time.Second

	// writeBuffer is the size of the server's response buffer. A write of exactly
	// this size is a buffer that was full, with more of the same answer to come.
	writeBuffer = 4096

	// lingerTime and lingerBytes bound how long a connection that is closed with
	// unread input is drained, so that the answer is not lost to a reset.
	lingerTime  = 250 * time.Millisecond
	lingerBytes = 256 << 10
)

// conn is a client's connection. It enforces progress instead of plain
// deadlines, remembers that the peer ended its side early, joins the two halves
// of an answer that does not fit the response buffer into one system call, and
// forwards ReadFrom so that files go out by sendfile.
type conn struct {
	net.Conn
	owner   *listener
	peer    netip.Prefix
	counted bool
	spread  float64 // see later
	sealed  bool    // what is read and written are TLS records

	// Of the goroutine that serves the connection.
	paced bool
	pace  pace
	head  headLines
	ended bool // the peer ended its side, or the connection broke, while we read

	stopped   atomic.Bool // no more of the body that is being read is wanted
	lingering atomic.Bool // close without losing the answer
	closing   sync.Once

	mu         sync.Mutex         // guards what follows, and the order of writes
	held       *[writeBuffer]byte // a full response buffer, waiting for the rest of its answer
	writeUntil time.Time          // the write deadline that is set now
	writeLimit time.Time          // a write deadline asked for by the layer above
}

// pace counts how long we waited for a peer, and what moved meanwhile.
type pace struct {
	waited time.Duration
	moved  int64
}

// add counts one wait.
func (p *pace) add(waited time.Duration, moved int64) {
	p.waited += waited
	if p.moved += moved; p.moved >= paceBytes {
		*p = pace{}
	}
}

func newConn(raw net.Conn, owner *listener, peer netip.Prefix, counted bool) *conn {
	return &conn{Conn: raw, owner: owner, peer: peer, counted: counted}
}

// base lets handlers find the conn below a TLS connection as well.
func (c *conn) base() *conn { return c }

// maxSpread is how much longer than its nominal time a wait for a peer may be, as a part
// of it. Connections that came at one moment are so not ended at one moment, which would
// keep everybody else waiting, and again when they all come back.
const maxSpread = 0.2

// later stretches a wait by the connection's own part of maxSpread.
func (c *conn) later(d time.Duration) time.Duration {
	return d + time.Duration(c.spread*float64(d))
}

// SetReadDeadline sets the deadline of reads, and says that a head is next. One that is further away than
// pacedFrom, or none, is replaced by the progress rule.
func (c *conn) SetReadDeadline(t time.Time) error {
	left := time.Until(t)
	c.paced = t.IsZero() || left > pacedFrom
	c.pace = pace{}
	if c.paced {
		return nil // set before each read
	}
	c.head.begin()
	return c.Conn.SetReadDeadline(t.Add(c.later(left) - left))
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline bounds writes further than the progress rule does.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeLimit, c.writeUntil = t, time.Time{}
	return nil
}

// Read reads from the peer, after everything written has left.
func (c *conn) Read(p []byte) (n int, err error) {
	if err := c.release(); err != nil {
		return 0, err
	}
	switch {
	case c.paced:
		n, err = c.pacedRead(p)
	case c.head.full:
		return 0, errManyLines
	case c.sealed:
		n, err = c.Conn.Read(p)
	default:
		n, err = c.Conn.Read(p)
		n = c.head.see(p[:n])
	}
	return c.note(n, err)
}

// note remembers an end. One that comes together with data is left to the next
// read, because the data may be all that was wanted.
func (c *conn) note(n int, err error) (int, error) {
	switch {
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
	case n > 0:
		return n, nil
	default:
		c.ended = true
	}
	return n, err
}

func (c *conn) pacedRead(p []byte) (int, error) {
	start := time.Now()
	if err := c.Conn.SetReadDeadline(start.Add(c.later(paceWindow) - c.pace.waited)); err != nil {
		return 0, err
	}
	if c.stopped.Load() { // after the deadline was set, or it could replace that of stopReading
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.Conn.Read(p)
	c.pace.add(time.Since(start), int64(n))
	return n, err
}

// stopReading ends a read of a body that is under way, and those to come, from any
// goroutine. The connection is good for an answer then, and for nothing after it.
func (c *conn) stopReading() {
	if c == nil {
		return
	}
	c.stopped.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // if that fails, the connection is gone already
}

// release sends what is held back.
func (c *conn) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return nil
	}
	held := c.held
	c.held = nil
	_, err := c.send(held[:])
	c.owner.spare.Put(held)
	return err
}

// Write writes p, or holds it back for a moment if it is a full buffer whose
// answer goes on.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.held != nil:
		return c.join(p)
	case len(p) == writeBuffer && !c.sealed:
		if c.held, _ = c.owner.spare.Get().(*[writeBuffer]byte); c.held == nil {
			c.held = new([writeBuffer]byte)
		}
		return copy(c.held[:], p), nil
	}
	return c.send(p)
}

// join sends what is held back and p with one system call where possible.
func (c *conn) join(p []byte) (int, error) {
	held := c.held
	c.held = nil
	defer c.owner.spare.Put(held)
	if err := c.arm(); err != nil {
		return 0, err
	}
	two := net.Buffers{held[:], p}
	n, err := two.WriteTo(c.Conn)
	if err == nil {
		return len(p), nil
	}
	if sent := int(n) - writeBuffer; sent >= 0 && c.mayGoOn(err, n) {
		more, err := c.send(p[sent:])
		return sent + more, err
	}
	return max(int(n)-writeBuffer, 0), err
}

// send writes all of p as long as the peer keeps taking it.
func (c *conn) send(p []byte) (sent int, err error) {
	for {
		if err = c.arm(); err != nil {
			return sent, err
		}
		n, err := c.Conn.Write(p[sent:])
		sent += n
		if err == nil || !c.mayGoOn(err, int64(n)) {
			return sent, err
		}
	}
}

// arm sets the write deadline unless the one that is set is late enough.
func (c *conn) arm() error {
	now := time.Now()
	if c.writeUntil.Sub(now) >= paceWindow {
		return nil
	}
	c.writeUntil = now.Add(c.later(paceWindow + writeSlack))
	t := c.writeUntil
	if !c.writeLimit.IsZero() && c.writeLimit.Before(t) {
		t, c.writeUntil = c.writeLimit, time.Time{}
	}
	return c.Conn.SetWriteDeadline(t)
}

// mayGoOn reports whether a write that timed out had moved enough to continue.
func (c *conn) mayGoOn(err error, moved int64) bool {
	c.writeUntil = time.Time{}
	return errors.Is(err, os.ErrDeadlineExceeded) && moved >= paceBytes &&
		(c.writeLimit.IsZero() || time.Now().Before(c.writeLimit))
}

// ReadFrom sends a file by sendfile where the connection can, anything else by
// copying.
func (c *conn) ReadFrom(r io.Reader) (sent int64, err error) {
	if err := c.release(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rf, can := c.Conn.(io.ReaderFrom)
	part, limited := r.(*io.LimitedReader)
	if !can || !limited {
		return io.Copy(sender{c}, r)
	}
	for {
		if err = c.arm(); err != nil {
			return sent, err
		}
		before := part.N
		n, err := rf.ReadFrom(part)
		sent += n
		// Only sendfile leaves the file where the peer stopped taking it; a copy
		// through memory has lost what it read and did not write.
		if err == nil || before-part.N != n || !c.mayGoOn(err, n) {
			return sent, err
		}
	}
}

// sender is the writing side of a conn whose lock is held.
type sender struct{ c *conn }

func (s sender) Write(p []byte) (int, error) { return s.c.send(p) }

// linger makes Close wait a moment for the peer to take the answer.
func (c *conn) linger() { c.lingering.Store(true) }

// Close sends what is held back and closes the connection.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		c.flushHeld()
		if c.lingering.Load() {
			c.drain()
		}
		err = c.Conn.Close()
		c.owner.leave(c)
	})
	return err
}

// flushHeld sends what is held back unless a write is under way, in which case
// nothing is.
func (c *conn) flushHeld() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if c.held != nil {
		_, _ = c.send(c.held[:])
		c.held = nil
	}
}

// drain ends our side and reads a little of what the peer still sends: closing
// with unread input would reset the connection, and the peer could lose the
// answer that says why.
func (c *conn) drain() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
}

// tlsConn is a conn with TLS above it.
type tlsConn struct {
	*tls.Conn
	below *conn
}

func newTLSConn(c *conn, cfg *tls.Config) *tlsConn {
	c.sealed = true
	return &tlsConn{tls.Server(c, cfg), c}
}

func (t *tlsConn) base() *conn { return t.below }

// Read reads plain text. An end announced by TLS is an end as well.
func (t *tlsConn) Read(p []byte) (int, error) {
	c := t.below
	if c.head.full && !c.paced {
		return 0, errManyLines
	}
	n, err := t.Conn.Read(p)
	if !c.paced {
		n = c.head.see(p[:n])
	}
	return c.note(n, err)
}
