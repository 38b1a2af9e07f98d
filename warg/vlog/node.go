package vlog

import "math/bits"

// MaxLength is the length of the longest log whose node numbers fit the 32 bits
// that a bundle has for them.
const MaxLength = 1 << 31

// Node is the number of a node in the infinite binary tree. The arithmetic holds
// for numbers below 2⁶²; what a bundle can carry is smaller, see [MaxLength].
type Node uint64

// LeafNode returns the node of the leaf with the given index.
func LeafNode(index uint64) Node { return Node(index << 1) }

// At returns the node that is i-th, from 0, among those of a height.
func At(height int, i uint64) Node { return Node(i<<(height+1) | (1<<height - 1)) }

// Height returns the node's distance from the leaves, 0 for a leaf: the number of
// trailing one bits.
func (x Node) Height() int { return bits.TrailingZeros64(^uint64(x)) }

// Position returns the node's rank, from 0, among those of its height.
func (x Node) Position() uint64 { return uint64(x) >> (x.Height() + 1) }

// IsRight reports whether the node is the right child of its parent.
func (x Node) IsRight() bool { return x.Position()&1 == 1 }

// Parent returns the node's parent.
func (x Node) Parent() Node {
	if x.IsRight() {
		return x - 1<<x.Height()
	}
	return x + 1<<x.Height()
}

// Sibling returns the other child of the node's parent.
func (x Node) Sibling() Node { return x ^ 2<<x.Height() }

// Children returns the node's children. A leaf has none: both are the leaf.
func (x Node) Children() (left, right Node) {
	half := Node(1) << x.Height() >> 1
	return x - half, x + half
}

// FirstLeaf returns the index of the leftmost leaf below the node.
func (x Node) FirstLeaf() uint64 { return x.Position() << x.Height() }

// LastLeaf returns the index of the rightmost leaf below the node.
func (x Node) LastLeaf() uint64 { return x.FirstLeaf() + 1<<x.Height() - 1 }

// ExistsAt reports whether the node is part of a log of the given length, that
// is, whether all leaves below it are.
func (x Node) ExistsAt(length uint64) bool { return x.LastLeaf() < length }

// isRootAt reports whether the node, which exists, is a balanced root.
func (x Node) isRootAt(length uint64) bool { return !x.Parent().ExistsAt(length) }

// Roots returns the balanced roots of a log of the given length from left to
// right: one perfect tree for each bit set in the length, the largest first.
func Roots(length uint64) []Node {
	roots := make([]Node, 0, bits.OnesCount64(length))
	for done := uint64(0); done < length; {
		height := bits.Len64(length-done) - 1
		roots = append(roots, At(height, done>>height))
		done += 1 << height
	}
	return roots
}
