package cache

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"unique"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Content is pinned for somebody: for an import into a registry's replica, which is
// for good, or for the plan of its mirror, which may change. It is pinned as long as
// anybody has it pinned. A key is the digest and then who: the scope of the registry,
// and why.
const (
	pinnedByImport = 'i'
	pinnedByPlan   = 'p'
)

// pinner is who has content pinned: what follows the digest in the key.
type pinner = unique.Handle[string]

func (r *Registry) pinner(why byte) pinner {
	return unique.Make(string(r.scope[1:]) + string(rune(why)))
}

func pinKey(d warg.Digest, who pinner) []byte {
	return append(append([]byte{kindPin}, d[:]...), who.Value()...)
}

// PinContent keeps content that was imported from being evicted, and from counting
// towards what may be kept, from now on and after restarts. It may be put later.
func (r *Registry) PinContent(d warg.Digest) error {
	return r.c.pin(d, r.pinner(pinnedByImport))
}

// Planned is the content of a registry that a plan keeps ahead of time.
func (r *Registry) Planned() Planned { return Planned{r.c, r.pinner(pinnedByPlan)} }

// Planned pins content for the plan of a mirror.
type Planned struct {
	c   *Cache
	who pinner
}

// Pin keeps content from being evicted, like [Registry.PinContent], until it is
// released.
func (p Planned) Pin(d warg.Digest) error { return p.c.pin(d, p.who) }

// Release takes the pins of the plan from all content but that which is to be kept. It
// stays until room is needed.
func (p Planned) Release(keep func(warg.Digest) bool) error {
	for _, d := range p.c.budget.pinnedFor(p.who) {
		if !keep(d) {
			if err := p.c.unpin(d, p.who); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReleasePlans takes the pins of the plans of all registries but these, which are the
// ones that are still answered for. What was imported stays pinned: it may be all
// there is.
func (c *Cache) ReleasePlans(except []string) error {
	var known []pinner
	for _, domain := range except {
		known = append(known, (&Registry{scope: scopeOf(domain)}).pinner(pinnedByPlan))
	}
	for _, who := range c.budget.pinners() {
		if text := who.Value(); text == "" || text[len(text)-1] != pinnedByPlan || slices.Contains(known, who) {
			continue
		}
		if err := (Planned{c, who}).Release(func(warg.Digest) bool { return false }); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) pin(d warg.Digest, who pinner) error {
	if c.budget.isPinnedBy(d, who) {
		return nil
	}
	key := pinKey(d, who)
	err := c.db.Update(func(txn *badger.Txn) error { return txn.Set(key, tree.Seal(key, nil)) })
	if err != nil {
		return fmt.Errorf("pinning content: %w", err)
	}
	c.budget.pin(d, who)
	return nil
}

func (c *Cache) unpin(d warg.Digest, who pinner) error {
	key := pinKey(d, who)
	if err := c.db.Update(func(txn *badger.Txn) error { return txn.Delete(key) }); err != nil {
		return fmt.Errorf("releasing pinned content: %w", err)
	}
	c.budget.unpin(d, who)
	c.fit()
	return nil
}

func (b *budget) isPinnedBy(d warg.Digest, who pinner) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.pins[d], who)
}

func (b *budget) isPinned(d warg.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pins[d]) > 0
}

// pin takes content out of what may be evicted, now or when it is put.
func (b *budget) pin(d warg.Digest, who pinner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Contains(b.pins[d], who) {
		return
	}
	b.pins[d] = append(b.pins[d], who)
	if e, ok := b.uses[d]; ok {
		b.hold(d, e.Value.(*use).size)
		b.forget(d)
	}
}

// unpin makes content evictable again unless somebody else has it pinned. It counts
// as used longest ago, since nobody noted when it was.
func (b *budget) unpin(d warg.Digest, who pinner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(b.pins[d]), func(p pinner) bool { return p == who })
	if len(left) > 0 {
		b.pins[d] = left
		return
	}
	delete(b.pins, d)
	if size, held := b.pinned[d]; held {
		b.pinnedBytes -= size
		delete(b.pinned, d)
		b.uses[d] = b.order.PushBack(&use{digest: d, size: size})
		b.total += size
	}
}

// pinnedFor returns what somebody has pinned.
func (b *budget) pinnedFor(who pinner) (all []warg.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for d, pinners := range b.pins {
		if slices.Contains(pinners, who) {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b warg.Digest) int { return bytes.Compare(a[:], b[:]) })
	return all
}

// pinners returns all who have something pinned.
func (b *budget) pinners() (all []pinner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[pinner]bool{}
	for _, pinners := range b.pins {
		for _, p := range pinners {
			if !seen[p] {
				seen[p] = true
				all = append(all, p)
			}
		}
	}
	return all
}

// loadPins reads the pins. That one is damaged does not matter: it has no value. Of
// those without a pinner nobody knows for whom they are, so they are never released.
func (c *Cache) loadPins() error {
	err := c.db.View(func(txn *badger.Txn) error {
		return eachKey(context.Background(), txn, []byte{kindPin}, func(key []byte) error {
			if end := 1 + warg.DigestSize; len(key) >= end {
				c.budget.pin(warg.Digest(key[1:end]), unique.Make(string(key[end:])))
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("reading what is pinned: %w", err)
	}
	return nil
}
