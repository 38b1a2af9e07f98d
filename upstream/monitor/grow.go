package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// grow judges a checkpoint that is not shorter than any known: it extends the ledger
// to its length and compares roots. Whatever cannot be judged is remembered, and is
// judged as soon as the ledger is long enough, so that a registry cannot show a
// checkpoint and then keep silent until it is forgotten.
func (w *Watcher) grow(ctx context.Context, c checkpoint) error {
	if c.length > w.o.MaxLength {
		return refuse("the checkpoint claims length %d; at most %d leaves are followed", c.length, w.o.MaxLength)
	}
	op, err := w.operatorAt(ctx, c)
	if err != nil {
		return w.later(c, err)
	}
	if err := op.verify(c); err != nil {
		return refuse("the checkpoint of length %d: %w", c.length, err)
	}
	if err := w.pinned(op, c); err != nil {
		return err
	}
	if w.op.beganBy != "" && op.beganBy != w.op.beganBy {
		return w.later(c, refuse("the operator log was begun by key `%s`, before it was `%s`", op.beganBy, w.op.beganBy))
	}
	g := growth{w: w, op: op, c: c, trees: w.trees.clone()}
	switch err := g.fetch(ctx); {
	case errors.Is(err, errNoLedger) && w.state.leaves > 0:
		return w.later(c, refuse("the registry has withdrawn its ledger"))
	case errors.Is(err, errNoLedger):
		return w.later(c, g.extend(ctx))
	case err != nil:
		return w.later(c, err)
	}
	return w.later(c, g.settle(ctx))
}

// later remembers a checkpoint that could not be judged, because of err.
func (w *Watcher) later(c checkpoint, err error) error {
	var refused *refusedError
	var lost *troubleError
	if !errors.As(err, &refused) && !errors.As(err, &lost) {
		return err
	}
	if failed := w.state.remember(c); failed != nil {
		return failed
	}
	return err
}

// growth is the ledger on its way to a longer length. New leaves stand behind those
// that count, where they do not count until they are committed.
type growth struct {
	w     *Watcher
	op    *operator
	c     checkpoint
	trees *trees
	added []opLeaf // operator leaves among the new ones
}

// opLeaf is a leaf of the operator log.
type opLeaf struct {
	index  uint64
	record hash
}

// fetch fetches the missing leaves.
func (g *growth) fetch(ctx context.Context) error {
	operatorLog := operatorLog()
	return g.w.peer.ledger(ctx, g.w.state.leaves, g.c.length, func(chunk []byte) error {
		at := g.trees.log.length
		if _, err := g.w.state.ledger.WriteAt(chunk, int64(at*leafSize)); err != nil {
			return fmt.Errorf("writing the ledger: %w", err)
		}
		for ; len(chunk) > 0; chunk = chunk[leafSize:] {
			l := unpackLeaf(chunk)
			g.trees.add(l)
			if l.logID == operatorLog {
				g.added = append(g.added, opLeaf{at, l.recordID})
			}
			at++
		}
		if len(g.added) > maxOperatorRecords {
			return refuse("the ledger has more than %d operator records", maxOperatorRecords)
		}
		return nil
	})
}

// settle compares the fetched ledger with what is signed, and commits it.
func (g *growth) settle(ctx context.Context) error {
	if g.trees.log.length != g.c.length {
		return refuse("the ledger has %d leaves, the checkpoint %d", g.trees.log.length, g.c.length)
	}
	if g.trees.log.root() != g.c.logRoot {
		return g.dispute(ctx)
	}
	if err := g.matchOperator(); err != nil {
		return err
	}
	if g.trees.heads.root() != g.c.mapRoot {
		return &contradiction{
			class: ClassEquivocation, reason: fmt.Sprintf("the map of length %d is not that of the signed log", g.c.length),
			refused: g.c, operators: []*operator{g.op}, ledger: g.c.length,
		}
	}
	if err := g.w.state.ledger.Sync(); err != nil { // the leaves are durable, but do not count yet
		return fmt.Errorf("writing the ledger: %w", err)
	}
	if err := g.commit(kindRebuilt); err != nil {
		return err
	}
	g.w.trees = g.trees
	return nil
}

// matchOperator compares the operator log with the ledger: all its leaves and no
// others.
func (g *growth) matchOperator() error {
	var want []opLeaf
	for i, r := range g.op.records {
		if r.Index >= g.w.state.leaves {
			want = append(want, opLeaf{r.Index, g.op.ids[i]})
		}
	}
	if !slices.Equal(want, g.added) || !g.w.extends(g.op) {
		return refuse("the operator log has not the records that the ledger of length %d names", g.c.length)
	}
	return nil
}

// commit makes the checkpoint, and the operator records that came with it, part of
// what is believed.
func (g *growth) commit(kind string) error {
	var lines []line
	for _, r := range g.op.records[len(g.w.op.records):] {
		lines = append(lines, line{kindRecord, publishedRecord(r)})
	}
	if err := g.w.state.commit(append(lines, checkpointLine(kind, g.c))...); err != nil {
		return err
	}
	g.w.op = g.op
	return nil
}

// extend judges the checkpoint of a registry without a ledger by proofs.
func (g *growth) extend(ctx context.Context) error {
	w := g.w
	if longest := w.state.longest(); longest.length == g.c.length {
		return nil // the same view; there is still no ledger to rebuild it from
	} else if longest.length > 0 {
		shorter, err := w.state.signed(longest)
		if err != nil {
			return err
		}
		if err := w.provenConsistent(ctx, shorter, g.c, g.c); err != nil {
			return w.withOperator(err, g.op)
		}
	}
	if !w.extends(g.op) {
		return refuse("the operator log of length %d does not extend the one that is known", g.c.length)
	}
	if err := w.operatorIncluded(ctx, g.op, g.c); err != nil {
		return err
	}
	return g.commit(kindExtended)
}

// withOperator adds the operator log of a branch to a contradiction.
func (w *Watcher) withOperator(err error, op *operator) error {
	var d *contradiction
	if errors.As(err, &d) && op != w.op {
		d.operators = append(d.operators, op)
	}
	return err
}
