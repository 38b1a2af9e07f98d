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
	case i == 0:
		return v.first.index, v.first.id, true, nil
	case i < uint64(len(v.records)):
		return v.records[i].Index, v.ids[i], true, nil
	}
	at, ok, err := n.leafAt(log, i)
	return at.index, at.id, ok, judge(err)
}

// Find returns which leaf of a log a record is.
func (r *Registry) Find(log warg.LogID, id warg.RecordID) (i, index uint64, ok bool, err error) {
	n := r.now.Load()
	v, err := n.view(log)
	if err != nil || v.leaves == 0 {
		return 0, 0, false, err
	}
	if id == v.first.id {
		return 0, v.first.index, true, nil
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
	ok, err = n.inLedger(log, place{index, id})
	return i, index, ok, judge(err)
}

// place is where a record stands in the ledger.
type place struct {
	index uint64
	id    warg.RecordID
}

// inLedger reports whether a record of a log stands at a place. What the index of
// logs says is only true if it does: an update that a crash cut short leaves entries
// behind.
func (n *numbered) inLedger(log warg.LogID, at place) (bool, error) {
	if at.index >= n.tree.Head().Length {
		return false, nil
	}
	got, err := n.tree.Leaf(at.index)
	return got == warg.Leaf{LogID: log, RecordID: at.id}, err
}

// leafAt reads the i-th leaf of a log, which is not its first.
func (n *numbered) leafAt(log warg.LogID, i uint64) (at place, ok bool, err error) {
	var payload []byte
	err = n.db.View(func(txn *badger.Txn) error {
		payload, ok, err = get(txn, n.leafKey(log, i))
		return err
	})
	if err != nil || !ok {
		return place{}, false, err
	}
	if at, payload, err = cutPlace(payload); err != nil || len(payload) != 0 {
		return place{}, false, fmt.Errorf("%w: leaf with %d bytes more", tree.ErrIndexCorrupt, len(payload))
	}
	ok, err = n.inLedger(log, at)
	return at, ok, err
}

func appendPlace(b []byte, at place) []byte { return append(appendNumber(b, at.index), at.id[:]...) }

func cutPlace(b []byte) (at place, rest []byte, err error) {
	size := 8 + len(at.id)
	if len(b) < size {
		return place{}, b, fmt.Errorf("%w: place in the ledger of %d bytes", tree.ErrIndexCorrupt, len(b))
	}
	at.index = binary.BigEndian.Uint64(b)
	copy(at.id[:], b[8:])
	return at, b[size:], nil
}

// logSize is how many leaves a log has in the trees, and where its first stands.
type logSize struct {
	leaves uint64
	first  place
}

// sizeOf reads the size of a log. The number was written with an update; if that
// never became the head, the log is walked back.
func (n *numbered) sizeOf(txn *badger.Txn, log warg.LogID) (logSize, error) {
	payload, ok, err := get(txn, n.logKey(log))
	if err != nil || !ok {
		return logSize{}, err
	}
	if len(payload) < 16 {
		return logSize{}, fmt.Errorf("%w: log of %d bytes", tree.ErrIndexCorrupt, len(payload))
	}
	s := logSize{leaves: binary.BigEndian.Uint64(payload)}
	written := binary.BigEndian.Uint64(payload[8:])
	if s.first, _, err = cutPlace(payload[16:]); err != nil {
		return logSize{}, err
	}
	for written > n.tree.Head().Length && s.leaves > 1 {
		_, ok, err := n.leafAt(log, s.leaves-1)
		if err != nil {
			return logSize{}, err
		}
		if ok {
			return s, nil
		}
		s.leaves--
	}
	if ok, err := n.inLedger(log, s.first); err != nil || !ok {
		return logSize{}, err
	}
	return s, nil
}
