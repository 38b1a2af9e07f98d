package vlog

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// Edge is the right edge of a log: its length and the hashes of its balanced
// roots, at most one for each bit of the length. It is all that appending and
// computing the root need; it cannot prove. The zero Edge is an empty log.
type Edge struct {
	length uint64
	hashes []warg.Digest // of the balanced roots, left to right
}

// NewEdge returns the edge of a log of the given length from the hashes of its
// balanced roots, left to right. It fails if their number does not fit the length.
func NewEdge(length uint64, hashes []warg.Digest) (Edge, error) {
	if len(hashes) != bits.OnesCount64(length) {
		return Edge{}, fmt.Errorf("a log of %d leaves has %d balanced roots, not %d",
			length, bits.OnesCount64(length), len(hashes))
	}
	return Edge{length, slices.Clone(hashes)}, nil
}

// Append adds a leaf by its hash, see [LeafHash].
func (e *Edge) Append(leaf warg.Digest) {
	// Adding 1 to the length carries through its trailing one bits; each carry
	// joins the last two perfect trees.
	for carry := e.length; carry&1 == 1; carry >>= 1 {
		last := len(e.hashes) - 1
		leaf = BranchHash(e.hashes[last], leaf)
		e.hashes = e.hashes[:last]
	}
	e.hashes = append(e.hashes, leaf)
	e.length++
}

// Len returns the number of leaves.
func (e *Edge) Len() uint64 { return e.length }

// Root returns the root of the log.
func (e *Edge) Root() warg.Digest { return foldRoots(e.hashes) }

// Hashes returns a copy of the hashes of the balanced roots, left to right.
func (e *Edge) Hashes() []warg.Digest { return slices.Clone(e.hashes) }

// Clone returns a copy that does not change with e.
func (e *Edge) Clone() Edge { return Edge{e.length, slices.Clone(e.hashes)} }
