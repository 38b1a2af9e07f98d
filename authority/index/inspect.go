package index

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Visitor is told what stands in an index besides the trees and the ledger. An error of
// its functions ends the visit.
type Visitor struct {
	Log     func(id warg.LogID) error // that has records below the head
	Place   func(log warg.LogID, place uint32, p Place) error
	Record  func(id warg.RecordID, r Record) error
	Content func(d warg.Digest, first uint64) error
}

// Visit visits every entry below the head, for somebody who only looks. What a crash
// leaves at or above the head is passed over.
func (x *Index) Visit(v Visitor) error {
	l, ok := x.db.(kv.Lister)
	if !ok {
		return errors.New("the index's database cannot be listed")
	}
	for letter, visit := range map[byte]func(key, payload []byte) error{
		keyLog:     func(k, _ []byte) error { return x.visitLog(k, v) },
		keyPlace:   func(k, b []byte) error { return x.visitPlace(k, b, v) },
		keyRecord:  func(k, b []byte) error { return x.visitRecord(k, b, v) },
		keyContent: func(k, b []byte) error { return x.visitContent(k, b, v) },
	} {
		err := l.List([]byte{letter}, func(key, value []byte) error {
			payload, err := tree.Unseal(key, value)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			return visit(key, payload)
		})
		if errors.Is(err, kv.ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkKey says whether a key has one of the lengths that it may have.
func checkKey(key []byte, lengths ...int) error {
	for _, n := range lengths {
		if len(key) == n {
			return nil
		}
	}
	return fmt.Errorf("%w: a key of %d bytes begins with %q", ErrCorrupt, len(key), key[:1])
}

const idKeySize = 1 + warg.DigestSize

func (x *Index) visitLog(key []byte, v Visitor) error {
	if err := checkKey(key, idKeySize); err != nil {
		return err
	}
	id := warg.LogID(key[1:])
	_, ok, err := x.Log(id, x.Head().Length)
	if err != nil || !ok {
		return err
	}
	return v.Log(id)
}

func (x *Index) visitPlace(key, payload []byte, v Visitor) error {
	if err := checkKey(key, idKeySize+4); err != nil {
		return err
	}
	p, err := decodePlace(payload)
	if err != nil || p.Index >= x.Head().Length {
		return err
	}
	return v.Place(warg.LogID(key[1:idKeySize]), binary.BigEndian.Uint32(key[idKeySize:]), p)
}

func (x *Index) visitRecord(key, payload []byte, v Visitor) error {
	if err := checkKey(key, idKeySize, idKeySize+warg.DigestSize); err != nil {
		return err
	}
	r, err := decodeRecord(payload)
	if err != nil || r.State == warg.StatePublished && r.Index >= x.Head().Length {
		return err
	}
	if len(key) > idKeySize && r.Log != warg.LogID(key[idKeySize:]) {
		return fmt.Errorf("%w: a record of log %x is said to be of log %s", ErrCorrupt, key[idKeySize:], r.Log)
	}
	return v.Record(warg.RecordID(key[1:idKeySize]), r)
}

func (x *Index) visitContent(key, payload []byte, v Visitor) error {
	if err := checkKey(key, idKeySize); err != nil {
		return err
	}
	if len(payload) != 8 {
		return fmt.Errorf("%w: content of %d bytes", ErrCorrupt, len(payload))
	}
	first := binary.BigEndian.Uint64(payload)
	if first >= x.Head().Length {
		return nil
	}
	return v.Content(warg.Digest(key[1:]), first)
}
