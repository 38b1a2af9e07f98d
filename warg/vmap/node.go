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
	// Load sets into to the node, all fields of its kind and Single.
	Load(ref Ref, into *Node) error
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
	var n Node
	err := l.load(store, &n)
	switch {
	case err != nil:
		return nil, nil, err
	case n.Single:
		return nil, &single{n.Path, n.Leaf, n.Base}, nil
	}
	return &fork{linkTo(n.Left), linkTo(n.Right)}, nil, nil
}

func (l *link) load(store Store, into *Node) error {
	if err := store.Load(l.ref, into); err != nil {
		return fmt.Errorf("loading map node %#x: %w", uint64(l.ref), err)
	}
	return nil
}

// walker goes down a path of a map without allocating what it loads.
type walker struct {
	store   Store
	at      link
	sibling warg.Digest // beside at, after a step
	loaded  Node        // scratch space
}

// step goes from a fork to one of its children. From a single leaf it does not
// move but returns the leaf. It must not be called where the map is empty.
func (w *walker) step(right bool) (lone *single, err error) {
	switch {
	case w.at.single != nil:
		return w.at.single, nil
	case w.at.fork != nil:
		w.turn(&w.at.fork.left, &w.at.fork.right, right)
		return nil, nil
	}
	n := &w.loaded
	if err := w.at.load(w.store, n); err != nil {
		return nil, err
	}
	if n.Single {
		return &single{n.Path, n.Leaf, n.Base}, nil
	}
	next, other := &n.Left, &n.Right
	if right {
		next, other = other, next
	}
	w.at, w.sibling = linkTo(*next), other.Hash
	return nil, nil
}

func (w *walker) turn(next, other *link, right bool) {
	if right {
		next, other = other, next
	}
	w.at, w.sibling = *next, other.hash
}
