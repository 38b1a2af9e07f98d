package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// The letters of the keys.
const (
	keyHeader  = 'H'
	keyLog     = 'L'
	keyPlace   = 'P'
	keyRecord  = 'R'
	keyContent = 'C'
	keyTree    = 'T'
)

// get reads the value of a key and hands it to use, which must not keep it.
func (x *Index) get(key []byte, use func([]byte) error) error {
	short, ok := shortKeyOf(key)
	if !ok {
		return x.db.View(func(r kv.Reader) error { return getIn(r, key, use) })
	}
	absent, seen := x.absent.look(short)
	if absent {
		return kv.ErrNotFound
	}
	err := x.db.View(func(r kv.Reader) error { return getIn(r, key, use) })
	if errors.Is(err, kv.ErrNotFound) {
		x.absent.keep(short, seen)
	}
	return err
}

func getIn(r kv.Reader, key []byte, use func([]byte) error) error {
	err := r.Read(key, func(value []byte) error {
		payload, err := tree.Unseal(key, value)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return use(payload)
	})
	if errors.Is(err, kv.ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

func logKey(id warg.LogID) []byte       { return append([]byte{keyLog}, id[:]...) }
func recordKey(id warg.RecordID) []byte { return append([]byte{keyRecord}, id[:]...) }

// otherKey is the key of a record whose bytes are those of a record of another log.
func otherKey(log warg.LogID, id warg.RecordID) []byte { return append(recordKey(id), log[:]...) }

func contentKey(d warg.Digest) []byte { return append([]byte{keyContent}, d[:]...) }

func placeKey(id warg.LogID, place uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{keyPlace}, id[:]...), place)
}

// Place is where a record of a log stands.
type Place struct {
	Index    uint64 // in the registry
	Record   warg.RecordID
	Position segment.Position // in the journal
}

const placeSize = 8 + warg.DigestSize + 8 + 4 + 4

func (p Place) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, placeSize), p.Index)
	b = append(b, p.Record[:]...)
	b = binary.BigEndian.AppendUint64(b, p.Position.Segment)
	b = binary.BigEndian.AppendUint32(b, p.Position.Offset)
	return binary.BigEndian.AppendUint32(b, p.Position.Size)
}

func decodePlace(b []byte) (p Place, err error) {
	if len(b) != placeSize {
		return p, fmt.Errorf("%w: place of %d bytes", ErrCorrupt, len(b))
	}
	p.Index = binary.BigEndian.Uint64(b)
	copy(p.Record[:], b[8:])
	b = b[8+warg.DigestSize:]
	p.Position = segment.Position{
		Segment: binary.BigEndian.Uint64(b), Offset: binary.BigEndian.Uint32(b[8:]), Size: binary.BigEndian.Uint32(b[12:]),
	}
	return p, nil
}

// Log is what is known of a log as a whole.
type Log struct {
	Name  warg.PackageName // zero for the operator log
	Count uint32           // records
}

// Log returns a log as the registry of a length has it; ok is false if it has no
// record there.
func (x *Index) Log(id warg.LogID, length uint64) (l Log, ok bool, err error) {
	err = x.get(logKey(id), func(b []byte) error {
		l, err = decodeLog(b)
		return err
	})
	if errors.Is(err, kv.ErrNotFound) {
		return Log{}, false, nil
	}
	// Entries above the length are few: one batch at most, or what a crash left.
	for err == nil && l.Count > 0 {
		var p Place
		if p, err = x.place(id, l.Count-1); err == nil && p.Index < length {
			break
		}
		l.Count--
	}
	return l, err == nil && l.Count > 0, err
}

func decodeLog(b []byte) (l Log, err error) {
	if len(b) < 4 {
		return l, fmt.Errorf("%w: log of %d bytes", ErrCorrupt, len(b))
	}
	l.Count = binary.BigEndian.Uint32(b)
	if len(b) > 4 {
		l.Name, err = warg.ParsePackageName(string(b[4:]))
	}
	return l, err
}

func (x *Index) place(id warg.LogID, place uint32) (p Place, err error) {
	err = x.db.View(func(r kv.Reader) error {
		p, err = placeIn(r, id, place)
		return err
	})
	return p, err
}

