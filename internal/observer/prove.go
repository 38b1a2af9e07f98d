package observer

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// provenAtOnce is how many records are asked for in one proof.
const provenAtOnce = 100

// proofs asks for what a client asks for: that each checkpoint that was shown extends the
// one that was shown before it, and that everything acknowledged as published is in both
// trees. The proofs are evaluated here; the roots are those that were signed.
func (r *review) proofs(ctx context.Context) error {
	r.mu.Lock()
	roots := maps.Clone(r.roots)
	from := r.consistentTo
	r.mu.Unlock()
	if r.o.All {
		from = 0
	}
	lengths := slices.DeleteFunc(slices.Sorted(maps.Keys(roots)), func(n uint64) bool {
		return n < from || n > r.head.Contents.LogLength
	})
	for i := 1; i < len(lengths); i++ {
		a, b := lengths[i-1], lengths[i]
		if err := r.consistent(ctx, a, b, roots); err != nil {
			return err
		}
	}
	if n := len(lengths); n > 2 {
		if err := r.consistent(ctx, lengths[0], lengths[n-1], roots); err != nil {
			return err
		}
	}
	if n := len(lengths); n > 0 && !r.v.Bad() {
		r.mu.Lock()
		r.consistentTo = lengths[n-1]
		r.mu.Unlock()
	}
	return r.inclusion(ctx, roots)
}

// consistent asks for the proof that one length extends another.
func (r *review) consistent(ctx context.Context, from, to uint64, roots map[uint64]shown) error {
	var answer struct {
		Proof []byte `json:"proof"`
	}
	asked := struct {
		From uint64 `json:"from"`
		To   uint64 `json:"to"`
	}{from, to}
	if err := r.read(ctx, http.MethodPost, "/v1/proof/consistency", asked, &answer); err != nil {
		return r.refuse(err)
	}
	p, err := parseLogProof(answer.Proof)
	if err == nil && (p.length != to || len(p.consistent) != 1 || p.consistent[0] != from || len(p.included) > 0) {
		err = fmt.Errorf("it is for %v and %d", p.consistent, p.length)
	}
	var shorter, longer hash
	if err == nil {
		shorter, longer, err = p.extends(from)
	}
	switch {
	case err != nil:
		r.v.note(&r.v.Corrupt, "the proof that %d extends %d: %v", to, from, err)
	case text(shorter[:]) != roots[from].LogRoot || text(longer[:]) != roots[to].LogRoot:
		r.v.note(&r.v.Corrupt, "the proof that %d extends %d leads to other roots than were signed", to, from)
	default:
		r.v.Proven++
	}
	return nil
}

// inclusion asks for the proofs of all records that were acknowledged as published. The
// map is proven where a record is the newest of its log, so each is asked for at a length
// that was shown and where it was that.
func (r *review) inclusion(ctx context.Context, roots map[uint64]shown) error {
	next := make(map[hash]uint64, len(r.entries)) // of each log, the place of the record after
	until := make([]uint64, len(r.entries))       // below which length a record is its log's newest
	for i := len(r.entries) - 1; i >= 0; i-- {
		log := r.entries[i].log
		until[i] = r.head.Contents.LogLength
		if at, ok := next[log]; ok {
			until[i] = at
		}
		next[log] = uint64(i)
	}
	lengths := slices.Sorted(maps.Keys(roots))
	wanted := map[uint64][]uint64{}
	for _, p := range r.toReview() {
		at, ok := r.at[p.Record]
		if p.Kind != Published || !ok {
			continue
		}
		n, exact := slices.BinarySearch(lengths, until[at])
		if !exact {
			n--
		}
		if n < 0 || lengths[n] <= at {
			continue // no checkpoint was seen between it and the next record of its log
		}
		wanted[lengths[n]] = append(wanted[lengths[n]], at)
	}
	for length, places := range wanted {
		slices.Sort(places)
		for part := range slices.Chunk(slices.Compact(places), provenAtOnce) {
			if err := r.included(ctx, length, part, roots[length]); err != nil {
				return err
			}
		}
	}
	return nil
}

// included asks for the proofs of records at a length.
func (r *review) included(ctx context.Context, length uint64, places []uint64, want shown) error {
	var answer struct {
		Log []byte `json:"log"`
		Map []byte `json:"map"`
	}
	asked := struct {
		Length uint64   `json:"logLength"`
		Leaves []uint64 `json:"leafs"`
	}{length, places}
	if err := r.read(ctx, http.MethodPost, "/v1/proof/inclusion", asked, &answer); err != nil {
		return r.refuse(err)
	}
	if err := r.judgeIncluded(length, places, answer.Log, answer.Map, want); err != nil {
		r.v.note(&r.v.Corrupt, "the proof of %d records at length %d: %v", len(places), length, err)
	}
	return nil
}

func (r *review) judgeIncluded(length uint64, places []uint64, inLog, inMap []byte, want shown) error {
	p, err := parseLogProof(inLog)
	if err != nil {
		return err
	}
	heads, err := parseMapProofs(inMap)
	if err != nil {
		return err
	}
	if p.length != length || len(p.included) != len(places) || len(p.consistent) > 0 || len(heads) != len(places) {
		return fmt.Errorf("it has %d and %d proofs at length %d", len(p.included), len(heads), p.length)
	}
	for i, place := range places {
		if p.included[i] != 2*place {
			return fmt.Errorf("it is about node %d in the place of leaf %d", p.included[i], place)
		}
		root, err := p.includes(place, r.entries[place].leaf())
		if err != nil {
			return err
		}
		mapRoot, err := mapIncludes(r.entries[place], heads[i])
		if err != nil {
			return err
		}
		if text(root[:]) != want.LogRoot || text(mapRoot[:]) != want.MapRoot {
			return fmt.Errorf("record %d leads to other roots than were signed", place)
		}
		r.v.Proven++
	}
	return nil
}
