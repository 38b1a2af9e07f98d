package anchor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// This file is about a history that is damaged. What was issued is not made untrue by
// that: every line that is whole is kept.

// Remains is what can be read of a history, whatever happened to it.
type Remains struct {
	Bytes  []byte                  // the file
	Lines  []warg.SignedCheckpoint // those that are whole, in the order of the file
	Lost   uint64                  // blocks that are not, without a last one that was being written
	Mixed  bool                    // lines are out of their order
	Header bool                    // the header is whole
	Gaps   bool                    // by the header: lines were lost before
}

// Damaged reports whether anything is missing that was written.
func (r *Remains) Damaged() bool { return r.Lost > 0 || r.Mixed || !r.Header }

// maxHistory bounds a history that is salvaged, in bytes: five million checkpoints.
const maxHistory = 1 << 30

// Salvage reads a history as far as it can be read; nil if there is none. Nothing is
// changed. A whole header of another registry or format is an error: that file is not
// damaged, it does not belong here.
func Salvage(fsys durable.FS, path string, registry warg.Digest) (*Remains, error) {
	b, err := durable.ReadFile(fsys, path, maxHistory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // no history, no remains
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	r := &Remains{Bytes: b}
	head := padded(b)
	if r.Header = sealed(head) && bytes.HasPrefix(head, []byte(historyMagic)); r.Header {
		if err := checkHeader(path, head, registry); err != nil {
			return nil, err
		}
		r.Gaps = hasGaps(head)
	}
	unknown := uint64(0) // blocks that are lost unless nothing stands behind them
	for b = b[min(len(b), blockSize):]; len(b) > 0; b = b[min(len(b), blockSize):] {
		block := padded(b)
		if durable.OnlyZeros(block) {
			unknown++
			continue
		}
		r.Lost += unknown
		unknown = 0
		c, err := decodeBlock(block)
		if err != nil {
			unknown = 1 // the last one was being written, perhaps
			continue
		}
		if n := len(r.Lines); n > 0 && r.Lines[n-1].Unverified().LogLength > c.Unverified().LogLength {
			r.Mixed = true
		}
		r.Lines = append(r.Lines, c)
	}
	return r, nil
}

// padded returns the first block of b, with zeros where the file ends within it.
func padded(b []byte) []byte {
	if len(b) >= blockSize {
		return b[:blockSize]
	}
	return append(bytes.Clone(b), make([]byte, blockSize-len(b))...)
}

// checkHeader returns an error unless a header that is whole is one of a registry.
func checkHeader(path string, head []byte, registry warg.Digest) error {
	switch {
	case binary.BigEndian.Uint32(head[8:]) != historyVer:
		return fmt.Errorf("%s has a format that this program does not know", path)
	case warg.Digest(head[16:]) != registry:
		return &DamageError{path, 0, "it belongs to another registry"}
	}
	return nil
}

// flagGaps stands in the header of a history that does not have all that was issued.
const flagGaps = 1

func hasGaps(head []byte) bool { return binary.BigEndian.Uint32(head[12:])&flagGaps != 0 }

// WriteHistory makes a history that has these lines, in the place of any other. gaps
// says that others were issued, and are lost. After a crash there is the old one or the
// new one.
func WriteHistory(fsys durable.FS, path string, registry warg.Digest, lines []warg.SignedCheckpoint, gaps bool) error {
	b := make([]byte, 0, (len(lines)+1)*blockSize)
	b = append(b, historyHeader(registry, gaps)...)
	for _, c := range lines {
		block, err := encodeBlock(c)
		if err != nil {
			return err
		}
		b = append(b, block...)
	}
	if err := durable.Replace(fsys, path, b, nil); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// HasGaps reports whether checkpoints were issued, up to the last one here, that are not
// in the history any more.
func (h *History) HasGaps() bool { return h.gaps }
