package vlog

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Log is a log in memory that keeps the hash of every node, 64 bytes a leaf, and
// so can prove anything about any length it ever had. The zero Log is empty.
//
// A Log may be read by many goroutines, but not while one appends.
type Log struct {
	nodes []warg.Digest // by node number; the slot of a branch not yet complete is zero
}

// Append adds a leaf by its hash, see [LeafHash].
func (l *Log) Append(leaf warg.Digest) {
	if len(l.nodes) > 0 {
		l.nodes = append(l.nodes, warg.Digest{})
	}
	x := Node(len(l.nodes))
	l.nodes = append(l.nodes, leaf)
	for x.IsRight() {
		parent := x.Parent()
		l.nodes[parent] = BranchHash(l.nodes[x.Sibling()], l.nodes[x])
		x = parent
	}
}

// Len returns the number of leaves.
func (l *Log) Len() uint64 { return uint64(len(l.nodes)+1) / 2 }

// Node returns the hash of a node, or [ErrHashNotKnown]. It makes *Log a [NodeReader].
func (l *Log) Node(x Node) (warg.Digest, error) {
	if !x.ExistsAt(l.Len()) {
		return warg.Digest{}, fmt.Errorf("node %d of a log of %d leaves: %w", x, l.Len(), ErrHashNotKnown)
	}
	return l.nodes[x], nil
}

// Root returns the root of the log.
func (l *Log) Root() warg.Digest {
	root, err := Root(l, l.Len())
	if err != nil {
		panic(err) // every balanced root of its own length is in the log
	}
	return root
}
