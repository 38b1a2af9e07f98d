package upstream

import (
	"context"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/vlog"
)

// grow verifies a checkpoint for which the store does not have all leaves, fetches
// them, and makes it the head. Nothing is written before the signature, the
// operator key, the log root and every operator record have been verified; the map
// root is verified before the last leaves are written. The order of what follows:
//
//	leaves in the store → operator records in the store → records of logs that were
//	held so far in the store → head durable → served
//
// A crash in between leaves a store that is longer than the head, which is harmless:
// what is beyond the head is not served, and the next growth begins there.
func (r *Replica) grow(ctx context.Context, s warg.SignedCheckpoint, now time.Time) error {
	length := s.Unverified().LogLength
	trees := r.o.Store.Trees()
	if trees.LogLength > length {
		return refuse(ClassRollback, "checkpoint of length %d is shorter than the ledger of %d leaves that was signed before", length, trees.LogLength)
	}
	resume := r.watch.pause()
	records, err := r.operatorRecords(ctx, length)
	resume()
	if err != nil {
		return err
	}
	op, err := replayOperator(records)
	if err != nil {
		return err
	}
	cp, err := op.open(s)
	if err != nil {
		return err
	}
	if err := r.checkPin(op, s); err != nil {
		return err
	}
	if h := r.trusted.current(); h.view.LogLength == length && !h.view.SameView(cp) {
		return &contradiction{
			class:    ClassEquivocation,
			reason:   fmt.Sprintf("two checkpoints of length %d have different roots", length),
			believed: h.signed, refused: s, op: op,
		}
	}
	g := &growth{r: r, op: op, records: records, signed: s, cp: cp, spool: spool{dir: r.o.TempDir, first: trees.LogLength}}
	defer g.spool.close()
	if err := g.fetch(ctx, trees); err != nil {
		return err
	}
	if err := g.extend(ctx, trees); err != nil {
		return err
	}
	if err := g.keepOperator(); err != nil {
		return err
	}
	resume = r.watch.pause() // what this verifies is counted with the records
	err = g.keepKnown(ctx)
	resume()
	if err != nil {
		return err
	}
	if err := r.o.Store.Sync(); err != nil {
		return err
	}
	if h := r.trusted.current(); cp.Timestamp < h.view.Timestamp {
		return refuse(ClassRollback, "checkpoint of length %d was signed at %d, before the one of length %d that is known", cp.LogLength, cp.Timestamp, h.view.LogLength)
	}
	return r.accept(s, cp, op, now)
}

// operatorRecords returns the operator log up to a length, from the store as far as
// it is there.
func (r *Replica) operatorRecords(ctx context.Context, length uint64) ([]warg.Record, error) {
	held, _, err := heldRecords(r.o.Store, warg.OperatorLogID, min(length, r.o.Store.Trees().LogLength))
	if err != nil {
		return nil, err
	}
	return fetchOperator(ctx, r.o.Transport, held, length)
}

// checkPin fails unless the checkpoint hangs on the pinned key. Once a head was
// accepted it is the log itself that later checkpoints must extend, so its first
// record, and with it a key that was trusted on first use, cannot change.
func (r *Replica) checkPin(op *operator, s warg.SignedCheckpoint) error {
	pin, h := r.o.OperatorKey, r.trusted.current()
	switch {
	case pin != "" && h.Format == 0 && !op.hangsOn(pin, s):
		return refuse(ClassPin, "the operator log was begun by key `%s`, but `%s` is pinned", op.signer, pin)
	case h.Format != 0 && op.signer != h.OperatorKey:
		return refuse(ClassPin, "the operator log was begun by key `%s`, before it was `%s`", op.signer, h.OperatorKey)
	case pin == "" && h.Format == 0:
		r.counts.firstKeys.Add(1)
		r.o.Log.Warn("trusting the first operator key that was seen; pin it", "upstream", r.o.Domain, "operator_key", string(op.signer))
		r.audit(audit.Event{Kind: audit.FirstKey, Key: string(op.signer)})
	}
	return nil
}

// growth is a ledger on its way into the store.
type growth struct {
	r       *Replica
	op      *operator
	records []warg.Record // the whole operator log up to cp
	signed  warg.SignedCheckpoint
	cp      warg.Checkpoint
	spool   spool

	checks []warg.Checkpoint // accepted lengths still to be passed, ascending
	seen   []leafAt          // operator leaves that were fetched
}

type leafAt struct {
	index uint64
	id    warg.RecordID
}

// fetch spools the missing leaves and verifies the log root, at every accepted
// length on the way as well, and that the operator records are those of the ledger.
func (g *growth) fetch(ctx context.Context, trees warg.Checkpoint) error {
	edge, err := edgeAt(g.r.o.Store, trees.LogLength)
	if err != nil {
		return err
	}
	g.checks = g.r.trusted.beyond(trees.LogLength)
	for g.spool.end() < g.cp.LogLength {
		page, err := g.page(ctx)
		if err != nil {
			return err
		}
		if err := g.take(ctx, &edge, unpack(page)); err != nil {
			return err
		}
		if err := g.spool.write(page); err != nil {
			return err
		}
	}
	if edge.Root() != g.cp.LogRoot {
		return g.mismatch(ctx)
	}
	return g.matchOperator()
}

