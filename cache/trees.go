package cache

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Trees returns the length and the roots of the trees.
func (r *Registry) Trees() warg.Checkpoint {
	h := r.now.Load().tree.Head()
	return warg.Checkpoint{LogLength: h.Length, LogRoot: h.LogRoot, MapRoot: h.MapRoot}
}

// HasLength reports whether the map can be proven at a length.
func (r *Registry) HasLength(length uint64) (bool, error) {
	ok, err := r.now.Load().tree.HasLength(length)
	return ok, judge(err)
}

// Ledger returns up to max packed entries from index start on.
func (r *Registry) Ledger(start uint64, max int) ([]byte, error) {
	packed, err := r.now.Load().tree.Leaves(start, max)
	return packed, judge(err)
}

// ProveInclusion proves leaves; see tree.Tree.ProveInclusion.
func (r *Registry) ProveInclusion(length uint64, leaves []uint64) (warg.InclusionProof, error) {
	proof, err := r.now.Load().tree.ProveInclusion(length, leaves)
	return proof, judge(err)
}

// ProveConsistency proves that one length extends another; see
// tree.Tree.ProveConsistency.
func (r *Registry) ProveConsistency(from, to uint64) ([]byte, error) {
	proof, err := r.now.Load().tree.ProveConsistency(from, to)
	return proof, judge(err)
}

// Extend appends leaves. accept, if not nil, is told the roots before anything is
// written and may refuse. After a crash in between the trees are as they were.
func (r *Registry) Extend(ctx context.Context, leaves []warg.Leaf, accept func(warg.Checkpoint) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := r.now.Load()
	update, err := n.tree.Prepare(leaves)
	if err != nil {
		return fmt.Errorf("extending trees of upstream `%s`: %w", r.domain, judge(err))
	}
	h := update.Head()
	if accept != nil {
		if err := accept(warg.Checkpoint{LogLength: h.Length, LogRoot: h.LogRoot, MapRoot: h.MapRoot}); err != nil {
			return err
		}
	}
	if err := n.write(update, leaves); err != nil {
		return fmt.Errorf("extending trees of upstream `%s`: %w", r.domain, judge(err))
	}
	if err := update.Publish(); err != nil {
		return fmt.Errorf("extending trees of upstream `%s`: %w", r.domain, err)
	}
	logs := make([]warg.LogID, 0, len(leaves))
	for _, l := range leaves {
		logs = append(logs, l.LogID)
	}
	n.views.drop(logs...)
	return nil
}

// write commits an update: its nodes and the index of the logs first, in as many
// transactions as needed, the head last.
func (n *numbered) write(update *tree.Update, leaves []warg.Leaf) error {
	wb := n.db.NewWriteBatch()
	defer wb.Cancel()
	if err := n.indexLogs(leaves, update.Head().Length, wb.Set); err != nil {
		return err
	}
	if err := update.Write(wb.Set); err != nil {
		return err
	}
	if err := wb.Flush(); err != nil {
		return err
	}
	return n.db.Update(func(txn *badger.Txn) error { return update.WriteHead(txn.Set) })
}

// indexLogs notes which leaf of its log each new leaf is. The first of a log stand in
// the log's own entry.
func (n *numbered) indexLogs(leaves []warg.Leaf, length uint64, put func(key, value []byte) error) error {
	logs, err := n.placesOfAll(leaves)
	if err != nil {
		return err
	}
	index := length - uint64(len(leaves))
	for _, leaf := range leaves {
		l, at := logs[leaf.LogID], place{index, leaf.RecordID}
		if l.leaves < firstPlaces {
			l.places = append(l.places, at)
		} else if err := n.putLeaf(leaf.LogID, l.leaves, at, put); err != nil {
			return err
		}
		l.leaves++
		index++
	}
	for id, l := range logs {
		key := n.logKey(id)
		payload := appendNumber(appendNumber(make([]byte, 0, 16+len(l.places)*placeLen), l.leaves), length)
		for _, at := range l.places {
			payload = appendPlace(payload, at)
		}
		if err := put(key, tree.Seal(key, payload)); err != nil {
			return err
		}
	}
	return nil
}

// putLeaf notes that the i-th leaf of a log stands at a place.
func (n *numbered) putLeaf(log warg.LogID, i uint64, at place, put func(key, value []byte) error) error {
	leaf, find := n.leafKey(log, i), n.findKey(log, at.id)
	if err := put(leaf, tree.Seal(leaf, appendPlace(nil, at))); err != nil {
		return err
	}
	return put(find, putNumbers(find, i, at.index))
}

// placesOfAll returns what there is of the logs that leaves name.
func (n *numbered) placesOfAll(leaves []warg.Leaf) (map[warg.LogID]*logPlaces, error) {
	logs := make(map[warg.LogID]*logPlaces)
	return logs, n.db.View(func(txn *badger.Txn) error {
		for _, leaf := range leaves {
			if _, ok := logs[leaf.LogID]; ok {
				continue
			}
			l, err := n.placesOf(txn, leaf.LogID)
			if err != nil {
				return err
			}
			logs[leaf.LogID] = &l
		}
		return nil
	})
}
