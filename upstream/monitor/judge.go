package monitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vmap"
)

// judge finds out whether a checkpoint fits everything known, and keeps it if it
// does. The error is a *contradiction, *refusedError or *troubleError, or one of
// our own files.
func (w *Watcher) judge(ctx context.Context, c checkpoint) error {
	known, ok := w.state.view(c.length)
	switch longest := w.state.longest(); {
	case ok && (c.length < longest.length || known.rebuilt):
		return w.judgeKnown(known, c, w.state.lines)
	case c.length < longest.length:
		return w.judgeShorter(ctx, c, w.state.lines, nil)
	case ok:
		if err := w.judgeKnown(known, c, w.state.lines); err != nil {
			return err
		}
	}
	return w.grow(ctx, c)
}

// judgeKnown judges a checkpoint of a length that is known.
func (w *Watcher) judgeKnown(v view, c checkpoint, seq int) error {
	if err := w.op.verify(c); err != nil {
		return refuse("the checkpoint of length %d: %w", c.length, err)
	}
	if v.roots != (roots{c.logRoot, c.mapRoot}) {
		believed, err := w.state.signed(v)
		if err != nil {
			return err
		}
		return w.contradicts(believed, c, fmt.Sprintf("two checkpoints of length %d have different roots", c.length))
	}
	if err := w.notRewound(c, seq); err != nil {
		return err
	}
	if _, seen := w.state.seen[fingerprint(c.signed)]; seen {
		return nil
	}
	return w.state.commit(checkpointLine(kindRenewed, c))
}

// contradicts describes two checkpoints that cannot both be true.
func (w *Watcher) contradicts(believed, refused checkpoint, reason string) *contradiction {
	return &contradiction{class: ClassEquivocation, reason: reason, believed: &believed, refused: refused, operators: []*operator{w.op}}
}

// notRewound fails if a checkpoint was signed after a longer one that was seen
// earlier, before the journal's line seq.
func (w *Watcher) notRewound(c checkpoint, seq int) error {
	var first *view
	for i, v := range w.state.views {
		if v.length > c.length && v.seq < seq && v.earliest < c.timestamp && (first == nil || v.earliest < first.earliest) {
			first = &w.state.views[i]
		}
	}
	if first == nil {
		return nil
	}
	longer, err := w.state.signed(*first)
	if err != nil {
		return err
	}
	d := w.contradicts(longer, c, fmt.Sprintf("length %d was signed at %d, after length %d was signed at %d",
		c.length, c.timestamp, longer.length, longer.timestamp))
	d.class = ClassRewind
	return d
}

// judgeShorter judges a checkpoint that is shorter than one that was proven, and of
// a length not seen before. The roots that our ledger has at that length may be
// given if they are known.
func (w *Watcher) judgeShorter(ctx context.Context, c checkpoint, seq int, own *roots) error {
	if err := w.op.verify(c); err != nil {
		return refuse("the checkpoint of length %d: %w", c.length, err)
	}
	kind, err := kindRebuilt, error(nil)
	if c.length <= w.state.leaves {
		err = w.matchesLedger(c, own)
	} else {
		kind, err = kindExtended, w.extendedByLongest(ctx, c)
	}
	var found *contradiction
	if errors.As(err, &found) {
		return found
	}
	if rewound := w.notRewound(c, seq); rewound != nil {
		return rewound // which two signatures prove, whatever the registry says about it
	}
	if err != nil {
		return w.later(c, err)
	}
	return w.state.commit(checkpointLine(kind, c))
}

// extendedByLongest asks the registry to prove that its longest log extends the one of
// a checkpoint.
func (w *Watcher) extendedByLongest(ctx context.Context, c checkpoint) error {
	longer, err := w.state.signed(w.state.longest())
	if err != nil {
		return err
	}
	return w.provenConsistent(ctx, c, longer, c)
}

// matchesLedger compares a checkpoint with our own ledger, which is long enough.
func (w *Watcher) matchesLedger(c checkpoint, own *roots) error {
	if own == nil {
		built, err := rebuild(w.state.ledger, w.state.leaves, []uint64{c.length})
		if err != nil {
			return err
		}
		r := built[c.length]
		own = &r
	}
	switch {
	case own.logRoot != c.logRoot:
		v, _ := w.state.view(w.state.leaves)
		longer, err := w.state.signed(v)
		if err != nil {
			return err
		}
		d := w.contradicts(longer, c, fmt.Sprintf("the log of length %d does not extend the log of length %d", longer.length, c.length))
		if d.consistency, err = buildConsistency(w.state.ledger, c.length, longer.length); err != nil {
			return err
		}
		return d
	case own.mapRoot != c.mapRoot:
		return &contradiction{
			class: ClassEquivocation, reason: fmt.Sprintf("the map of length %d is not that of the signed log", c.length),
			refused: c, operators: []*operator{w.op}, ledger: c.length,
		}
	}
	return nil
}

