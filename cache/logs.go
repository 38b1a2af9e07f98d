package cache

import (
	"encoding/binary"
	"fmt"
	"slices"

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
	case i < uint64(len(v.places)):
		return v.places[i].index, v.places[i].id, true, nil
	}
	at, ok, err := n.leafAt(log, i)
	return at.index, at.id, ok, judge(err)
}

// Find returns which leaf of a log a record is.
func (r *Registry) Find(log warg.LogID, id warg.RecordID) (i, index uint64, ok bool, err error) {
	n := r.now.Load()
	v, err := n.view(log)
	if err != nil {
		return 0, 0, false, err
	}
	if i := slices.IndexFunc(v.places, func(at place) bool { return at.id == id }); i >= 0 {
		return uint64(i), v.places[i].index, true, nil
	}
	if v.leaves == uint64(len(v.places)) {
		return 0, 0, false, nil
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

const placeLen = 8 + warg.DigestSize

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

// leafAt reads the i-th leaf of a log, which is none of its first.
func (n *numbered) leafAt(log warg.LogID, i uint64) (at place, ok bool, err error) {
	var payload []byte
	err = n.db.View(func(txn *badger.Txn) error {
		payload, ok, err = get(txn, n.leafKey(log, i))
		return err
	})
	if err != nil || !ok {
		return place{}, false, err
	}
	if len(payload) != placeLen {
		return place{}, false, fmt.Errorf("%w: leaf of %d bytes", tree.ErrIndexCorrupt, len(payload))
	}
	at = readPlace(payload)
	ok, err = n.inLedger(log, at)
	return at, ok, err
}

func appendPlace(b []byte, at place) []byte { return append(appendNumber(b, at.index), at.id[:]...) }

func readPlace(b []byte) place {
	return place{binary.BigEndian.Uint64(b), warg.RecordID(b[8:placeLen])}
}

// firstPlaces is how many leaves of a log stand in the log's own entry: all, of nearly
// all logs.
const firstPlaces = 64

// logPlaces is how many leaves a log has in the trees, and where its first stand.
type logPlaces struct {
	leaves uint64
	places []place // min(leaves, firstPlaces)
}

// placesOf reads the entry of a log. It was written with an update; if that never
// became the head, the log is walked back.
func (n *numbered) placesOf(txn *badger.Txn, log warg.LogID) (l logPlaces, err error) {
	payload, ok, err := get(txn, n.logKey(log))
	if err != nil || !ok {
		return l, err
	}
	const head = 16
	if len(payload) < head || (len(payload)-head)%placeLen != 0 {
		return l, fmt.Errorf("%w: log of %d bytes", tree.ErrIndexCorrupt, len(payload))
	}
	l.leaves = binary.BigEndian.Uint64(payload)
	written := binary.BigEndian.Uint64(payload[8:])
	for b := payload[head:]; len(b) > 0; b = b[placeLen:] {
		l.places = append(l.places, readPlace(b))
	}
	if uint64(len(l.places)) != min(l.leaves, firstPlaces) {
		return l, fmt.Errorf("%w: log of %d leaves with places of %d", tree.ErrIndexCorrupt, l.leaves, len(l.places))
	}
	for written > n.tree.Head().Length && l.leaves > firstPlaces {
		if _, ok, err := n.leafAt(log, l.leaves-1); err != nil || ok {
			return l, err
		}
		l.leaves--
	}
	return l, n.cutLost(log, &l)
}

// cutLost cuts off the last of the first places while they are not in the ledger. Where
// one is, those before it are: they were written together, or after they were read.
func (n *numbered) cutLost(log warg.LogID, l *logPlaces) error {
	for len(l.places) > 0 {
		ok, err := n.inLedger(log, l.places[len(l.places)-1])
		if err != nil || ok {
			return err
		}
		l.places = l.places[:len(l.places)-1]
		l.leaves = uint64(len(l.places))
	}
	return nil
}
