package vmap

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Ref names a node in a [Store]. The zero Ref names none.
type Ref uint64

// Link is what a node knows of a node below it: its hash, and where it is stored.
// A link to an empty subtree has the zero Ref.
type Link struct {
	Hash warg.Digest
	Ref  Ref
}

// Node is a node as a [Store] keeps it: a fork, or the single leaf of a subtree
// that has no other.
type Node struct {
	Single bool

	Left, Right Link // of a fork

	Path Path        // of a single leaf
	Leaf warg.Digest // its hash at height 0
	Base warg.Digest // its hash at the base height below its own, see [BaseHeight]
}

// Store holds the nodes of maps. A node never changes.
type Store interface {
	Load(ref Ref) (Node, error)
}

// BaseHeight returns the height whose hash a single leaf keeps when it stands at
// the given height. A newcomer pushes the leaf down by one or two levels; as long
// as it stays above the base height, its hash there comes from the base in a few
// steps instead of from the leaf in more than two hundred.
func BaseHeight(height int) int { return max(0, (height-1)&^(baseStep-1)) }

// baseStep balances the steps from the base up against how often a leaf must
// be hashed from the bottom again.
const baseStep = 16

// fork is an inner node in memory.
type fork struct{ left, right link }

// single is the only leaf of a subtree in memory.
type single struct {
	path       Path
	leaf, base warg.Digest
}

// link leads to a node in memory, in the store, in both, or to an empty subtree.
type link struct {
	hash   warg.Digest
	ref    Ref
	fork   *fork
	single *single
}

func (l *link) isEmpty() bool { return l.ref == 0 && l.fork == nil && l.single == nil }

// isFresh reports whether the node is in memory alone.
func (l *link) isFresh() bool { return l.ref == 0 && (l.fork != nil || l.single != nil) }

func emptyLink(height int) link { return link{hash: empty[height]} }

func linkTo(l Link) link { return link{hash: l.Hash, ref: l.Ref} }

func (l *link) stored() Link { return Link{Hash: l.hash, Ref: l.ref} }

// open returns the node that the link leads to, loading it if it is not in memory.
// One of the results is nil; both are for an empty subtree.
func (l *link) open(store Store) (*fork, *single, error) {
	if l.fork != nil || l.single != nil || l.ref == 0 {
		return l.fork, l.single, nil
	}
	n, err := l.load(store)
	switch {
	case err != nil:
		return nil, nil, err
	case n.Single:
		return nil, &single{n.Path, n.Leaf, n.Base}, nil
	}
	return &fork{linkTo(n.Left), linkTo(n.Right)}, nil, nil
}

func (l *link) load(store Store) (Node, error) {
	n, err := store.Load(l.ref)
	if err != nil {
		return n, fmt.Errorf("loading map node %#x: %w", uint64(l.ref), err)
	}
	return n, nil
}

// step goes down from a node that is not empty: from a fork to one of its children,
// with the hash of the other. A single leaf is returned instead. Unlike open it
// makes no fork of what it loads.
func (l *link) step(store Store, right bool) (next link, sibling warg.Digest, lone *single, err error) {
	if l.single != nil {
		return next, sibling, l.single, nil
	}
	if f := l.fork; f != nil {
		if right {
			return f.right, f.left.hash, nil, nil
		}
		return f.left, f.right.hash, nil, nil
	}
	n, err := l.load(store)
	switch {
	case err != nil:
		return next, sibling, nil, err
	case n.Single:
		return next, sibling, &single{n.Path, n.Leaf, n.Base}, nil
	case right:
		return linkTo(n.Right), n.Left.Hash, nil, nil
	}
	return linkTo(n.Left), n.Right.Hash, nil, nil
}
