package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns a conn and its peer, in memory, with deadlines that follow the
// clock of a synctest bubble.
func pair() (*conn, net.Conn) {
	near, far := net.Pipe()
	l, _ := testListener(newScripted(), connCaps{total: 1, perPeer: 1})
	return newConn(near, l, netip.Prefix{}, false), far
}

func TestPacedReads(t *testing.T) {
	rows := []struct {
		name  string
		bytes int           // in one step
		every time.Duration // between steps
		want  string        // "all" arrives, or it is "cut"
	}{
		{"steady and fast", 64 << 10, time.Millisecond, "all"},
		{"just fast enough", 2 << 10, 1990 * time.Millisecond, "all"},
		{"just too slow", 2 << 10, 2100 * time.Millisecond, "cut"},
		{"a byte a second", 1, time.Second, "cut"},
		{"silence", 1, time.Hour, "cut"},
		{"bursts with pauses below the window", 40 << 10, 29 * time.Second, "all"},
		{"bursts with pauses above the window", 1 << 20, 31 * time.Second, "cut"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := pair()
				if err := c.SetReadDeadline(time.Now().Add(unhurried)); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					defer far.Close()
					for range 100 {
						if _, err := far.Write(make([]byte, row.bytes)); err != nil {
							return
						}
						time.Sleep(row.every)
					}
				})
				_, err := io.Copy(io.Discard, c)
				_ = c.Close()
				wg.Wait()
				switch {
				case row.want == "all" && err != nil:
					t.Errorf("cut: %v", err)
				case row.want == "cut" && !errors.Is(err, os.ErrDeadlineExceeded):
					t.Errorf("not cut: %v", err)
				}
			})
		})
	}
}

// TestOurOwnSlownessDoesNotCount: time that the handler takes between reads is not
// the client's.
func TestOurOwnSlownessDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair()
		_ = c.SetReadDeadline(time.Time{})
		go func() {
			for range 5 {
				_, _ = far.Write([]byte("x"))
			}
			_ = far.Close()
		}()
		for range 5 {
			time.Sleep(time.Minute)
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
	})
}

func TestPlainDeadlinesStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair()
		start := time.Now()
		_ = c.SetReadDeadline(start.Add(10 * time.Second))
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if _, err := far.Write([]byte("x")); err != nil { // one byte a second does not extend it
					return
				}
				time.Sleep(time.Second)
			}
		})
		_, err := io.Copy(io.Discard, c)
		defer wg.Wait()
		defer c.Close()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if c.ended {
			t.Error("a deadline is no end of the peer's side")
		}
	})
}

func TestConnRemembersTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair()
		go func() {
			_, _ = far.Write([]byte("ab"))
			_ = far.Close()
		}()
		if b, err := io.ReadAll(c); string(b) != "ab" || err != nil || !c.ended {
			t.Errorf("%q %v, ended %v", b, err, c.ended)
		}
		_ = c.Close()
	})
}

// lastWords returns data and the end in one read, as TLS does.
type lastWords struct{ net.Conn }

func (lastWords) Read(p []byte) (int, error) { return copy(p, "x"), io.EOF }

func TestEndWithDataIsSeenByTheNextRead(t *testing.T) {
	c, far := pair()
	defer far.Close()
	c.Conn = lastWords{c.Conn}
	if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil || c.ended {
		t.Errorf("%d %v, ended %v", n, err, c.ended)
	}
}

func TestSlowReadersAreCut(t *testing.T) {
	rows := []struct {
		name  string
		bytes int
		every time.Duration
		want  string
	}{
		{"fast", 64 << 10, time.Millisecond, "all"},
		{"fast enough", 40 << 10, 30 * time.Second, "all"},
		{"slow", 1 << 10, 3 * time.Second, "cut"},
		{"stopped", 1, time.Hour, "cut"},
	}
	for _, row := range rows {
		for _, how := range []string{"write", "file"} {
			t.Run(row.name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, far := pair()
					var wg sync.WaitGroup
					wg.Go(func() {
						buf := make([]byte, row.bytes)
						for {
							if _, err := io.ReadFull(far, buf); err != nil {
								return
							}
							time.Sleep(row.every)
						}
					})
					start := time.Now()
					data := make([]byte, 1<<20)
					var err error
					if how == "write" {
						_, err = c.Write(data)
					} else {
						_, err = c.ReadFrom(&io.LimitedReader{R: bytes.NewReader(data), N: int64(len(data))})
					}
					took := time.Since(start)
					_ = far.Close()
					_ = c.Close()
					wg.Wait()
					switch {
					case row.want == "all" && err != nil:
						t.Errorf("cut: %v", err)
					case row.want == "cut" && !errors.Is(err, os.ErrDeadlineExceeded):
						t.Errorf("not cut: %v", err)
					case row.want == "cut" && took > 2*(paceWindow+writeSlack):
						t.Errorf("cut only after %v", took)
					}
				})
			})
		}
	}
}

