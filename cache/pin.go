package cache

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

func pinKey(d warg.Digest) []byte { return append([]byte{kindPin}, d[:]...) }

// PinContent keeps content from being evicted, and from counting towards what may be
// kept, from now on and after restarts. It may be put later.
func (r *Registry) PinContent(d warg.Digest) error {
	if r.c.budget.isPinned(d) {
		return nil
	}
	key := pinKey(d)
	err := r.c.db.Update(func(txn *badger.Txn) error { return txn.Set(key, tree.Seal(key, nil)) })
	if err != nil {
		return fmt.Errorf("pinning content: %w", err)
	}
	r.c.budget.pin(d)
	return nil
}

func (b *budget) isPinned(d warg.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.pins[d]
	return ok
}

// pin takes content out of what may be evicted, now or when it is put.
func (b *budget) pin(d warg.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pins[d] = struct{}{}
	if e, ok := b.uses[d]; ok {
		b.hold(d, e.Value.(*use).size)
		b.forget(d)
	}
}

// loadPins reads the pins. That one is damaged does not matter: it has no value.
func (c *Cache) loadPins() error {
	err := c.db.View(func(txn *badger.Txn) error {
		return eachKey(context.Background(), txn, []byte{kindPin}, func(key []byte) error {
			if len(key) == 1+warg.DigestSize {
				c.budget.pin(warg.Digest(key[1:]))
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("reading what is pinned: %w", err)
	}
	return nil
}
