// Package memstore is a store of a replica in memory, written to be obviously right:
// for tests, simulations, and for whoever wants to see what a replica asks of its
// store. It implements upstream.Store.
package memstore

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Store keeps everything in memory. It is safe for concurrent use. Like any store of
// a replica it may lose what was not synced, see [Store.Crash].
type Store struct {
	mu     sync.Mutex
	*state        // under mu
	fail   error  // under mu: every write fails with it
	synced *state // under mu: what a crash leaves
}

// state is what a store holds.
type state struct {
	leaves  []warg.Leaf
	log     *vlog.Log
	maps    map[uint64]vmap.Map
	last    vmap.Map
	records map[warg.LogID][]warg.Record
	names   map[warg.LogID]warg.PackageName
	content map[warg.Digest][]byte
}

// New returns an empty store.
func New() *Store { return &Store{state: newState(), synced: newState()} }

func newState() *state {
	s := &state{content: map[warg.Digest][]byte{}}
	s.clear()
	return s
}

// clone copies a state; what it holds is never changed in place.
func (s *state) clone() *state {
	c := *s
	c.leaves, c.maps = slices.Clone(s.leaves), maps.Clone(s.maps)
	c.records, c.names, c.content = maps.Clone(s.records), maps.Clone(s.names), maps.Clone(s.content)
	return &c
}

// Fail makes every write from now on end with an error, or none of them if it is nil.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Crash forgets what was put since the last Sync, as a power cut may.
func (s *Store) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = s.synced.clone()
}

func (s *state) clear() {
	s.leaves, s.log, s.last = nil, new(vlog.Log), vmap.Map{}
	s.maps = map[uint64]vmap.Map{}
	s.records = map[warg.LogID][]warg.Record{}
	s.names = map[warg.LogID]warg.PackageName{}
}

func (s *Store) Trees() warg.Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return warg.Checkpoint{LogLength: s.log.Len(), LogRoot: s.log.Root(), MapRoot: s.last.Root()}
}

func (s *Store) Extend(_ context.Context, leaves []warg.Leaf, accept func(warg.Checkpoint) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := new(vlog.Log)
	for _, l := range append(slices.Clone(s.leaves), leaves...) {
		log.Append(vlog.LeafHash(l.LogValue()))
	}
	next := s.last
	for _, l := range leaves {
		next = next.Update([]vmap.Entry{{Key: l.MapKey(), Value: l.MapValue()}})
	}
	if accept != nil {
		if err := accept(warg.Checkpoint{LogLength: log.Len(), LogRoot: log.Root(), MapRoot: next.Root()}); err != nil {
			return err
		}
	}
	if s.fail != nil {
		return s.fail
	}
	s.leaves, s.log, s.last = append(s.leaves, leaves...), log, next
	s.maps[log.Len()] = next
	return nil
}

func (s *Store) HasLength(length uint64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.maps[length]
	return ok, nil
}

func (s *Store) Ledger(start uint64, limit int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for i := start; i < uint64(len(s.leaves)) && i-start < uint64(max(limit, 0)); i++ {
		b = append(append(b, s.leaves[i].LogID[:]...), s.leaves[i].RecordID[:]...)
	}
	return b, nil
}

func (s *Store) ProveInclusion(length uint64, indexes []uint64) (warg.InclusionProof, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range indexes {
		if i >= length {
			return warg.InclusionProof{}, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrLeafTooNew)
		}
	}
	if len(indexes) == 0 {
		return warg.InclusionProof{}, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrNoProofs)
	}
	heads, ok := s.maps[length]
	if !ok {
		return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLengthNotFound, Number: length}
	}
	log, err := vlog.BuildBundle(s.log, length, nil, indexes)
	if err != nil {
		return warg.InclusionProof{}, err
	}
	var bundle vmap.Bundle
	for _, i := range indexes {
		proof, _ := heads.Prove(s.leaves[i].MapKey())
		found, err := proof.Evaluate(s.leaves[i].MapKey(), s.leaves[i].MapValue())
		if err != nil {
			return warg.InclusionProof{}, err
		}
		if found != heads.Root() {
			return warg.InclusionProof{}, &warg.Error{Kind: warg.KindProofIncorrect, Root: heads.Root(), Found: found}
		}
		bundle = append(bundle, proof)
	}
	return warg.InclusionProof{Log: log.Encode(), Map: bundle.Encode()}, nil
}

