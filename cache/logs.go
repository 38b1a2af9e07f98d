package cache

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

func appendNumber(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

// Log returns how many leaves a log has in the trees, and how many of its records
// are held.
func (r *Registry) Log(log warg.LogID) (leaves, held uint64, err error) {
	v, err := r.now.Load().view(log)
	if err != nil {
		return 0, 0, err
	}
	return v.leaves, v.held, nil
}

// Position returns the registry index and the record id of the i-th leaf of a log.
func (r *Registry) Position(log warg.LogID, i uint64) (index uint64, id warg.RecordID, ok bool, err error) {
	n := r.now.Load()
	v, err := n.view(log)
	switch {
	case err != nil || i >= v.leaves:
		return 0, id, false, err
	case i < uint64(len(v.records)):
		return v.records[i].Index, v.ids[i], true, nil
	case i == 0:
		return v.first, v.firstID, true, nil
	}
	index, id, ok, err = n.leafAt(log, i)
	return index, id, ok, judge(err)
}

// Find returns which leaf of a log a record is.
func (r *Registry) Find(log warg.LogID, id warg.RecordID) (i, index uint64, ok bool, err error) {
	n := r.now.Load()
	v, err := n.view(log)
	if err != nil || v.leaves == 0 {
		return 0, 0, false, err
	}
	if i, ok := v.find(id); ok {
		return i, v.records[i].Index, true, nil
	}
	err = n.db.View(func(txn *badger.Txn) error {
		ok, err = getNumbers(txn, n.findKey(log, id), &i, &index)
		return err
	})
	if err != nil || !ok {
		return 0, 0, false, judge(err)
	}
	ok, err = n.inLedger(index, warg.Leaf{LogID: log, RecordID: id})
	return i, index, ok, judge(err)
}

// inLedger reports whether a leaf stands at an index. What the index of logs says
// is only true if it does: an update that a crash cut short leaves entries behind.
func (n *numbered) inLedger(index uint64, l warg.Leaf) (bool, error) {
	if index >= n.tree.Head().Length {
		return false, nil
	}
	got, err := n.tree.Leaf(index)
	return got == l, err
}

// leafAt reads the i-th leaf of a log.
func (n *numbered) leafAt(log warg.LogID, i uint64) (index uint64, id warg.RecordID, ok bool, err error) {
	var payload []byte
	err = n.db.View(func(txn *badger.Txn) error {
		payload, ok, err = get(txn, n.leafKey(log, i))
		return err
	})
	if err != nil || !ok {
		return 0, id, false, err
	}
	if len(payload) != 8+len(id) {
		return 0, id, false, fmt.Errorf("%w: leaf of %d bytes", tree.ErrIndexCorrupt, len(payload))
	}
	index = binary.BigEndian.Uint64(payload)
	copy(id[:], payload[8:])
	ok, err = n.inLedger(index, warg.Leaf{LogID: log, RecordID: id})
	return index, id, ok, err
}

// count returns how many leaves a log has in the trees. The number was written with
// an update; if that never became the head, the log is walked back.
func (n *numbered) count(log warg.LogID) (uint64, error) {
	var count, at uint64
	err := n.db.View(func(txn *badger.Txn) error {
		_, err := getNumbers(txn, n.logKey(log), &count, &at)
		return err
	})
	if err != nil || at <= n.tree.Head().Length {
		return count, err
	}
	for count > 0 {
		_, _, ok, err := n.leafAt(log, count-1)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
		count--
	}
	return count, nil
}
