package archive

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// Cargo is what an archive carries of one registry. It is a transport, so that a
// replica verifies it as it verifies the registry.
type Cargo struct {
	a *Archive
	r *section

	mu     sync.Mutex
	places map[warg.LogID]place // where reading of a log may go on
	leaves ledgerFrame          // read last
}

// ledgerFrame is a frame of the ledger. It is often read in small pieces, one for
// each checkpoint.
type ledgerFrame struct {
	number uint64 // from 1; 0 = none
	packed []byte
}

var _ upstream.Cargo = (*Cargo)(nil)

// Domain returns the registry's name.
func (c *Cargo) Domain() string { return c.r.domain }

// Counts returns how much there is.
func (c *Cargo) Counts() Counts { return c.r.counts }

// Largest returns the bytes of the largest content.
func (c *Cargo) Largest() int64 { return c.r.largest }

// Head returns the newest checkpoint.
func (c *Cargo) Head() warg.SignedCheckpoint { return c.r.head }

// Base returns the checkpoint that a delta builds on, zero if the cargo begins from
// nothing.
func (c *Cargo) Base() warg.SignedCheckpoint { return c.r.base }

// frames reads the stream from a place on. Where it must stop the kinds of the
// frames tell.
func (c *Cargo) frames(at int64) *frames { return c.a.s.frames(at, c.a.s.size, lookUpAhead) }

// Checkpoint implements [upstream.Transport].
func (c *Cargo) Checkpoint(context.Context) (warg.View, error) {
	return warg.View{Signed: c.r.head}, nil
}

// Ledger implements [upstream.Transport]. It fails below the base's length.
func (c *Cargo) Ledger(_ context.Context, start uint64, max int) ([]byte, error) {
	if start >= c.r.length || max <= 0 {
		return nil, nil
	}
	if start < c.r.first {
		return nil, warg.Errorf(warg.KindUnavailable, "the archive's ledger begins at index %d", c.r.first)
	}
	packed, err := c.ledgerFrame((start - c.r.first) / leavesPerFrame)
	if err != nil {
		return nil, err
	}
	packed = packed[(start-c.r.first)%leavesPerFrame*leafSize:]
	return packed[:min(uint64(len(packed)), uint64(max)*leafSize)], nil
}

// ledgerFrame reads a frame of the ledger. What it returned before does not change.
func (c *Cargo) ledgerFrame(n uint64) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaves.number == n+1 {
		return c.leaves.packed, nil
	}
	const full = frameOverhead + leavesPerFrame*leafSize
	packed, err := c.frames(c.r.ledgerAt + int64(n)*full).want(kindLedger)
	if err != nil {
		return nil, err
	}
	c.leaves = ledgerFrame{n + 1, packed}
	return packed, nil
}

// many reads frames of one kind that hold many things each.
func many[T any](c *Cargo, at int64, k kind, read func(d *decoder) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for f := c.frames(at); f.peek() == k; {
			payload, err := f.want(k)
			if err != nil {
				yield(none, err)
				return
			}
			for d := (&decoder{b: payload}); len(d.b) > 0; {
				v := read(d)
				if err := badness(d); !yield(v, err) || err != nil {
					return
				}
			}
		}
	}
}

// Checkpoints returns the older checkpoints, by ascending length.
func (c *Cargo) Checkpoints() iter.Seq2[warg.SignedCheckpoint, error] {
	return many(c, c.r.checkpointsAt, kindCheckpoints, (*decoder).checkpoint)
}

// BaseLogs returns the package logs that the archives before have, ascending.
func (c *Cargo) BaseLogs() iter.Seq2[upstream.CargoLog, error] {
	if c.r.base.IsZero() {
		return func(func(upstream.CargoLog, error) bool) {}
	}
	return many(c, c.r.baseLogsAt, kindBaseLogs, func(d *decoder) upstream.CargoLog {
		l := d.baseLog()
		return upstream.CargoLog{LogID: l.log, Count: l.records, Named: l.named}
	})
}

// BaseContents returns the digests of content that the archives before have,
// ascending.
func (c *Cargo) BaseContents() iter.Seq2[warg.Digest, error] {
	if c.r.base.IsZero() {
		return func(func(warg.Digest, error) bool) {}
	}
	return many(c, c.r.baseContentsAt, kindBaseContents, (*decoder).digest)
}

// Contents returns the content that is carried, by ascending digest.
func (c *Cargo) Contents() iter.Seq2[warg.ContentInfo, error] {
	return func(yield func(warg.ContentInfo, error) bool) {
		for f := c.frames(c.r.contentsAt); f.peek() == kindContent; {
			stat, err := nextContent(f)
			if err == nil {
				err = f.skip(sizeOnDisk(stat.Size))
			}
			if !yield(stat, err) || err != nil {
				return
			}
		}
	}
}

// nextContent reads a C frame.
func nextContent(f *frames) (warg.ContentInfo, error) {
	payload, err := f.want(kindContent)
	if err != nil {
		return warg.ContentInfo{}, err
	}
	d := &decoder{b: payload}
	stat := warg.ContentInfo{Digest: d.digest(), Size: int64(d.u64())}
	return stat, d.end()
}

// sizeOnDisk returns how many bytes the frames of content take.
func sizeOnDisk(size int64) int64 {
	return size + (size+bytesPerFrame-1)/bytesPerFrame*frameOverhead
}

// findContent returns the frames of content from its first bytes on.
func (c *Cargo) findContent(digest warg.Digest) (f *frames, size int64, err error) {
	at, ok := c.r.contentMarks.before(digest)
	if !ok {
		return nil, 0, warg.NotFound(warg.KindContentNotFound, digest)
	}
	for f = c.frames(at); f.peek() == kindContent; {
		stat, err := nextContent(f)
		switch order := stat.Digest.Compare(digest); {
		case err != nil:
			return nil, 0, err
		case order == 0:
			return f, stat.Size, nil
		case order > 0:
			return nil, 0, warg.NotFound(warg.KindContentNotFound, digest)
		}
		if err := f.skip(sizeOnDisk(stat.Size)); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, warg.NotFound(warg.KindContentNotFound, digest)
}

// Stat reports whether content is carried, and its size, or fails with
// KindContentNotFound.
func (c *Cargo) Stat(digest warg.Digest) (warg.ContentInfo, error) {
	_, size, err := c.findContent(digest)
	return warg.ContentInfo{Digest: digest, Size: size}, err
}

// Fetch implements [upstream.Transport].
func (c *Cargo) Fetch(_ context.Context, digest warg.Digest, keep func(body io.Reader, size int64) error) error {
	f, size, err := c.findContent(digest)
	if err != nil {
		return err
	}
	return keep(&body{f: f, left: size}, size)
}

// body reads content out of its frames.
type body struct {
	f    *frames
	left int64
	buf  []byte
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if len(b.buf) == 0 {
		if b.left == 0 {
			return 0, io.EOF
		}
		payload, err := b.f.want(kindBytes)
		if err == nil && len(payload) == 0 {
			err = b.f.s.damage(b.f.at, "content ends too early")
		}
		if err != nil {
			return 0, fmt.Errorf("reading content: %w", err)
		}
		b.buf = payload[:min(int64(len(payload)), b.left)]
		b.left -= int64(len(b.buf))
	}
	n := copy(p, b.buf)
	b.buf = b.buf[n:]
	return n, nil
}
