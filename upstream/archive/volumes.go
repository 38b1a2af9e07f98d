package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"github.com/entrepot/entrepot/warg"
)

// MinPart is the least size that parts may have, in bytes: less than one frame of
// content would make more parts than anybody can handle.
const MinPart = 64 << 10

// Volumes cuts a stream into parts. It is the [io.Writer] that an archive is written
// to; Close must be called at its end.
type Volumes struct {
	next func(part int) (io.WriteCloser, error)
	size int64 // of a part with its header

	out  io.WriteCloser
	part int
	room int64 // left in out
	sum  hash.Hash
	err  error
}

// NewVolumes returns volumes whose parts have at most size bytes, 0 for one part of
// any size. next opens the parts one after another, from 0.
func NewVolumes(next func(part int) (io.WriteCloser, error), size int64) *Volumes {
	if size == 0 {
		size = math.MaxInt64
	}
	return &Volumes{next: next, size: size, sum: sha256.New()}
}

// Write implements [io.Writer].
func (v *Volumes) Write(b []byte) (n int, err error) {
	for n < len(b) && v.err == nil {
		if v.room == 0 {
			v.err = v.turn()
			continue
		}
		step := int(min(v.room, int64(len(b)-n)))
		if _, v.err = v.out.Write(b[n : n+step]); v.err != nil {
			break
		}
		v.sum.Write(b[n : n+step])
		v.room -= int64(step)
		n += step
	}
	return n, v.err
}

// turn closes a part and opens the next. There is none without at least one byte.
func (v *Volumes) turn() error {
	if v.size <= partHeader || v.part == maxParts {
		return fmt.Errorf("an archive cannot be split into parts of %d bytes: at most %d parts of at least %d", v.size, maxParts, MinPart)
	}
	if err := v.closePart(); err != nil {
		return err
	}
	out, err := v.next(v.part)
	if err != nil {
		return err
	}
	v.out = out
	h := header{number: uint32(v.part)}
	h.before = warg.Digest(v.sum.Sum(nil))
	if _, err := out.Write(h.encode()); err != nil {
		return err
	}
	v.part++
	v.room = v.size - partHeader
	return nil
}

func (v *Volumes) closePart() error {
	if v.out == nil {
		return nil
	}
	out := v.out
	v.out, v.room = nil, 0
	return out.Close()
}

// Close closes the last part. It returns the first error there was.
func (v *Volumes) Close() error {
	err := v.closePart()
	if v.err != nil {
		return errors.Join(v.err, err)
	}
	v.err = errors.New("writing to closed volumes")
	return err
}
