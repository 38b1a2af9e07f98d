package index

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/internal/kv"
)

// Database is where an index is kept.
type Database interface {
	// Open opens it, or makes an empty one. The error is [ErrCorrupt] if it cannot be
	// used and must be made anew. It may panic as well: that is damage too.
	Open() (kv.Store, error)
	// OpenBulk is Open for writing much at once.
	OpenBulk() (kv.Store, error)
	// SetAside makes the next Open begin with an empty one.
	SetAside() error
}

// ErrCorrupt says that the database cannot be used and must be made anew.
var ErrCorrupt = errors.New("index database is damaged")

func openDatabase(open func() (kv.Store, error)) (db kv.Store, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return open()
}

// InMemory returns a database that is as durable as m.
func InMemory(m *kv.Memory) Database { return memory{m} }

type memory struct{ m *kv.Memory }

func (d memory) Open() (kv.Store, error) { return d.m.Open(), nil }

func (d memory) OpenBulk() (kv.Store, error) { return d.Open() }

func (d memory) SetAside() error {
	d.m.Erase()
	return nil
}