// provenConsistent asks the registry to prove that the longer of two checkpoints
// extends the shorter one. Refused is the one that is not believed yet.
func (w *Watcher) provenConsistent(ctx context.Context, shorter, longer, refused checkpoint) error {
	proof, err := w.peer.consistencyProof(ctx, shorter.length, longer.length)
	if err != nil {
		return err
	}
	old, root, err := consistency(proof, shorter.length, longer.length)
	switch {
	case err != nil:
		return refuse("the proof that length %d extends length %d: %w", longer.length, shorter.length, err)
	case root != longer.logRoot:
		return refuse("the proof that length %d extends length %d does not lead to the signed root", longer.length, shorter.length)
	case old != shorter.logRoot:
		believed := longer
		if refused.length == longer.length {
			believed = shorter
		}
		d := w.contradicts(believed, refused, fmt.Sprintf("the log of length %d does not extend the log of length %d", longer.length, shorter.length))
		d.consistency = proof
		return d
	}
	return nil
}

// operatorAt returns the operator log up to the length of a checkpoint: what is
// known of it and what was added. If the registry's log does not go on from what is
// known, it is fetched whole: it will turn out that the registry forked.
func (w *Watcher) operatorAt(ctx context.Context, c checkpoint) (*operator, error) {
	known := w.op.records
	if n := len(known); n > 0 {
		added, err := w.peer.operatorRecords(ctx, c.length, recordToken(known[n-1]))
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		if err == nil && len(added) == 0 {
			return w.op, nil
		}
		if err == nil {
			if op, err := replay(append(known[:n:n], added...)); err == nil {
				return op, nil
			}
		}
	}
	all, err := w.peer.operatorRecords(ctx, c.length, "")
	if err != nil {
		return nil, err
	}
	op, err := replay(all)
	if err != nil {
		return nil, refuse("replaying the operator log: %w", err)
	}
	return op, nil
}

// recordToken is the fetch token that goes on behind a record. Registries that number
// otherwise, or have another history, answer an error, or hang up as the reference
// server does; then the log is fetched whole.
func recordToken(r warg.Record) string { return text(operatorRecordID(r.Content)) }

// extends reports whether an operator log has all records of the one that is known.
func (w *Watcher) extends(op *operator) bool {
	if len(op.ids) < len(w.op.ids) {
		return false
	}
	for i, id := range w.op.ids {
		if op.ids[i] != id || op.records[i].Index != w.op.records[i].Index {
			return false
		}
	}
	return true
}

// operatorIncluded asks the registry to prove that an operator log is the one of a
// checkpoint: its last record is in the log, and the latest of its log in the map.
func (w *Watcher) operatorIncluded(ctx context.Context, op *operator, c checkpoint) error {
	last := len(op.records) - 1
	index, l := op.records[last].Index, leaf{operatorLog(), op.ids[last]}
	proof, err := w.peer.inclusionProof(ctx, index, c.length)
	if err != nil {
		return err
	}
	logRoot, err := inclusion(proof.Log, index, c.length, l)
	if err != nil {
		return refuse("the proof that operator record %d is in the log of length %d: %w", index, c.length, err)
	}
	if logRoot != c.logRoot {
		return refuse("operator record %d is not proven to be in the log of length %d", index, c.length)
	}
	bundle, err := vmap.ParseBundle(proof.Map)
	if err != nil {
		return refuse("the proof that the operator log is in the map of length %d: %w", c.length, err)
	}
	if len(bundle) != 1 {
		return refuse("%d proofs that the operator log is in the map of length %d", len(bundle), c.length)
	}
	siblings := make([]*hash, len(bundle[0]))
	for i, s := range bundle[0] {
		if s.Present {
			siblings[i] = &s.Hash
		}
	}
	if mapRoot, ok := mapProofRoot(emptyTrees(), l, siblings); !ok || mapRoot != c.mapRoot {
		return refuse("the operator log is not proven to end with record %d in the map of length %d", index, c.length)
	}
	return nil
}
