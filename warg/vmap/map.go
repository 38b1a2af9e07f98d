package vmap

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Map is a version of a map in memory. It never changes: updating makes another
// version that shares what did not change. The zero Map is the empty map.
type Map struct{ nodes Lazy }

// Root returns the root.
func (m Map) Root() warg.Digest { return m.nodes.Root().Hash }

// Update returns the version in which the entries of the batch are set. Of
// several entries for one key the last counts. One call with many entries costs
// much less than many calls.
func (m Map) Update(batch []Entry) Map {
	next, err := m.nodes.Update(batch)
	if err != nil {
		panic(fmt.Errorf("memory is broken: %w", err)) // there is no store that could fail
	}
	return Map{next}
}

// Prove returns the proof for a key, and whether the key is in the map.
func (m Map) Prove(key []byte) (Proof, bool) {
	proof, _, err := m.nodes.Prove(PathOf(key))
	if err != nil && !errors.Is(err, ErrNotInMap) {
		panic(err) // there is no store that could fail
	}
	return proof, err == nil
}

// ProveAll returns the bundle of proofs for keys, in order. If one of the keys is
// not in the map, the error is [ErrNotInMap].
func (m Map) ProveAll(keys [][]byte) (Bundle, error) {
	b := make(Bundle, len(keys))
	for i, key := range keys {
		proof, ok := m.Prove(key)
		if !ok {
			return nil, fmt.Errorf("entry %d: %w", i, ErrNotInMap)
		}
		b[i] = proof
	}
	return b, nil
}
