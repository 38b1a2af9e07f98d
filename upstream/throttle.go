package upstream

import (
	"cmp"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// bandwidth bounds the bytes a second that all answers of a registry bring together.
// A nil one bounds nothing.
type bandwidth struct {
	rate int64 // bytes a second

	mu   sync.Mutex
	free time.Time // when the line has carried all that was read so far; under mu
}

// Pieces in which a line is shared.
const (
	// burstTime is how much of a line that nobody used may be used at once.
	burstTime = 250 * time.Millisecond
	// sliceTime is how long one reader may have the line to itself.
	sliceTime = 50 * time.Millisecond
	minSlice  = 512 // bytes, for the slowest of lines
)

func newBandwidth(rate int64) *bandwidth {
	if rate <= 0 {
		return nil
	}
	return &bandwidth{rate: rate}
}

// slice is how much may be read before it is paid for.
func (b *bandwidth) slice() int {
	return max(int(b.rate*int64(sliceTime)/int64(time.Second)), minSlice)
}

// pay notes that n bytes were read, and returns how long the line would still have
// been busy with them.
func (b *bandwidth) pay(n int) time.Duration {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if earliest := now.Add(-burstTime); b.free.Before(earliest) {
		b.free = earliest
	}
	b.free = b.free.Add(time.Duration(float64(n) / float64(b.rate) * float64(time.Second)))
	return b.free.Sub(now)
}

// throttledBody is a body on a line of limited width.
type throttledBody struct {
	io.ReadCloser
	ctx  context.Context
	line *bandwidth

	waits  atomic.Bool // for the line, at this moment
	waited atomic.Bool // for the line, since somebody asked
}

// held reports whether the line, and not the registry, has kept the body back since
// the last time somebody asked.
func (t *throttledBody) held() bool { return t.waited.Swap(false) || t.waits.Load() }

// throttle puts a body on the line.
func (b *bandwidth) throttle(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	if b == nil {
		return body
	}
	return &throttledBody{ReadCloser: body, ctx: ctx, line: b}
}

// Read implements [io.Reader].
func (t *throttledBody) Read(p []byte) (int, error) {
	if most := t.line.slice(); len(p) > most {
		p = p[:most]
	}
	n, err := t.ReadCloser.Read(p)
	if n > 0 {
		err = cmp.Or(t.wait(t.line.pay(n)), err)
	}
	return n, err
}

func (t *throttledBody) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t.waits.Store(true)
	defer t.waits.Store(false)
	t.waited.Store(true)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}
