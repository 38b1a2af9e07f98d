package vmap

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// Lazy is a version of a map whose nodes are loaded from a store when they are
// needed. A version never changes; it may be used by many goroutines if the store
// may. The zero Lazy is the empty map without a store.
type Lazy struct {
	store Store
	root  *link // nil for the empty map
}

// NewLazy returns the version with the given root. A root with the zero Ref is
// the empty map.
func NewLazy(store Store, root Link) Lazy {
	if root.Ref == 0 {
		return Lazy{store: store}
	}
	l := linkTo(root)
	return Lazy{store, &l}
}

// From returns the same version with another store for the same nodes.
func (m Lazy) From(store Store) Lazy { return Lazy{store, m.root} }

func (m Lazy) top() link {
	if m.root == nil {
		return emptyLink(Depth)
	}
	return *m.root
}

// Root returns the hash of the root, and its Ref once it is stored.
func (m Lazy) Root() Link {
	l := m.top()
	return l.stored()
}

// Update returns the version in which the entries of the batch are set. Of
// several entries for one key the last counts.
//
// For every path that the batch touches, the old root is recomputed from the same
// siblings that the new one is made from; if it differs, the error is
// [ErrCorrupt]. Other errors come from the store.
func (m Lazy) Update(batch []Entry) (Lazy, error) { return m.put(items(batch)) }

func (m Lazy) put(list []item) (Lazy, error) {
	if len(list) == 0 {
		return m, nil
	}
	root, err := update(m.store, m.top(), list)
	if err != nil {
		return Lazy{}, err
	}
	return Lazy{m.store, root}, nil
}

// Prove returns the proof for the leaf at a path and the leaf's hash. What it is
// made from is not verified. If there is no such leaf, the error is [ErrNotInMap].
func (m Lazy) Prove(path Path) (Proof, warg.Digest, error) {
	proof := make(Proof, 0, 32) // enough for a few thousand million keys
	w := walker{store: m.store, at: m.top()}
	for depth := 0; !w.at.isEmpty(); depth++ {
		lone, err := w.step(depth < Depth && path.Right(depth))
		switch {
		case err != nil:
			return nil, warg.Digest{}, err
		case lone != nil && lone.path != path:
			return nil, warg.Digest{}, ErrNotInMap
		case lone != nil:
			if len(proof) == 0 {
				proof = append(proof, Sibling{empty[Depth-1], true})
			}
			slices.Reverse(proof)
			return proof, lone.leaf, nil
		case depth == Depth:
			return nil, warg.Digest{}, fmt.Errorf("fork in the place of a leaf: %w", ErrCorrupt)
		}
		proof = append(proof, Sibling{w.sibling, true})
	}
	return nil, warg.Digest{}, ErrNotInMap
}
