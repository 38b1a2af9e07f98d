package tree

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/internal/kv"
)

// The letters of the kinds of keys.
const (
	kindHead       = 'h'
	kindCheckpoint = 'c'
	kindPage       = 'l'
	kindTile       = 't'
	kindPatch      = 'm'
)

// maxKeySuffix is the length of the longest key without its prefix.
const maxKeySuffix = 1 + 8 + 4

func (t *Tree) newKey(kind byte) []byte {
	key := make([]byte, 0, len(t.prefix)+maxKeySuffix)
	return append(append(key, t.prefix...), kind)
}

func (t *Tree) headKey() []byte { return t.newKey(kindHead) }

func (t *Tree) checkpointKey(length uint64) []byte {
	return binary.BigEndian.AppendUint64(t.newKey(kindCheckpoint), length)
}

func (t *Tree) pageKey(page uint64) []byte {
	return binary.BigEndian.AppendUint64(t.newKey(kindPage), page)
}

func (t *Tree) tileKey(id tileID) []byte {
	return binary.BigEndian.AppendUint64(append(t.newKey(kindTile), byte(id.level)), id.index)
}

func (t *Tree) partKey(id partID) []byte {
	key := binary.BigEndian.AppendUint64(t.newKey(kindPatch), id.length)
	return binary.BigEndian.AppendUint32(key, id.part)
}

// get reads the value of a key and hands the payload to use, which must not keep it.
// A key that is not there is [kv.ErrNotFound].
func (t *Tree) get(key []byte, use func(payload []byte) error) error {
	err := t.db.View(func(r kv.Reader) error {
		return r.Read(key, func(value []byte) error {
			payload, err := Unseal(key, value)
			if err != nil {
				return err
			}
			return use(payload)
		})
	})
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return fmt.Errorf("reading %q of the index: %w", key, err)
	case errors.Is(err, kv.ErrDamaged):
		return fmt.Errorf("%w: %w", ErrIndexCorrupt, err)
	}
	return err
}

// need is get for a key that must be there.
func (t *Tree) need(key []byte, use func(payload []byte) error) error {
	err := t.get(key, use)
	if errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrIndexCorrupt, err)
	}
	return err
}
