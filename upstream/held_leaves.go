package upstream

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/entrepot/entrepot/warg"
)

// HeldLeaf is one record in the order of the registry's log.
type HeldLeaf struct {
	Name     warg.PackageName // zero for the operator log
	Envelope warg.Envelope
}

// HeldLeaves returns the records of the registry's log from an index on and below
// another, from what is held alone: upstream is not asked. One that is not held is an
// error, and the last that is yielded.
func (r *Replica) HeldLeaves(ctx context.Context, from, to uint64) iter.Seq2[HeldLeaf, error] {
	return func(yield func(HeldLeaf, error) bool) {
		const page = 1024 // leaves
		for from < to {
			packed, err := r.o.Store.Ledger(from, int(min(to-from, page)))
			if err == nil && len(packed) == 0 {
				err = fmt.Errorf("the ledger ends at %d of %d leaves", from, to)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(HeldLeaf{}, err)
				return
			}
			for ; len(packed) >= warg.LedgerEntrySize; packed = packed[warg.LedgerEntrySize:] {
				leaf, err := r.heldLeaf(warg.LogID(packed[:warg.DigestSize]), warg.RecordID(packed[warg.DigestSize:warg.LedgerEntrySize]))
				if !yield(leaf, err) || err != nil {
					return
				}
				from++
			}
		}
	}
}

func (r *Replica) heldLeaf(log warg.LogID, id warg.RecordID) (l HeldLeaf, err error) {
	n, _, ok, err := r.o.Store.Find(log, id)
	if err != nil {
		return l, err
	}
	if !ok {
		return l, fmt.Errorf("record %s is not among those of its log", id)
	}
	if log != warg.OperatorLogID {
		if l.Name, ok, err = r.o.Store.Name(log); err != nil || !ok {
			return l, errors.Join(err, fmt.Errorf("the package that log %s is of is not held", log))
		}
	}
	records, err := r.o.Store.Records(log, n, 1)
	if err != nil {
		return l, err
	}
	if len(records) != 1 {
		return l, fmt.Errorf("record %s is not held", id)
	}
	l.Envelope = records[0].Envelope
	return l, nil
}