func placeIn(r kv.Reader, id warg.LogID, place uint32) (p Place, err error) {
	err = getIn(r, placeKey(id, place), func(b []byte) error {
		p, err = decodePlace(b)
		return err
	})
	if errors.Is(err, kv.ErrNotFound) {
		err = fmt.Errorf("%w: log %s has no record %d", ErrCorrupt, id, place)
	}
	return p, err
}

// Places returns where records of a log stand, from a place on up to and without
// another.
func (x *Index) Places(id warg.LogID, from, to uint32) (list []Place, err error) {
	if to <= from {
		return nil, nil
	}
	list = make([]Place, 0, to-from)
	err = x.db.View(func(r kv.Reader) error {
		for at := from; at < to; at++ {
			p, err := placeIn(r, id, at)
			if err != nil {
				return err
			}
			list = append(list, p)
		}
		return nil
	})
	return list, err
}

// Record is what has become of a record.
type Record struct {
	Log    warg.LogID
	State  warg.State // StatePublished or StateRejected
	Index  uint64     // StatePublished: in the registry
	Place  uint32     // StatePublished: in its log
	Reason string     // StateRejected
}

func (r Record) encode() []byte {
	b := append([]byte{byte(r.State)}, r.Log[:]...)
	if r.State == warg.StateRejected {
		return append(b, r.Reason...)
	}
	b = binary.BigEndian.AppendUint64(b, r.Index)
	return binary.BigEndian.AppendUint32(b, r.Place)
}

func decodeRecord(b []byte) (r Record, err error) {
	const fixed = 1 + warg.DigestSize
	if len(b) < fixed {
		return r, fmt.Errorf("%w: record of %d bytes", ErrCorrupt, len(b))
	}
	r.State = warg.State(b[0])
	copy(r.Log[:], b[1:])
	rest := b[fixed:]
	switch {
	case r.State == warg.StateRejected:
		r.Reason = string(rest)
	case r.State == warg.StatePublished && len(rest) == 12:
		r.Index, r.Place = binary.BigEndian.Uint64(rest), binary.BigEndian.Uint32(rest[8:])
	default:
		return r, fmt.Errorf("%w: record in state %d with %d bytes", ErrCorrupt, b[0], len(b))
	}
	return r, nil
}

// Record returns what has become of a record, in whichever log; ok is false if it is
// not known, or stands beyond the head. Operator records are known like others.
func (x *Index) Record(id warg.RecordID) (r Record, ok bool, err error) {
	return x.record(recordKey(id))
}

// RecordOf is Record for a record of one log. Bytes that an author signed once can be
// a record of several.
func (x *Index) RecordOf(log warg.LogID, id warg.RecordID) (r Record, ok bool, err error) {
	r, ok, _, err = x.Find(log, id)
	return r, ok, err
}

// Find is RecordOf that tells more of a record that is not known in the log:
// elsewhere is true if it is in another one.
func (x *Index) Find(log warg.LogID, id warg.RecordID) (r Record, ok, elsewhere bool, err error) {
	if r, ok, err = x.Record(id); !ok || err != nil || r.Log == log {
		return r, ok, false, err
	}
	r, ok, err = x.record(otherKey(log, id))
	return r, ok, !ok, err
}

func (x *Index) record(key []byte) (r Record, ok bool, err error) {
	err = x.get(key, func(b []byte) error {
		r, err = decodeRecord(b)
		return err
	})
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return Record{}, false, nil
	case err != nil:
		return Record{}, false, err
	}
	if r.State == warg.StatePublished && r.Index >= x.tree.Head().Length {
		return Record{}, false, nil
	}
	return r, true, nil
}

// Released returns the first registry index whose record releases content; ok is
// false if none does.
func (x *Index) Released(d warg.Digest) (index uint64, ok bool, err error) {
	err = x.get(contentKey(d), func(b []byte) error {
		if len(b) != 8 {
			return fmt.Errorf("%w: content of %d bytes", ErrCorrupt, len(b))
		}
		index = binary.BigEndian.Uint64(b)
		return nil
	})
	if errors.Is(err, kv.ErrNotFound) {
		return 0, false, nil
	}
	return index, err == nil && index < x.tree.Head().Length, err
}

// contents returns the digests that a batch releases, without duplicates.
func contents(list []warg.Digest) []warg.Digest {
	list = slices.Clone(list)
	slices.SortFunc(list, warg.Digest.Compare)
	return slices.Compact(list)
}
