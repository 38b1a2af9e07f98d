package vmap

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Sibling is an element of a proof. The zero Sibling is absent, which stands for
// the empty subtree of its height.
type Sibling struct {
	Hash    warg.Digest
	Present bool
}

// Proof is the list of siblings of a key's path, from the leaf's side to the root.
type Proof []Sibling

// Evaluate returns the root of the map in which the proof shows the entry to be.
// It means nothing until it was compared with a trusted root. The only error is
// [ErrTooManySiblings].
func (p Proof) Evaluate(key, value []byte) (warg.Digest, error) {
	roots := make([]warg.Digest, 1)
	if err := evaluateAll(roots, []Proof{p}, []Entry{{key, value}}); err != nil {
		return warg.Digest{}, err
	}
	return roots[0], nil
}

// evaluateAll evaluates proofs, many of them on all processors.
func evaluateAll(roots []warg.Digest, proofs []Proof, entries []Entry) error {
	return inParallel((len(proofs)+taskItems-1)/taskItems, func(i int) error {
		from, to := i*taskItems, min((i+1)*taskItems, len(proofs))
		return evaluateSome(roots[from:to], proofs[from:to], entries[from:to])
	})
}

// evaluateSome evaluates proofs side by side. The part below the listed siblings,
// nearly all of the work, runs through empty subtrees and is shared out between
// the lanes of [runClimbs].
func evaluateSome(roots []warg.Digest, proofs []Proof, entries []Entry) error {
	climbs := make([]climb, len(proofs))
	paths := make([]Path, len(proofs))
	for i, p := range proofs {
		if len(p) > Depth {
			return fmt.Errorf("proof of %d: %w", len(p), ErrTooManySiblings)
		}
		paths[i] = PathOf(entries[i].Key)
		climbs[i].start(&paths[i], LeafHash(entries[i].Value), 0)
		climbs[i].stopAt(Depth-len(p), &roots[i])
	}
	runClimbs(climbs)
	for i, p := range proofs {
		roots[i] = p.fold(&paths[i], roots[i])
	}
	return nil
}

// fold climbs through the listed siblings.
func (p Proof) fold(path *Path, acc warg.Digest) warg.Digest {
	for j := range p {
		height := Depth - len(p) + j
		sibling := empty[height]
		if p[j].Present {
			sibling = p[j].Hash
		}
		if path.Right(Depth - 1 - height) {
			acc = BranchHash(sibling, acc)
		} else {
			acc = BranchHash(acc, sibling)
		}
	}
	return acc
}

// VerifyInclusion verifies an encoded bundle that was requested to prove that the
// entries are in the map that has the given root. The bundle must hold one proof
// for each entry, in order.
func VerifyInclusion(bundle []byte, root warg.Digest, entries []Entry) error {
	b, err := ParseBundle(bundle)
	if err != nil {
		return err
	}
	return b.VerifyInclusion(root, entries)
}

// VerifyInclusion is like the function of that name, for a bundle already parsed.
func (b Bundle) VerifyInclusion(root warg.Digest, entries []Entry) error {
	switch {
	case len(entries) == 0:
		return ErrNoProofs
	case len(b) != len(entries):
		return fmt.Errorf("%w: it holds %d proofs, not %d", ErrMismatch, len(b), len(entries))
	}
	roots := make([]warg.Digest, len(b))
	if err := evaluateAll(roots, b, entries); err != nil {
		return err
	}
	for i, found := range roots {
		if found != root {
			return fmt.Errorf("%w: entry %d leads to %s, not %s", ErrWrongRoot, i, found, root)
		}
	}
	return nil
}
