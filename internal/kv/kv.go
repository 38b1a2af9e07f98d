// Package kv is the seam between what is kept in a key-value database and the
// database itself. The trees and the index of the authority know [Store] alone;
// [Badger] is the one that is shipped, and [Memory] one that forgets, lies and
// panics in the ways that Badger was seen to, for tests and simulations. A contract
// suite holds for both.
//
// Whoever stores something here frames it with a checksum of its own (see
// tree.Seal): a store may return an empty value, or lose the last transactions,
// without saying so.
package kv

import "errors"

// Errors of stores.
var (
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("key not found")
	// ErrDamaged: there is something, but it cannot be read.
	ErrDamaged = errors.New("the database is damaged")
	// ErrTooLarge: the transaction is full. What was set before stays in it.
	ErrTooLarge = errors.New("transaction is too large")
)

// Store is an open database. Reading is safe for concurrent use; one transaction is
// written at a time.
type Store interface {
	// View calls read with one consistent state of the database.
	View(read func(Reader) error) error
	// Begin begins a transaction that writes.
	Begin() Txn
	// Room returns an error, syscall.ENOSPC as a rule, if the disk may not hold another
	// batch. A commit fails without effect rather than begin what there is no room for.
	Room() error
	// Sync makes durable what was committed.
	Sync() error
	// Close writes out what was committed.
	Close() error
}

// Reader reads one state of a database.
type Reader interface {
	// Read hands the value of a key to use, which must not keep it. A key that is not
	// there is [ErrNotFound], one that cannot be read [ErrDamaged].
	Read(key []byte, use func(value []byte) error) error
}

// Lister is a store that can say what it has.
type Lister interface {
	// List visits the keys with a prefix, in order, with their values, which visit must
	// not keep. A value that cannot be read is [ErrDamaged].
	List(prefix []byte, visit func(key, value []byte) error) error
}

// Txn is a transaction: everything in it becomes visible with Commit, or nothing.
// It may keep keys and values until then.
type Txn interface {
	Set(key, value []byte) error // or ErrTooLarge
	Commit() error
	Discard() // does nothing after Commit
}

// Write runs write with a function that sets keys in as many transactions as are
// needed, and commits the last. After an error some of them may be committed.
func Write(s Store, write func(set func(key, value []byte) error) error) error {
	txn := s.Begin()
	defer func() { txn.Discard() }()
	err := write(func(key, value []byte) error {
		err := txn.Set(key, value)
		if !errors.Is(err, ErrTooLarge) {
			return err
		}
		if err := txn.Commit(); err != nil {
			return err
		}
		txn = s.Begin()
		return txn.Set(key, value)
	})
	if err != nil {
		return err
	}
	return txn.Commit()
}
