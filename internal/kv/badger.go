package kv

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Badger returns a store over an open database, which it closes. What is written there
// is not compared with the room on the disk; see [Disk.Store].
func Badger(db *badger.DB) Store { return badgerStore{db, nil} }

type badgerStore struct {
	db   *badger.DB
	room *room // nil = as much as there may be
}

func (s badgerStore) View(read func(Reader) error) error {
	return s.db.View(func(txn *badger.Txn) error { return read(badgerTxn{txn}) })
}

// List implements [Lister].
func (s badgerStore) List(prefix []byte, visit func(key, value []byte) error) error {
	return s.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = prefix
		at := txn.NewIterator(o)
		defer at.Close()
		for at.Rewind(); at.Valid(); at.Next() {
			used := false
			err := at.Item().Value(func(value []byte) error {
				used = true
				return visit(at.Item().Key(), value)
			})
			if err != nil && !used {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s badgerStore) Begin() Txn {
	return &badgerWrite{badgerTxn: badgerTxn{s.db.NewTransaction(true)}, room: s.room}
}

func (s badgerStore) Sync() error  { return s.room.sync() }
func (s badgerStore) Room() error  { return s.room.batch() }
func (s badgerStore) Close() error { return (&Disk{s.db, s.room}).Close() }

// badgerTxn is one pointer wide, so that no call allocates for the interface.
type badgerTxn struct{ txn *badger.Txn }

func (t badgerTxn) Read(key []byte, use func(value []byte) error) error {
	item, err := t.txn.Get(key)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return ErrNotFound
	case errors.Is(err, badger.ErrDBClosed), errors.Is(err, badger.ErrDiscardedTxn):
		return fmt.Errorf("reading the database: %w", err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	used := false
	err = item.Value(func(value []byte) error {
		used = true
		return use(value)
	})
	if err != nil && !used {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// badgerWrite is a transaction that writes.
type badgerWrite struct {
	badgerTxn
	room *room
	size int64 // of what was set, in bytes
}

func (t *badgerWrite) Set(key, value []byte) error {
	err := t.txn.Set(key, value)
	if errors.Is(err, badger.ErrTxnTooBig) {
		return ErrTooLarge
	}
	t.size += int64(len(key)+len(value)) + entryRoom
	return err
}

func (t *badgerWrite) Commit() error {
	if err := t.room.reserve(t.size + entryRoom); err != nil { // it ends with an entry
		t.txn.Discard()
		return err
	}
	return t.txn.Commit()
}

func (t *badgerWrite) Discard() { t.txn.Discard() }
