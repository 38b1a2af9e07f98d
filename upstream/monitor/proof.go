package monitor

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// span is a perfect subtree of the log: a power of two of leaves, the first of which
// is a multiple of their number.
type span struct{ first, size uint64 }

// node is the number of a span's root where nodes are numbered in order: leaf i is
// 2i, an inner node stands between its halves.
func (s span) node() uint64 { return 2*s.first + s.size - 1 }

func (s span) end() uint64 { return s.first + s.size }

// spanOf is the span of a node: as many levels up as its number ends in ones.
func spanOf(node uint64) span {
	size := uint64(1) << bits.TrailingZeros64(^node)
	return span{(node - (size - 1)) / 2, size}
}

// perfect reports whether leaves first to end make a span.
func perfect(first, end uint64) bool {
	size := end - first
	return size&(size-1) == 0 && first%size == 0
}

// half is where the tree over the leaves first to end, at least two, is divided: the
// left part has the largest power of two that is less than all.
func half(first, end uint64) uint64 {
	return first + 1<<(bits.Len64(end-first-1)-1)
}

// pool is the hashes of a proof by their nodes.
type pool map[uint64]hash

// fold computes the root of the tree over the leaves first to end. A subtree is
// taken from the pool if it is perfect and divide does not say that it must be
// computed from its halves; which are taken is told to took, from left to right.
func (p pool) fold(first, end uint64, divide func(span) bool, took func(span, hash)) (hash, error) {
	if s := (span{first, end - first}); perfect(first, end) && !divide(s) {
		h, ok := p[s.node()]
		if !ok {
			return hash{}, fmt.Errorf("the hash of node %d is missing", s.node())
		}
		took(s, h)
		return h, nil
	}
	if end-first < 2 {
		return hash{}, errors.New("a leaf cannot be divided")
	}
	middle := half(first, end)
	left, err := p.fold(first, middle, divide, took)
	if err != nil {
		return hash{}, err
	}
	right, err := p.fold(middle, end, divide, took)
	if err != nil {
		return hash{}, err
	}
	return branch(left, right), nil
}

// across computes the root of the log at one length, and at a shorter one from the
// very same hashes: those of the subtrees that lie below it.
func (p pool) across(shorter, longer uint64) (old, root hash, used pool, err error) {
	var below []hash
	used = pool{}
	root, err = p.fold(0, longer,
		func(s span) bool { return s.first < shorter && shorter < s.end() },
		func(s span, h hash) {
			used[s.node()] = h
			if s.end() <= shorter {
				below = append(below, h)
			}
		})
	return foldRight(below), root, used, err
}

// only reports whether every hash of the pool follows from the used ones. Bundles
// have such hashes too, since each of their proofs stands for itself.
func (p pool) only(used pool, length uint64) error {
	for node, h := range p {
		s := spanOf(node)
		if s.end() > length {
			return fmt.Errorf("node %d is beyond the log", node)
		}
		if _, ok := used[node]; ok {
			continue
		}
		if follows, err := used.derive(s); err != nil || follows != h {
			return fmt.Errorf("the hash of node %d does not follow from the others", node)
		}
	}
	return nil
}

// derive computes the hash of a subtree from those that are in the pool.
func (p pool) derive(s span) (hash, error) {
	absent := func(s span) bool { _, ok := p[s.node()]; return !ok && s.size > 1 }
	return p.fold(s.first, s.end(), absent, func(span, hash) {})
}

// readBundle reads a log proof bundle for a length.
func readBundle(encoded []byte, length uint64) (vlog.Bundle, pool, error) {
	b, err := vlog.ParseBundle(encoded)
	if err != nil {
		return b, nil, err
	}
	if b.Length != length || length == 0 || length > warg.MaxRegistryLength {
		return b, nil, fmt.Errorf("the proof is for length %d and not %d", b.Length, length)
	}
	p := pool{}
	for _, e := range b.Pool {
		p[uint64(e.Node)] = e.Hash
	}
	return b, p, nil
}

// consistency computes from a bundle the roots of the log at two lengths. Both mean
// nothing until one of them was compared with a signed one.
func consistency(encoded []byte, shorter, longer uint64) (old, root hash, err error) {
	b, p, err := readBundle(encoded, longer)
	if err != nil {
		return old, root, err
	}
	if len(b.Consistent) != 1 || b.Consistent[0] != shorter || len(b.Included) != 0 {
		return old, root, fmt.Errorf("the proof is not that length %d extends length %d, and nothing else", longer, shorter)
	}
	if shorter == 0 || shorter > longer {
		return old, root, fmt.Errorf("no proof leads from length %d to %d", shorter, longer)
	}
	old, root, used, err := p.across(shorter, longer)
	if err != nil {
		return old, root, err
	}
	return old, root, p.only(used, longer)
}

// inclusion computes from a bundle the root of the log that has a leaf at an index.
func inclusion(encoded []byte, index, length uint64, l leaf) (hash, error) {
	b, p, err := readBundle(encoded, length)
	if err != nil {
		return hash{}, err
	}
	at := span{index, 1}
	if len(b.Included) != 1 || uint64(b.Included[0]) != at.node() || len(b.Consistent) != 0 {
		return hash{}, fmt.Errorf("the proof is not that leaf %d is in the log, and nothing else", index)
	}
	if given, ok := p[at.node()]; ok && given != logLeaf(l) {
		return hash{}, fmt.Errorf("the proof has another leaf %d", index)
	}
	p[at.node()] = logLeaf(l)
	return p.fold(0, length, func(s span) bool { return s.size > 1 && s.first <= index && index < s.end() }, func(span, hash) {})
}
