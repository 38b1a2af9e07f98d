package wargtest

import (
	"context"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Inclusion implements [warg.Registry].
func (m *Memory) Inclusion(_ context.Context, length uint64, indexes []uint64) (warg.InclusionProof, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range indexes {
		if i >= uint64(len(m.leaves)) {
			return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLeafNotFound, Number: i}
		}
	}
	for _, i := range indexes {
		if i >= length {
			return warg.InclusionProof{}, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrLeafTooNew)
		}
	}
	if len(indexes) == 0 {
		return warg.InclusionProof{}, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrNoProofs)
	}
	if _, ok := m.views[length]; !ok {
		return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLengthNotFound, Number: length}
	}
	log, err := vlog.BuildBundle(&m.tree, length, nil, indexes)
	if err != nil {
		return warg.InclusionProof{}, err
	}
	proofs, err := m.proveHeads(length, indexes)
	if err != nil {
		return warg.InclusionProof{}, err
	}
	return warg.InclusionProof{Log: log.Encode(), Map: proofs.Encode()}, nil
}

// proveHeads proves that records are the heads of their logs in the map of the
// given length. Each proof is checked, because it is made for the log's key
// whatever the record is.
func (m *Memory) proveHeads(length uint64, indexes []uint64) (vmap.Bundle, error) {
	heads := m.maps[length]
	var bundle vmap.Bundle
	for _, i := range indexes {
		leaf := m.leaves[i]
		proof, ok := heads.Prove(leaf.MapKey())
		if !ok {
			return nil, warg.NotFound(warg.KindNotInMap, leaf.LogID)
		}
		found, err := proof.Evaluate(leaf.MapKey(), leaf.MapValue())
		if err != nil {
			return nil, err
		}
		if found != heads.Root() {
			return nil, &warg.Error{Kind: warg.KindProofIncorrect, Root: heads.Root(), Found: found}
		}
		bundle = append(bundle, proof)
	}
	return bundle, nil
}

// Consistency implements [warg.Registry].
func (m *Memory) Consistency(_ context.Context, from, to uint64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case from > to:
		return nil, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrPointsOutOfOrder)
	case from == 0:
		return nil, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrNoProofs)
	case to > m.tree.Len():
		return nil, &warg.Error{Kind: warg.KindLengthNotFound, Number: to}
	}
	bundle, err := vlog.BuildBundle(&m.tree, to, []uint64{from}, nil)
	if err != nil {
		return nil, err
	}
	return bundle.Encode(), nil
}
