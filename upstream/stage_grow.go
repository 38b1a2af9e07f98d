package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// grow verifies the checkpoints of a cargo and the ledger that leads to them. What is
// wrong leaves the scratch store with leaves that nobody signed; it is thrown away.
func (s *Stage) grow(ctx context.Context, c Cargo, head warg.SignedCheckpoint) error {
	if err := plausibleClaims(head.Unverified(), s.scratch.o.MaxLength, s.scratch.o.Now()); err != nil {
		return err
	}
	trees := s.scratch.o.Store.Trees()
	switch length := head.Unverified().LogLength; {
	case length < trees.LogLength:
		return warg.Errorf(warg.KindBadRequest, "it leads to length %d and the one before it to length %d; name older archives first", length, trees.LogLength)
	case length == trees.LogLength:
		return s.again(head)
	}
	records, err := s.scratch.operatorRecords(ctx, head.Unverified().LogLength)
	if err != nil {
		return err
	}
	op, err := replayOperator(records)
	if err != nil {
		return err
	}
	cp, err := op.open(head)
	if err != nil {
		return err
	}
	if err := s.scratch.checkPin(op, head); err != nil {
		return err
	}
	x := &extension{s: s, c: c, op: op, head: head, cp: cp}
	if err := x.openBounds(trees.LogLength); err != nil {
		return err
	}
	if err := x.extend(ctx, trees.LogLength); err != nil {
		return err
	}
	if err := s.keepOperator(records); err != nil {
		return err
	}
	return s.scratch.acceptAll(x.accepted(trees.LogLength), &view{head, cp, op, s.scratch.epoch.Load()})
}

// again judges a checkpoint of the length that is reached already.
func (s *Stage) again(head warg.SignedCheckpoint) error {
	err := s.scratch.judgeSame(s.scratch.view.Load(), head, s.scratch.o.Now())
	if ClassOf(err) == ClassRollback {
		return nil // signed earlier, and the same
	}
	return err
}

// keepOperator puts the operator records into the scratch store, if they are those
// of the ledger.
func (s *Stage) keepOperator(records []warg.Record) error {
	store := s.scratch.o.Store
	leaves, held, err := store.Log(warg.OperatorLogID)
	if err != nil {
		return err
	}
	if leaves != uint64(len(records)) {
		return refuse(ClassLedger, "the ledger has %d operator records, the operator log %d", leaves, len(records))
	}
	for n, rec := range records {
		index, id, ok, err := store.Position(warg.OperatorLogID, uint64(n))
		if err != nil {
			return err
		}
		if !ok || rec.Index != index || rec.OperatorRecordID() != id {
			return refuse(ClassLedger, "operator record %d is not the one in the ledger", n)
		}
		if uint64(n) >= held {
			records[n].JSON = api.AppendRecord(nil, rec)
		}
	}
	if held == leaves {
		return nil
	}
	return store.PutRecords(warg.OperatorLogID, held, records[held:])
}

// extension adds the ledger of a cargo to the scratch store.
type extension struct {
	s      *Stage
	c      Cargo
	op     *operator
	head   warg.SignedCheckpoint
	cp     warg.Checkpoint
	bounds []warg.Checkpoint // beyond what is there, ascending; the last is cp
}

// openBounds verifies the older checkpoints. None of them was signed after one that
// is longer.
func (x *extension) openBounds(from uint64) error {
	last, lastSigned := warg.Checkpoint{}, warg.SignedCheckpoint{}
	add := func(signed warg.SignedCheckpoint, cp warg.Checkpoint) error {
		if cp.LogLength <= from {
			return nil
		}
		if cp.LogLength <= last.LogLength {
			return refuse(ClassClaims, "checkpoints of length %d and %d are out of order", last.LogLength, cp.LogLength)
		}
		if cp.Timestamp < last.Timestamp {
			return rewind(x.op, signed, lastSigned)
		}
		last, lastSigned = cp, signed
		x.bounds = append(x.bounds, cp)
		return nil
	}
	for signed, err := range x.c.Checkpoints() {
		if err != nil {
			return err
		}
		cp, err := x.op.open(signed)
		if err == nil {
			err = add(signed, cp)
		}
		if err != nil {
			return err
		}
	}
	return add(x.head, x.cp)
}

