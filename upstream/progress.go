package upstream

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Timing bounds how long an exchange may take. The zero value means the defaults.
type Timing struct {
	Head   time.Duration // until an answer's head is there
	Window time.Duration // a body that brings less than Bytes in a Window is given up
	Bytes  int64
}

func (t Timing) withDefaults() Timing {
	if t.Head == 0 {
		t.Head = headTimeout
	}
	if t.Window == 0 {
		t.Window = progressWindow
	}
	if t.Bytes == 0 {
		t.Bytes = progressBytes
	}
	return t
}

// boundedBody reads a body of at most limit bytes that keeps arriving. Read
// returns io.EOF only at the true end; a body that is longer, or that crawls,
// fails with a refusal. One that we ourselves slow down does not crawl. Close must be
// called.
type boundedBody struct {
	body   io.ReadCloser
	left   int64
	limit  int64
	cancel context.CancelFunc // ends the exchange, and so a Read that hangs

	timer *time.Timer
	seen  atomic.Int64 // bytes since the window began
	slow  atomic.Bool
	once  sync.Once
}

// bound starts watching a body. cancel must make a pending Read return.
func bound(body io.ReadCloser, limit int64, t Timing, cancel context.CancelFunc) *boundedBody {
	b := &boundedBody{body: body, left: limit, limit: limit, cancel: cancel}
	throttled, _ := body.(*throttledBody)
	b.timer = time.AfterFunc(t.Window, func() {
		ours := throttled != nil && throttled.held()
		if b.seen.Swap(0) < t.Bytes && !ours {
			b.slow.Store(true)
			b.cancel()
			return
		}
		b.timer.Reset(t.Window)
	})
	return b
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more than allowed, to see whether there is more
	}
	n, err := b.body.Read(p)
	b.seen.Add(int64(n))
	if b.left -= int64(n); b.left < 0 {
		return 0, refuse(ClassEndless, "the body has more than %d bytes", b.limit)
	}
	if err != nil && err != io.EOF && b.slow.Load() {
		err = &warg.Error{
			Kind:    warg.KindUpstreamTimeout,
			Message: "the upstream registry's answer came too slowly",
			Err:     &Refusal{Class: ClassSlow, Err: err},
		}
	}
	return n, err
}

// Close ends the exchange.
func (b *boundedBody) Close() error {
	var err error
	b.once.Do(func() {
		b.timer.Stop()
		err = b.body.Close()
		b.cancel()
	})
	return err
}
