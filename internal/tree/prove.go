package tree

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

func isLengthNotFound(err error) bool {
	return errors.Is(err, &warg.Error{Kind: warg.KindLengthNotFound})
}

// ProveInclusion proves that the leaves with the given indexes are in the log, and
// are the latest of their logs in the map, at the head of the given length. Both
// bundles are in the order of the indexes. How many there may be is for the caller
// to bound. The errors are
//
//	KindLeafNotFound    an index is beyond the published head
//	KindProofFailure    no leaves, or one that is not below the length
//	KindLengthNotFound  no head had that length
//	KindProofIncorrect  a leaf is not the latest of its log at that length
//
// and [ErrIndexCorrupt].
func (t *Tree) ProveInclusion(length uint64, indexes []uint64) (warg.InclusionProof, error) {
	s := t.state.Load()
	for _, index := range indexes {
		if index >= s.Length {
			return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLeafNotFound, Number: index}
		}
	}
	return t.proveInclusion(s, length, indexes)
}

func (t *Tree) proveInclusion(s *state, length uint64, indexes []uint64) (p warg.InclusionProof, err error) {
	// The reference looks at the leaves before it looks for the length.
	for _, index := range indexes {
		if index >= length {
			return p, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrLeafTooNew)
		}
	}
	if len(indexes) == 0 {
		return p, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrNoProofs)
	}
	at, err := t.recordAt(s, length)
	if err != nil {
		return p, err
	}
	if p.Log, err = t.proveLog(s, length, nil, indexes); err != nil {
		return p, err
	}
	p.Map, err = t.proveMap(s, at, indexes)
	return p, err
}

// Extends reports whether the map that the update builds on says of a log what whoever
// made the update believes: that its latest record is prev, or, if prev is nil, that
// there is no such log. The nodes that this rests on are those from which Prepare has
// recomputed the old root.
func (u *Update) Extends(log warg.LogID, prev *warg.RecordID) (bool, error) {
	m := u.base.nodes.From(&recentPatches{tree: u.tree})
	_, found, err := m.Prove(vmap.PathOf(log[:]))
	switch {
	case errors.Is(err, vmap.ErrNotInMap):
		return prev == nil, nil
	case errors.Is(err, vmap.ErrCorrupt):
		return false, fmt.Errorf("%w: log %s: %w", ErrIndexCorrupt, log, err)
	case err != nil:
		return false, err
	}
	return prev != nil && found == vmap.LeafHash(warg.Leaf{LogID: log, RecordID: *prev}.MapValue()), nil
}

// proveLog makes a bundle about the log at a length that s has.
func (t *Tree) proveLog(s *state, length uint64, consistent, included []uint64) ([]byte, error) {
	b, err := vlog.BuildBundle(&nodes{tree: t, state: s}, length, consistent, included)
	if reason := vlog.Error(""); errors.As(err, &reason) {
		return nil, warg.Errorf(warg.KindProofFailure, "%w", reason)
	}
	if err != nil {
		return nil, err
	}
	return b.Encode(), nil
}

// proveMap makes the bundle about the map at a head.
func (t *Tree) proveMap(s *state, at record, indexes []uint64) ([]byte, error) {
	m := vmap.NewLazy(nil, vmap.Link{Hash: at.MapRoot, Ref: at.mapRef})
	if at.Length == s.Length {
		m = s.nodes // has much of it in memory
	}
	m = m.From(&recentPatches{tree: t})
	bundle := make(vmap.Bundle, len(indexes))
	for i, index := range indexes {
		leaf, err := t.leaf(s, index)
		if err != nil {
			return nil, err
		}
		proof, found, err := m.Prove(vmap.PathOf(leaf.LogID[:]))
		switch {
		case errors.Is(err, vmap.ErrNotInMap), errors.Is(err, vmap.ErrCorrupt):
			// The log had this leaf by then, so the map has its log.
			return nil, fmt.Errorf("%w: log %s at length %d: %w", ErrIndexCorrupt, leaf.LogID, at.Length, err)
		case err != nil:
			return nil, err
		case found != vmap.LeafHash(leaf.MapValue()):
			return nil, notLatest(at, leaf, proof)
		}
		bundle[i] = proof
	}
	return bundle.Encode(), nil
}

// notLatest returns the error for a leaf that is not the latest of its log.
func notLatest(at record, leaf warg.Leaf, proof vmap.Proof) error {
	found, err := proof.Evaluate(leaf.MapKey(), leaf.MapValue())
	if err != nil {
		return err
	}
	return &warg.Error{Kind: warg.KindProofIncorrect, Root: at.MapRoot, Found: found}
}

// ProveConsistency proves that the log of length to extends the log of length
// from. Neither needs to be the length of a head. The errors are
//
//	KindProofFailure    from is 0 or beyond to
//	KindLengthNotFound  to is beyond the published head
//
// and [ErrIndexCorrupt].
func (t *Tree) ProveConsistency(from, to uint64) ([]byte, error) {
	return t.proveConsistency(t.state.Load(), from, to)
}

func (t *Tree) proveConsistency(s *state, from, to uint64) ([]byte, error) {
	switch {
	case from > to:
		return nil, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrPointsOutOfOrder)
	case to > s.Length:
		return nil, &warg.Error{Kind: warg.KindLengthNotFound, Number: to}
	}
	return t.proveLog(s, to, []uint64{from}, nil)
}

// nodes reads the nodes of the log as a state has it. It belongs to one request.
type nodes struct {
	tree  *Tree
	state *state
	id    tileID // of last
	last  *tile  // the tile used last; the next node is likely to be there as well
}

// Node makes nodes a [vlog.NodeReader].
func (n *nodes) Node(x vlog.Node) (warg.Digest, error) {
	if hash, ok := n.state.edge.node(n.state.Length, x); ok {
		return hash, nil
	}
	id, at := place(x)
	if n.last == nil || n.id != id {
		read, ok := n.state.tiles[id]
		if !ok {
			var err error
			if read, err = n.tree.tile(id); err != nil {
				return warg.Digest{}, err
			}
		}
		n.id, n.last = id, read
	}
	return n.last.nodes[at], nil
}
