package vlog

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Leaf is a leaf that a bundle is asked to prove.
type Leaf struct {
	Index uint64 // position in the log
	Value []byte // what was appended, without the prefix byte
}

// VerifyInclusion verifies an encoded bundle that was requested to prove that the
// leaves are in the log that has the given length and root. The bundle must hold
// one proof for each leaf, in order, and nothing else.
func VerifyInclusion(bundle []byte, root warg.Digest, length uint64, leaves []Leaf) error {
	b, err := ParseBundle(bundle)
	if err != nil {
		return err
	}
	return b.VerifyInclusion(root, length, leaves)
}

// VerifyInclusion is like the function of that name, for a bundle already parsed.
func (b Bundle) VerifyInclusion(root warg.Digest, length uint64, leaves []Leaf) error {
	switch {
	case len(leaves) == 0:
		return ErrNoProofs
	case b.Length != length:
		return fmt.Errorf("%w: it is for length %d, not %d", ErrMismatch, b.Length, length)
	case len(b.Included) != len(leaves) || len(b.Consistent) != 0:
		return fmt.Errorf("%w: it holds %d inclusion and %d consistency proofs, not %d and none",
			ErrMismatch, len(b.Included), len(b.Consistent), len(leaves))
	}
	for i, leaf := range leaves {
		if b.Included[i] != LeafNode(leaf.Index) {
			return fmt.Errorf("%w: proof %d is for node %d, not %d", ErrMismatch, i, b.Included[i], LeafNode(leaf.Index))
		}
		found, err := b.Inclusion(i, LeafHash(leaf.Value))
		if err != nil {
			return fmt.Errorf("evaluating inclusion of leaf %d: %w", leaf.Index, err)
		}
		if found != root {
			return fmt.Errorf("%w: leaf %d leads to %s, not %s", ErrWrongRoot, leaf.Index, found, root)
		}
	}
	return nil
}

// Point is a length of a log and the root it has there.
type Point struct {
	Length uint64
	Root   warg.Digest
}

// VerifyConsistency verifies an encoded bundle that was requested to prove that
// the log at one point extends the log at an earlier one. The bundle must hold
// that one proof and nothing else.
func VerifyConsistency(bundle []byte, from, to Point) error {
	b, err := ParseBundle(bundle)
	if err != nil {
		return err
	}
	return b.VerifyConsistency(from, to)
}

// VerifyConsistency is like the function of that name, for a bundle already parsed.
func (b Bundle) VerifyConsistency(from, to Point) error {
	switch {
	case b.Length != to.Length:
		return fmt.Errorf("%w: it is for length %d, not %d", ErrMismatch, b.Length, to.Length)
	case len(b.Consistent) != 1 || len(b.Included) != 0:
		return fmt.Errorf("%w: it holds %d consistency and %d inclusion proofs, not one and none",
			ErrMismatch, len(b.Consistent), len(b.Included))
	case b.Consistent[0] != from.Length:
		return fmt.Errorf("%w: it starts from length %d, not %d", ErrMismatch, b.Consistent[0], from.Length)
	}
	shorter, longer, err := b.Consistency(0)
	switch {
	case err != nil:
		return fmt.Errorf("evaluating consistency of %d with %d: %w", from.Length, to.Length, err)
	case shorter != from.Root:
		return fmt.Errorf("%w: length %d leads to %s, not %s", ErrWrongRoot, from.Length, shorter, from.Root)
	case longer != to.Root:
		return fmt.Errorf("%w: length %d leads to %s, not %s", ErrWrongRoot, to.Length, longer, to.Root)
	}
	return nil
}