func (g *growth) page(ctx context.Context) ([]byte, error) {
	at := g.spool.end()
	want := min(g.cp.LogLength-at, ledgerChunk)
	resume := g.r.watch.pause()
	page, err := g.r.o.Transport.Ledger(ctx, at, int(want))
	resume()
	if err != nil {
		return nil, fmt.Errorf("fetching ledger from index %d: %w", at, &transportError{err})
	}
	if len(page) == 0 || len(page)%warg.LedgerEntrySize != 0 {
		return nil, refuse(ClassLedger, "the ledger ends at index %d, the checkpoint has length %d", at, g.cp.LogLength)
	}
	return page[:min(uint64(len(page)), want*warg.LedgerEntrySize)], nil
}

// take appends leaves to the edge and looks at what they say on the way.
func (g *growth) take(ctx context.Context, edge *vlog.Edge, leaves []warg.Leaf) error {
	for _, l := range leaves {
		if l.LogID == warg.OperatorLogID {
			g.seen = append(g.seen, leafAt{edge.Len(), l.RecordID})
		}
		edge.Append(vlog.LeafHash(l.LogValue()))
		if len(g.checks) == 0 || g.checks[0].LogLength != edge.Len() {
			continue
		}
		if g.checks[0].LogRoot != edge.Root() {
			return g.mismatch(ctx)
		}
		g.checks = g.checks[1:]
	}
	return nil
}

// mismatch is called when the ledger leads to another root than the signed one.
func (g *growth) mismatch(ctx context.Context) error {
	h := g.r.trusted.current()
	if h.Format == 0 {
		return refuse(ClassRoots, "the ledger does not lead to the log root that is signed for length %d", g.cp.LogLength)
	}
	return g.r.forkAbove(ctx, h.signed, g.signed, g.op)
}

// matchOperator compares the operator log with the ledger: every operator leaf has
// its record, and the other way round.
func (g *growth) matchOperator() error {
	n := 0
	for ; n < len(g.records) && g.records[n].Index < g.spool.first; n++ {
		index, id, ok, err := g.r.o.Store.Position(warg.OperatorLogID, uint64(n))
		if err != nil {
			return err
		}
		if rec := g.records[n]; !ok || rec.Index != index || rec.OperatorRecordID() != id {
			return refuse(ClassLedger, "operator record %d is not the one in the ledger", n)
		}
	}
	leaves, _, err := g.r.o.Store.Log(warg.OperatorLogID)
	if err != nil {
		return err
	}
	if leaves > uint64(n) {
		return refuse(ClassLedger, "operator record %d is missing", n)
	}
	if len(g.records)-n != len(g.seen) {
		return refuse(ClassLedger, "the ledger has %d new operator records, the operator log %d", len(g.seen), len(g.records)-n)
	}
	for i, leaf := range g.seen {
		if rec := g.records[n+i]; rec.Index != leaf.index || rec.OperatorRecordID() != leaf.id {
			return refuse(ClassLedger, "operator record %d is not the one in the ledger", n+i)
		}
	}
	return nil
}

// extend puts the leaves into the store in chunks that end at every accepted
// length, so that old lengths can be proven again after the cache was lost. All
// leaves are known to be signed by now, so only the map root can still be wrong.
func (g *growth) extend(ctx context.Context, trees warg.Checkpoint) error {
	bounds := g.r.trusted.beyond(trees.LogLength)
	bounds = append(bounds, g.cp)
	at := trees.LogLength
	for _, b := range bounds {
		for at < b.LogLength {
			leaves, err := g.spool.leaves(at, min(b.LogLength-at, ledgerChunk))
			if err != nil {
				return err
			}
			end := at + uint64(len(leaves))
			accept := func(got warg.Checkpoint) error { return g.checkRoots(got, b) }
			if end < b.LogLength {
				accept = nil
			}
			if err := g.r.o.Store.Extend(ctx, leaves, accept); err != nil {
				return err
			}
			at = end
		}
	}
	return g.checkRoots(g.r.o.Store.Trees(), g.cp) // again: perhaps there was nothing to extend
}

func (g *growth) checkRoots(got, want warg.Checkpoint) error {
	switch {
	case got.LogLength != want.LogLength:
		return fmt.Errorf("the store has %d leaves after it was extended to %d", got.LogLength, want.LogLength)
	case got.LogRoot != want.LogRoot:
		return refuse(ClassRoots, "the leaves do not lead to the log root that is signed for length %d", want.LogLength)
	case got.MapRoot != want.MapRoot:
		return refuse(ClassRoots, "the leaves do not lead to the map root that is signed for length %d", want.LogLength)
	}
	return nil
}

// keepOperator puts the operator records into the store.
func (g *growth) keepOperator() error {
	_, held, err := g.r.o.Store.Log(warg.OperatorLogID)
	if err != nil {
		return err
	}
	if held >= uint64(len(g.records)) {
		return nil
	}
	fresh := g.records[held:]
	for i := range fresh {
		fresh[i].JSON = api.AppendRecord(nil, fresh[i])
	}
	if err := g.r.o.Store.PutRecords(warg.OperatorLogID, held, fresh); err != nil {
		return fmt.Errorf("keeping operator records: %w", err)
	}
	return nil
}
