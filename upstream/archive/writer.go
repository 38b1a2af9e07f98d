package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/entrepot/entrepot/warg"
)

// writer writes the frames of a stream. Its first error stays.
type writer struct {
	out io.Writer
	sum hash.Hash // of everything written
	buf []byte
	err error
}

func newWriter(out io.Writer) *writer { return &writer{out: out, sum: sha256.New()} }

// frame writes a frame.
func (w *writer) frame(k kind, payload []byte) {
	if w.err != nil {
		return
	}
	if int64(len(payload)) > k.limit() {
		w.err = fmt.Errorf("%s of %d bytes is too large to be archived", k, len(payload))
		return
	}
	b := append(w.buf[:0], byte(k))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	w.sum.Write(b)
	_, w.err = w.out.Write(b)
	w.buf = b
}

// write writes a frame whose payload an encoder made.
func (w *writer) write(k kind, fill func(e *encoder)) {
	e := &encoder{}
	fill(e)
	if e.err != nil && w.err == nil {
		w.err = fmt.Errorf("archiving %s: %w", k, e.err)
	}
	w.frame(k, e.b)
}

// end writes the last frame and returns the archive's id.
func (w *writer) end() (id warg.Digest, err error) {
	w.sum.Sum(id[:0])
	w.frame(kindEnd, id[:])
	return id, w.err
}

// row collects small things of one kind into frames, all but the last of them full.
type row struct {
	w    *writer
	kind kind
	per  int
	n    int
	e    encoder
}

func (w *writer) row(k kind, per int) *row { return &row{w: w, kind: k, per: per} }

// add adds one thing, which fill writes down.
func (r *row) add(fill func(e *encoder)) {
	fill(&r.e)
	if r.n++; r.n == r.per {
		r.flush()
	}
}

// flush writes what was collected.
func (r *row) flush() {
	if r.e.err != nil && r.w.err == nil {
		r.w.err = fmt.Errorf("archiving %s: %w", r.kind, r.e.err)
	}
	if r.n > 0 {
		r.w.frame(r.kind, r.e.b)
	}
	r.n, r.e.b = 0, r.e.b[:0]
}
