package cache

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Kinds of keys; see the package comment.
const (
	kindDomain   = 'D'
	kindInUse    = '#'
	kindRegistry = 'R'
	kindScope    = 'C'
	kindBlob     = 'B'
	kindUse      = 'U'
	kindPin      = 'P'

	kindTree   = 'T'
	kindLog    = 'L'
	kindLeaf   = 'S'
	kindFind   = 'F'
	kindHeld   = 'H'
	kindRecord = 'V'
	kindToken  = 'K'
	kindName   = 'N'
)

const sumLen = 16 // bytes of a SHA-256 that make a key of arbitrary text

// prefixOf returns the prefix of everything of a registry's number.
func prefixOf(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kindRegistry}, number)
}

func (n *numbered) key(kind byte, log warg.LogID, more int) []byte {
	key := make([]byte, 0, len(n.prefix)+1+len(log)+more)
	return append(append(append(key, n.prefix...), kind), log[:]...)
}

func (n *numbered) logKey(log warg.LogID) []byte  { return n.key(kindLog, log, 0) }
func (n *numbered) heldKey(log warg.LogID) []byte { return n.key(kindHeld, log, 0) }
func (n *numbered) nameKey(log warg.LogID) []byte { return n.key(kindName, log, 0) }

func (n *numbered) leafKey(log warg.LogID, i uint64) []byte {
	return binary.BigEndian.AppendUint64(n.key(kindLeaf, log, 8), i)
}

func (n *numbered) recordKey(log warg.LogID, i uint64, part byte) []byte {
	return append(binary.BigEndian.AppendUint64(n.key(kindRecord, log, 9), i), part)
}

func (n *numbered) findKey(log warg.LogID, id warg.RecordID) []byte {
	return append(n.key(kindFind, log, len(id)), id[:]...)
}

func (n *numbered) tokenKey(log warg.LogID, token string) []byte {
	sum := warg.Sum([]byte(token))
	return append(n.key(kindToken, log, sumLen), sum[:sumLen]...)
}

// get reads and unframes a value. ok is false if there is none.
func get(txn *badger.Txn, key []byte) (payload []byte, ok bool, err error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the cache: %w", err)
	}
	err = item.Value(func(v []byte) error {
		p, err := tree.Unseal(key, v)
		payload = append([]byte{}, p...)
		return err
	})
	return payload, err == nil, err
}

// getNumbers reads a value that consists of as many 64-bit numbers.
func getNumbers(txn *badger.Txn, key []byte, numbers ...*uint64) (ok bool, err error) {
	payload, ok, err := get(txn, key)
	if err != nil || !ok {
		return false, err
	}
	if len(payload) < 8*len(numbers) {
		return false, fmt.Errorf("%w: value of %d bytes", tree.ErrIndexCorrupt, len(payload))
	}
	for i, n := range numbers {
		*n = binary.BigEndian.Uint64(payload[8*i:])
	}
	return true, nil
}

// putNumbers frames numbers as a value.
func putNumbers(key []byte, numbers ...uint64) []byte {
	payload := make([]byte, 0, 8*len(numbers))
	for _, n := range numbers {
		payload = binary.BigEndian.AppendUint64(payload, n)
	}
	return tree.Seal(key, payload)
}
