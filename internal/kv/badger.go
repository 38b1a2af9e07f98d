package kv

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Badger returns a store over an open database, which it closes.
func Badger(db *badger.DB) Store { return badgerStore{db} }

type badgerStore struct{ db *badger.DB }

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

func (s badgerStore) Begin() Txn   { return badgerTxn{s.db.NewTransaction(true)} }
func (s badgerStore) Close() error { return s.db.Close() }

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

func (t badgerTxn) Set(key, value []byte) error {
	err := t.txn.Set(key, value)
	if errors.Is(err, badger.ErrTxnTooBig) {
		return ErrTooLarge
	}
	return err
}

func (t badgerTxn) Commit() error { return t.txn.Commit() }
func (t badgerTxn) Discard()      { t.txn.Discard() }