// rewind describes a checkpoint that was signed after a longer one.
func rewind(op *operator, longer, shorter warg.SignedCheckpoint) error {
	l, s := longer.Unverified(), shorter.Unverified()
	return &contradiction{
		class: ClassRewind,
		reason: fmt.Sprintf("a checkpoint of length %d was signed at %d, after one of length %d signed at %d",
			s.LogLength, s.Timestamp, l.LogLength, l.Timestamp),
		believed: longer, refused: shorter, op: op,
	}
}

// extend fetches the ledger and compares the roots at every length.
func (x *extension) extend(ctx context.Context, at uint64) error {
	for _, b := range x.bounds {
		for at < b.LogLength {
			want := min(b.LogLength-at, ledgerChunk)
			page, err := x.c.Ledger(ctx, at, int(want))
			if err != nil {
				return fmt.Errorf("fetching ledger from index %d: %w", at, err)
			}
			if len(page) == 0 || len(page)%warg.LedgerEntrySize != 0 {
				return refuse(ClassLedger, "the ledger ends at index %d, the checkpoint has length %d", at, x.cp.LogLength)
			}
			leaves := unpack(page[:min(uint64(len(page)), want*warg.LedgerEntrySize)])
			if at += uint64(len(leaves)); at < b.LogLength {
				err = x.s.scratch.o.Store.Extend(ctx, leaves, nil)
			} else {
				err = x.s.scratch.o.Store.Extend(ctx, leaves, func(got warg.Checkpoint) error { return x.compare(ctx, got, b) })
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// compare judges the roots at a length for which a checkpoint was signed.
func (x *extension) compare(ctx context.Context, got, signed warg.Checkpoint) error {
	switch {
	case got.LogLength != signed.LogLength:
		return fmt.Errorf("the scratch store has %d leaves where %d were put", got.LogLength, signed.LogLength)
	case got.LogRoot != signed.LogRoot:
		return x.mismatch(ctx, signed)
	case got.MapRoot != signed.MapRoot:
		return refuse(ClassRoots, "the ledger does not lead to the map root that is signed for length %d", signed.LogLength)
	}
	return nil
}

// mismatch finds out why the ledger does not lead to a signed log root. If it leads
// to that of a longer checkpoint, the registry signed both, and they contradict each
// other; the archive itself has the proof.
func (x *extension) mismatch(ctx context.Context, b warg.Checkpoint) error {
	before := x.s.scratch.trusted.current().signed
	if b.LogLength < x.cp.LogLength {
		for signed, err := range x.c.Checkpoints() {
			if err != nil {
				return err
			}
			if signed.Unverified().LogLength == b.LogLength {
				before = signed
			}
		}
	}
	if before.IsZero() {
		return refuse(ClassRoots, "the ledger does not lead to the log root that is signed for length %d", b.LogLength)
	}
	return x.s.scratch.forkAbove(ctx, before, x.head, x.op)
}

// accepted returns the checkpoints that were verified, as they were signed, without
// the newest.
func (x *extension) accepted(from uint64) signedSeq {
	return func(yield func(warg.SignedCheckpoint, error) bool) {
		bounds := x.bounds[:len(x.bounds)-1]
		for signed, err := range x.c.Checkpoints() {
			if err == nil && signed.Unverified().LogLength <= from {
				continue
			}
			if err == nil && (len(bounds) == 0 || claimed(signed) != bounds[0]) {
				err = errors.New("the archive changed while it was read")
			}
			if !yield(signed, err) || err != nil {
				return
			}
			bounds = bounds[1:]
		}
	}
}
