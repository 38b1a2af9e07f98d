package vlog

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// Inclusion evaluates the i-th inclusion proof for the hash that its node is said
// to have, for a leaf see [LeafHash]. It returns the root that the proof leads to,
// which means nothing until it was compared with a trusted one.
//
// The errors are [ErrLeafTooNew] and [ErrHashNotKnown].
func (b Bundle) Inclusion(i int, hash warg.Digest) (root warg.Digest, err error) {
	return b.climb(b.Included[i], hash)
}

// Consistency evaluates the i-th consistency proof. It returns the root of the
// shorter log and the root of the longer one, to be compared with trusted ones.
//
// The errors are [ErrPointsOutOfOrder], [ErrNoProofs] for a shorter length of 0,
// [ErrHashNotKnown], [ErrInclusion] and [ErrDivergingRoots].
func (b Bundle) Consistency(i int) (shorter, longer warg.Digest, err error) {
	m := b.Consistent[i]
	switch {
	case m > b.Length:
		return shorter, longer, ErrPointsOutOfOrder
	case m == 0:
		return shorter, longer, ErrNoProofs
	}
	roots := Roots(m)
	hashes := make([]warg.Digest, len(roots))
	for k, x := range roots {
		if hashes[k], err = b.hash(x); err != nil {
			return shorter, longer, err
		}
		root, err := b.climb(x, hashes[k])
		switch {
		case err != nil:
			return shorter, longer, fmt.Errorf("%w: %w", ErrInclusion, err)
		case k > 0 && root != longer:
			return shorter, longer, ErrDivergingRoots
		}
		longer = root
	}
	return foldRoots(hashes), longer, nil
}

// climb computes the root of the log from the hash of one node and the pool.
func (b *Bundle) climb(x Node, acc warg.Digest) (warg.Digest, error) {
	if !x.ExistsAt(b.Length) {
		return acc, ErrLeafTooNew
	}
	for ; !x.isRootAt(b.Length); x = x.Parent() {
		sibling, err := b.hash(x.Sibling())
		switch {
		case err != nil:
			return acc, err
		case x.IsRight():
			acc = BranchHash(sibling, acc)
		default:
			acc = BranchHash(acc, sibling)
		}
	}
	roots := Roots(b.Length)
	at := slices.Index(roots, x)
	hashes := make([]warg.Digest, len(roots))
	hashes[at] = acc
	for i, root := range roots {
		if i == at {
			continue
		}
		var err error
		if hashes[i], err = b.hash(root); err != nil {
			return acc, err
		}
	}
	return foldRoots(hashes), nil
}
