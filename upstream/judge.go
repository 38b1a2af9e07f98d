package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// judgeShorter judges a checkpoint that is shorter than the one served. It never
// becomes the head. The question is what it proves.
func (r *Replica) judgeShorter(served *view, s warg.SignedCheckpoint) error {
	old, err := served.op.open(s)
	if err != nil {
		return err
	}
	own, err := r.ownRoots(old.LogLength)
	if err != nil {
		return err
	}
	switch {
	case own.LogRoot != old.LogRoot:
		return r.forkBelow(served, s, own)
	case own.MapRoot != old.MapRoot:
		return r.forkBelow(served, s, own)
	case old.Timestamp > served.cp.Timestamp:
		return &contradiction{
			class: ClassRewind,
			reason: fmt.Sprintf("a checkpoint of length %d was signed at %d, after one of length %d signed at %d",
				old.LogLength, old.Timestamp, served.cp.LogLength, served.cp.Timestamp),
			believed: served.signed, refused: s, op: served.op,
		}
	}
	return refuse(ClassRollback, "checkpoint of length %d is older than the one of length %d that is known", old.LogLength, served.cp.LogLength)
}

// forkBelow describes a signed checkpoint whose roots are not those that our log
// had at its length.
func (r *Replica) forkBelow(served *view, s warg.SignedCheckpoint, own warg.Checkpoint) error {
	c := &contradiction{
		class:    ClassEquivocation,
		reason:   fmt.Sprintf("the checkpoint of length %d has other roots than the log had at that length", own.LogLength),
		believed: served.signed, refused: s, op: served.op,
	}
	if known, ok := r.trusted.at(own.LogLength); ok {
		if before, err := r.trusted.signedAt(known); err == nil {
			c.believed = before
			return c
		}
	}
	if claimed(s).LogRoot == own.LogRoot {
		// The logs are one, and it is the map that is not that of the log. The proof is
		// the log itself, with the one checkpoint that says both.
		if own.LogLength <= maxEvidenceLeaves {
			c.believed, c.ledger = warg.SignedCheckpoint{}, r.o.Store
		}
		return c
	}
	proof, err := r.o.Store.ProveConsistency(own.LogLength, served.cp.LogLength)
	if err != nil {
		return fmt.Errorf("proving an equivocation: %w", err)
	}
	c.consistency = proof
	return c
}

// judgeWithoutTrees judges a checkpoint that is shorter than the head while the
// store holds no trees: only accepted lengths can be compared.
func (r *Replica) judgeWithoutTrees(s warg.SignedCheckpoint) error {
	h := r.trusted.current()
	return refuse(ClassRollback, "checkpoint of length %d is shorter than the one of length %d that was served before", s.Unverified().LogLength, h.view.LogLength)
}

// ownRoots returns the roots that our trees had at a length at or below the head.
func (r *Replica) ownRoots(length uint64) (warg.Checkpoint, error) {
	if known, ok := r.trusted.at(length); ok {
		return known.view, nil
	}
	edge, err := edgeAt(r.o.Store, length)
	if err != nil {
		return warg.Checkpoint{}, err
	}
	mapRoot, err := mapRootAt(r.o.Store, length)
	if err != nil {
		return warg.Checkpoint{}, err
	}
	return warg.Checkpoint{LogLength: length, LogRoot: edge.Root(), MapRoot: mapRoot}, nil
}

// mapRootAt builds the map of a length that was never accepted from its leaves.
// That takes a while, but happens only when upstream says something strange.
func mapRootAt(s Store, length uint64) (warg.Digest, error) {
	var m vmap.Map
	for i := uint64(0); i < length; {
		packed, err := s.Ledger(i, int(min(length-i, ledgerChunk)))
		if err != nil {
			return warg.Digest{}, err
		}
		leaves := unpack(packed)
		if len(leaves) == 0 {
			return warg.Digest{}, errors.New("the store's ledger is shorter than its trees")
		}
		entries := make([]vmap.Entry, 0, len(leaves))
		for _, l := range leaves {
			entries = append(entries, vmap.Entry{Key: l.MapKey(), Value: l.MapValue()})
		}
		m = m.Update(entries)
		i += uint64(len(leaves))
	}
	return m.Root(), nil
}

// forkAbove finds out why a ledger does not lead to the signed root of a longer
// log. If upstream itself proves that the signed log does not extend what was
// accepted, that is an equivocation; else somebody changed the ledger on the way,
// or upstream does not want to say.
func (r *Replica) forkAbove(ctx context.Context, before, after warg.SignedCheckpoint, op *operator) error {
	old, now := claimed(before), claimed(after)
	refusal := refuse(ClassRoots, "the ledger does not lead to the root that is signed for length %d", now.LogLength)
	if old.LogLength == 0 || old.LogLength > now.LogLength {
		return refusal
	}
	resume := r.watch.pause()
	proof, err := r.o.Transport.Consistency(ctx, old.LogLength, now.LogLength)
	resume()
	if err != nil {
		return refusal
	}
	if !provesFork(proof, vlog.Point{Length: old.LogLength, Root: old.LogRoot}, vlog.Point{Length: now.LogLength, Root: now.LogRoot}) {
		return refusal
	}
	return &contradiction{
		class:    ClassEquivocation,
		reason:   fmt.Sprintf("the log of length %d does not extend the log of length %d", now.LogLength, old.LogLength),
		believed: before, refused: after, op: op, consistency: proof,
	}
}

// provesFork reports whether a consistency proof leads to the root of the longer log
// from another root than that of the shorter one.
func provesFork(proof []byte, from, to vlog.Point) bool {
	b, err := vlog.ParseBundle(proof)
	if err != nil || b.Length != to.Length || len(b.Consistent) != 1 || b.Consistent[0] != from.Length {
		return false
	}
	short, long, err := b.Consistency(0)
	return err == nil && long == to.Root && short != from.Root
}