// counting counts writes and joins buffers like a TCP connection.
type counting struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (c *counting) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, bytes.Clone(p))
	return len(p), nil
}

func (c *counting) SetWriteDeadline(time.Time) error { return nil }
func (c *counting) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *counting) Close() error                     { return nil }

func (c *counting) all() string { return string(bytes.Join(c.writes, nil)) }

func held(t *testing.T) (*conn, *counting) {
	t.Helper()
	raw := &counting{}
	l, _ := testListener(newScripted(), connCaps{total: 1, perPeer: 1})
	return newConn(raw, l, netip.Prefix{}, false), raw
}

// TestFullBufferWaits: a full response buffer is not sent alone, and never stays.
func TestFullBufferWaits(t *testing.T) {
	full := bytes.Repeat([]byte("h"), writeBuffer)
	want := string(full)
	rows := []struct {
		name string
		do   func(c *conn)
		tail string
	}{
		{"the rest follows", func(c *conn) { _, _ = c.Write([]byte("rest")) }, "rest"},
		{"the server goes on to read", func(c *conn) { _, _ = c.Read(make([]byte, 1)) }, ""},
		{"a file follows", func(c *conn) { _, _ = c.ReadFrom(strings.NewReader("file")) }, "file"},
		{"the connection is closed", func(c *conn) { _ = c.Close() }, ""},
		{"another full buffer", func(c *conn) { _, _ = c.Write(full); _ = c.Close() }, want},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c, raw := held(t)
			if n, err := c.Write(full); n != len(full) || err != nil || len(raw.writes) != 0 {
				t.Fatalf("%d %v, %d writes", n, err, len(raw.writes))
			}
			row.do(c)
			if raw.all() != want+row.tail {
				t.Errorf("sent %d bytes, want %d", len(raw.all()), len(want+row.tail))
			}
		})
	}
	t.Run("other sizes leave at once", func(t *testing.T) {
		c, raw := held(t)
		for _, n := range []int{1, writeBuffer - 1, writeBuffer + 1} {
			_, _ = c.Write(make([]byte, n))
		}
		if len(raw.writes) != 3 {
			t.Errorf("%d writes", len(raw.writes))
		}
	})
}

// TestSendfileResumes: a file goes out in whole over a real connection whose
// reader is slower than the socket buffer, and the file's position shows that it
// was not copied through a buffer that was lost.
func TestFilesOverTCP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "content")
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, _ := testListener(inner, connCaps{total: 4, perPeer: 4})
	defer l.Close()
	got := make(chan []byte)
	go func() {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			got <- nil
			return
		}
		b, _ := io.ReadAll(c)
		got <- b
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	n, err := c.(io.ReaderFrom).ReadFrom(&io.LimitedReader{R: f, N: 3 << 20})
	_ = c.Close()
	if n != 3<<20 || err != nil {
		t.Errorf("sent %d, %v", n, err)
	}
	if b := <-got; !bytes.Equal(b, data[5:5+3<<20]) {
		t.Errorf("received %d bytes", len(b))
	}
}

// TestLingerKeepsTheAnswer: closing with unread input must not lose what was
// written.
func TestLingerKeepsTheAnswer(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, _ := testListener(inner, connCaps{total: 4, perPeer: 4})
	defer l.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("answer"))
	c.(*conn).linger()
	go c.Close()
	if b, err := io.ReadAll(client); string(b) != "answer" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

func TestPeerOf(t *testing.T) {
	if _, counted := peerOf(&net.UnixAddr{Name: "x"}, nil); counted {
		t.Error("a Unix socket has no address to count")
	}
	p, _ := peerOf(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, nil)
	if p.String() != "fe80::/64" {
		t.Errorf("zone: %s", p)
	}
}