func (s *Store) ProveConsistency(from, to uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case from > to:
		return nil, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrPointsOutOfOrder)
	case from == 0:
		return nil, warg.Errorf(warg.KindProofFailure, "%w", vlog.ErrNoProofs)
	}
	bundle, err := vlog.BuildBundle(s.log, to, []uint64{from}, nil)
	if err != nil {
		return nil, err
	}
	return bundle.Encode(), nil
}

// positions returns the indexes of a log's leaves.
func (s *state) positions(log warg.LogID) []uint64 {
	var at []uint64
	for i, l := range s.leaves {
		if l.LogID == log {
			at = append(at, uint64(i))
		}
	}
	return at
}

func (s *Store) Log(log warg.LogID) (leaves, held uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.positions(log))), uint64(len(s.records[log])), nil
}

func (s *Store) Position(log warg.LogID, n uint64) (uint64, warg.RecordID, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.positions(log)
	if n >= uint64(len(at)) {
		return 0, warg.RecordID{}, false, nil
	}
	return at[n], s.leaves[at[n]].RecordID, true, nil
}

func (s *Store) Find(log warg.LogID, id warg.RecordID) (n, index uint64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, i := range s.positions(log) {
		if s.leaves[i].RecordID == id {
			return uint64(n), i, true, nil
		}
	}
	return 0, 0, false, nil
}

func (s *Store) FindToken(log warg.LogID, token string) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, r := range s.records[log] {
		if r.Token == token {
			return uint64(n), true, nil
		}
	}
	return 0, false, nil
}

func (s *Store) Records(log warg.LogID, n uint64, limit int) ([]warg.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.records[log]
	if n >= uint64(len(all)) {
		return nil, nil
	}
	return slices.Clone(all[n:min(uint64(len(all)), n+uint64(limit))]), nil
}

func (s *Store) PutRecords(log warg.LogID, n uint64, records []warg.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.records[log] = append(slices.Clone(s.records[log][:n]), records...)
	return nil
}

func (s *Store) PutLogs(first []uint64, logs []warg.LogRecords) error {
	for i, l := range logs {
		if err := s.PutRecords(l.LogID, first[i], l.Records); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) Name(log warg.LogID) (warg.PackageName, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := s.names[log]
	return name, ok, nil
}

func (s *Store) PutName(log warg.LogID, name warg.PackageName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[log] = name
	return s.fail
}

func (s *Store) PutNames(names []warg.PackageName) error {
	for _, name := range names {
		if err := s.PutName(name.LogID(), name); err != nil {
			return err
		}
	}
	return nil
}

type openContent struct{ *bytes.Reader }

func (openContent) Close() error { return nil }

func (s *Store) StatContent(d warg.Digest) (warg.ContentInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.content[d]
	if !ok {
		return warg.ContentInfo{}, warg.NotFound(warg.KindContentNotFound, d)
	}
	return warg.ContentInfo{Digest: d, Size: int64(len(b))}, nil
}

func (s *Store) OpenContent(d warg.Digest) (warg.Content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.content[d]
	if !ok {
		return nil, warg.NotFound(warg.KindContentNotFound, d)
	}
	return openContent{bytes.NewReader(b)}, nil
}

func (s *Store) PutContent(_ context.Context, d warg.Digest, body io.Reader, limit int64) error {
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return err
	}
	if int64(len(b)) > limit {
		return warg.Errorf(warg.KindTooLarge, "too large")
	}
	if got := warg.Sum(b); got != d {
		return warg.Errorf(warg.KindBadRequest, "content has digest `%s`; expected `%s`", got, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content[d] = b
	return s.fail
}

// Sync makes what was put so far survive [Store.Crash].
func (s *Store) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = s.state.clone()
	return nil
}

func (s *Store) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	return nil
}
