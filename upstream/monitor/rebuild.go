package monitor

import (
	"errors"
	"fmt"
	"io"
)

// ledgerChunk is how many bytes of a ledger are read at a time: whole leaves.
const ledgerChunk = 1024 * leafSize

// roots are the two roots of a registry at one length.
type roots struct{ logRoot, mapRoot hash }

// trees are the two trees of a registry at one length.
type trees struct {
	log   *edge
	heads *heads
}

func newTrees() *trees { return &trees{&edge{}, newHeads()} }

func (t *trees) clone() *trees { return &trees{t.log.clone(), t.heads.clone()} }

func (t *trees) add(l leaf) {
	t.log.append(logLeaf(l))
	t.heads.set(l)
}

func (t *trees) roots() roots { return roots{t.log.root(), t.heads.root()} }

// rebuild computes the roots at the given lengths from a ledger. Lengths beyond the
// end of the ledger are not in the answer.
func rebuild(ledger io.ReaderAt, end uint64, lengths []uint64) (map[uint64]roots, error) {
	lengths = sortedLengths(append([]uint64(nil), lengths...))
	built := map[uint64]roots{}
	t := newTrees()
	last := uint64(0)
	for _, n := range lengths {
		if n <= end {
			last = n
		}
	}
	err := eachLeaf(ledger, 0, last, func(_ uint64, l leaf) error {
		t.add(l)
		if n := t.log.length; n == lengths[0] {
			built[n], lengths = t.roots(), lengths[1:]
		}
		return nil
	})
	return built, err
}

// eachLeaf reads the leaves from an index on up to another.
func eachLeaf(ledger io.ReaderAt, from, to uint64, do func(index uint64, l leaf) error) error {
	chunk := make([]byte, ledgerChunk)
	for from < to {
		part := chunk[:min(uint64(len(chunk)), (to-from)*leafSize)]
		n, err := ledger.ReadAt(part, int64(from*leafSize))
		if err != nil && (n < len(part) || !errors.Is(err, io.EOF)) {
			return fmt.Errorf("reading leaves of the ledger from index %d: %w", from, err)
		}
		for ; len(part) > 0; part = part[leafSize:] {
			if err := do(from, unpackLeaf(part)); err != nil {
				return err
			}
			from++
		}
	}
	return nil
}
