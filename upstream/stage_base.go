package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// base sees to it that the stage has what a cargo builds on: from the cargoes before
// it, or else from the replica. All of it must be here, or an importing site would
// miss what nobody will bring it any more.
func (s *Stage) base(ctx context.Context, c Cargo) error {
	base := c.Base()
	if base.IsZero() {
		return nil
	}
	length := base.Unverified().LogLength
	if trees := s.scratch.o.Store.Trees(); trees.LogLength == 0 {
		if err := s.seed(ctx, base); err != nil {
			return err
		}
	} else if trees.LogLength < length {
		return missingBase("it builds on length %d of that registry, and the archives before it lead to length %d; the one between is missing", length, trees.LogLength)
	}
	if err := s.scratch.weigh(base); err != nil {
		return err
	}
	return s.inventory(c)
}

func missingBase(format string, args ...any) error {
	return warg.Errorf(warg.KindNotFound, format, args...)
}

// seed fills the empty stage with what the replica had at a length, which was
// verified when it came.
func (s *Stage) seed(ctx context.Context, base warg.SignedCheckpoint) error {
	length := base.Unverified().LogLength
	if s.of == nil {
		return missingBase("it builds on length %d of that registry; name the archives before it as well", length)
	}
	served := s.of.view.Load()
	if served == nil || served.cp.LogLength < length {
		held := uint64(0)
		if served != nil {
			held = served.cp.LogLength
		}
		return missingBase("it builds on length %d of that registry, and length %d is what is held here; import the archives before it first", length, held)
	}
	if err := s.of.weigh(base); err != nil {
		return err
	}
	cp, err := served.op.open(base)
	if err != nil {
		return err
	}
	from, to := s.of.o.Store, s.scratch.o.Store
	for at := uint64(0); at < length; {
		packed, err := from.Ledger(at, int(min(length-at, ledgerChunk)))
		if err != nil {
			return err
		}
		leaves := unpack(packed)
		if len(leaves) == 0 {
			return fmt.Errorf("the ledger held here ends at %d of %d leaves", at, length)
		}
		if at += uint64(len(leaves)); at > length {
			return fmt.Errorf("the ledger held here has more leaves than were asked for")
		}
		var accept func(warg.Checkpoint) error
		if at == length {
			accept = func(got warg.Checkpoint) error { return sameRoots(got, cp) }
		}
		if err := to.Extend(ctx, leaves, accept); err != nil {
			return err
		}
	}
	records, complete, err := heldRecords(from, warg.OperatorLogID, length)
	if err != nil {
		return err
	}
	if !complete {
		return errors.New("the operator log is not held here up to that length")
	}
	if err := s.keepOperator(records); err != nil {
		return err
	}
	op, err := replayOperator(records)
	if err != nil {
		return err
	}
	return s.scratch.acceptAll(func(func(warg.SignedCheckpoint, error) bool) {}, &view{base, cp, op, s.scratch.epoch.Load()})
}

func sameRoots(got, want warg.Checkpoint) error {
	if got.LogLength != want.LogLength || got.LogRoot != want.LogRoot || got.MapRoot != want.MapRoot {
		return refuse(ClassRoots, "the ledger does not lead to the roots that are signed for length %d", want.LogLength)
	}
	return nil
}

// weigh judges a checkpoint that is not longer than what is served, without taking
// it over. That it is old is no fault.
func (r *Replica) weigh(signed warg.SignedCheckpoint) error {
	served := r.view.Load()
	if signed.Unverified().LogLength < served.cp.LogLength {
		if err := r.judgeShorter(served, signed); ClassOf(err) != ClassRollback {
			return err
		}
		return nil
	}
	cp, err := served.op.open(signed)
	if err != nil {
		return err
	}
	if !cp.SameView(served.cp) {
		return twoOfOneLength(served, signed)
	}
	return nil
}

func twoOfOneLength(served *view, signed warg.SignedCheckpoint) error {
	return &contradiction{
		class:    ClassEquivocation,
		reason:   fmt.Sprintf("two checkpoints of length %d have different roots", served.cp.LogLength),
		believed: served.signed, refused: signed, op: served.op,
	}
}

// inventory fails unless everything that the archives before had is here.
func (s *Stage) inventory(c Cargo) error {
	logs, contents := 0, 0
	for l, err := range c.BaseLogs() {
		if err != nil {
			return err
		}
		ok, err := s.hasLog(l)
		if err != nil {
			return err
		}
		if !ok {
			logs++
		}
	}
	for d, err := range c.BaseContents() {
		if err != nil {
			return err
		}
		ok, err := s.hasContent(d)
		if err != nil {
			return err
		}
		if !ok {
			contents++
		}
	}
	if logs+contents > 0 {
		return missingBase("it builds on archives of which %d packages and %d contents are not here; import those first, or all of them together", logs, contents)
	}
	return nil
}

func (s *Stage) hasLog(l CargoLog) (bool, error) {
	stores := []Store{s.scratch.o.Store}
	if s.of != nil {
		stores = append(stores, s.of.o.Store)
	}
	records, name := l.Count == 0, !l.Named
	for _, store := range stores {
		_, held, err := store.Log(l.LogID)
		if err != nil {
			return false, err
		}
		_, named, err := store.Name(l.LogID)
		if err != nil {
			return false, err
		}
		records, name = records || held >= l.Count, name || named
	}
	return records && name, nil
}

func (s *Stage) hasContent(d warg.Digest) (bool, error) {
	none := &warg.Error{Kind: warg.KindContentNotFound}
	for _, c := range s.cargoes {
		if _, err := c.Stat(d); !errors.Is(err, none) {
			return err == nil, err
		}
	}
	if s.of == nil {
		return false, nil
	}
	_, err := s.of.o.Store.StatContent(d)
	if errors.Is(err, none) {
		return false, nil
	}
	return err == nil, err
}
