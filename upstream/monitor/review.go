package monitor

import (
	"context"
	"errors"
	"slices"
)

// review judges the checkpoints that could not be judged when they were seen, and
// those that only proofs spoke for, as far as the ledger goes now.
func (w *Watcher) review(ctx context.Context) error {
	list, err := w.due()
	if err != nil || len(list) == 0 {
		return err
	}
	lengths := make([]uint64, 0, len(list))
	for _, d := range list {
		lengths = append(lengths, d.length)
	}
	built, err := rebuild(w.state.ledger, w.state.leaves, lengths)
	if err != nil {
		return err
	}
	for _, d := range list {
		if w.op.verify(d.checkpoint) != nil { // not the registry's, as is known only now
			if err := w.state.commit(checkpointLine(kindDropped, d.checkpoint)); err != nil {
				return err
			}
			continue
		}
		err := w.judgeAgain(ctx, d, built)
		var refused *refusedError
		var lost *troubleError
		switch {
		case errors.As(err, &lost):
			return nil // all that are left wait on
		case err != nil && !errors.As(err, &refused):
			return err
		}
	}
	return nil
}

// due lists the checkpoints that can be judged, or judged better, by now.
func (w *Watcher) due() ([]pending, error) {
	var list []pending
	longest := w.state.longest().length
	for _, p := range w.state.pending {
		if p.length <= longest {
			list = append(list, p)
		}
	}
	for _, v := range w.state.views {
		if v.rebuilt || v.length > w.state.leaves {
			continue
		}
		c, err := w.state.signed(v)
		if err != nil {
			return nil, err
		}
		list = append(list, pending{c, v.seq})
	}
	return list, nil
}

// judgeAgain judges one checkpoint with the roots that the ledger leads to.
func (w *Watcher) judgeAgain(ctx context.Context, d pending, built map[uint64]roots) error {
	own, inLedger := built[d.length]
	v, known := w.state.view(d.length)
	if known && (v.rebuilt || !inLedger) {
		if err := w.judgeKnown(v, d.checkpoint, d.seq); err != nil {
			return err
		}
		if !slices.ContainsFunc(w.state.pending, func(p pending) bool { return p.sameView(d.checkpoint) }) {
			return nil
		}
		return w.state.commit(checkpointLine(kindDropped, d.checkpoint)) // another one says the same
	}
	if !inLedger {
		return w.judgeShorter(ctx, d.checkpoint, d.seq, nil)
	}
	return w.judgeShorter(ctx, d.checkpoint, d.seq, &own)
}
