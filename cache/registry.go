package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Registry is the part of a cache that belongs to one registry.
type Registry struct {
	c      *Cache
	domain string
	scope  []byte                            // prefix of the keys that say what content the registry has
	seen   *lru.Cache[warg.Digest, struct{}] // content that it is known to have
	now    atomic.Pointer[numbered]
}

// numbered is a registry's number, and what lives under it.
type numbered struct {
	db     database
	number uint32
	prefix []byte
	tree   *tree.Tree
	views  *views
}

// Registry opens the part of a registry, made if it does not exist. Trees that are
// damaged are dropped.
func (c *Cache) Registry(domain string) (*Registry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.open[domain]; ok {
		return r, nil
	}
	r := &Registry{c: c, domain: domain, scope: scopeOf(domain)}
	seen, err := lru.New[warg.Digest, struct{}](seenDigests)
	if err != nil {
		return nil, err
	}
	r.seen = seen
	number, ok, err := c.numberOf(domain)
	if err != nil {
		return nil, err
	}
	if ok {
		err = r.use(number)
	}
	if !ok || err != nil {
		if err != nil {
			c.o.Log.Warn("cached replica is damaged and will be fetched again", "upstream", domain, "error", err)
		}
		if err := r.renumber(); err != nil {
			return nil, err
		}
	}
	c.open[domain] = r
	return r, nil
}

// scopeOf returns the prefix of the keys that say what content a registry has.
func scopeOf(domain string) []byte {
	sum := warg.Sum([]byte(domain))
	return append([]byte{kindScope}, sum[:sumLen]...)
}

func domainKey(domain string) []byte { return append([]byte{kindDomain}, domain...) }

func inUseKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kindInUse}, number)
}

// numberOf returns the number of a domain. A damaged value counts as missing.
func (c *Cache) numberOf(domain string) (number uint32, ok bool, err error) {
	err = c.db.View(func(txn *badger.Txn) error {
		payload, found, err := get(txn, domainKey(domain))
		if errors.Is(err, tree.ErrIndexCorrupt) || err == nil && (!found || len(payload) != 4) {
			return nil
		}
		if err == nil {
			number, ok = binary.BigEndian.Uint32(payload), true
		}
		return err
	})
	return number, ok, err
}

// use begins to work with what is under a number.
func (r *Registry) use(number uint32) error {
	n := &numbered{db: r.c.db, number: number, prefix: prefixOf(number)}
	t, err := tree.Open(r.c.db.Store(), append(prefixOf(number), kindTree), tree.Options{CacheBytes: r.c.o.TreeCache})
	if err != nil {
		return fmt.Errorf("opening trees of upstream `%s`: %w", r.domain, err)
	}
	n.tree = t
	if n.views, err = newViews(); err != nil {
		return err
	}
	r.now.Store(n)
	return nil
}

// renumber draws a new number, under which there is nothing. The caller holds the
// cache's lock.
func (r *Registry) renumber() error {
	var number uint32
	err := r.c.db.Update(func(txn *badger.Txn) error {
		number = nextNumber(txn)
		use, domain := inUseKey(number), domainKey(r.domain)
		if err := txn.Set(use, tree.Seal(use, nil)); err != nil {
			return err
		}
		return txn.Set(domain, tree.Seal(domain, binary.BigEndian.AppendUint32(nil, number)))
	})
	if err != nil {
		return fmt.Errorf("making room for upstream `%s` in the cache: %w", r.domain, err)
	}
	return r.use(number)
}

// nextNumber returns a number greater than all in use.
func nextNumber(txn *badger.Txn) uint32 {
	it := txn.NewIterator(badger.IteratorOptions{Reverse: true, Prefix: []byte{kindInUse}})
	defer it.Close()
	it.Seek([]byte{kindInUse, 0xff, 0xff, 0xff, 0xff})
	if !it.Valid() {
		return 1
	}
	return binary.BigEndian.Uint32(it.Item().Key()[1:]) + 1
}

// Reset forgets leaves, trees, records and names of the registry. Content stays.
func (r *Registry) Reset() error {
	if n := r.now.Load(); n.tree.Head().Length == 0 && !n.holdsAnything() {
		return nil
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if err := r.renumber(); err != nil {
		return err
	}
	r.c.sweep()
	return nil
}

// holdsAnything reports whether there is any key, for example of a first update
// that a crash cut short.
func (n *numbered) holdsAnything() bool {
	found := false
	_ = n.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: n.prefix})
		defer it.Close()
		it.Rewind()
		found = it.Valid()
		return nil
	})
	return found
}

// Sync makes what was written so far survive a power cut, as far as Badger can.
func (r *Registry) Sync() error {
	if err := r.c.db.Sync(); err != nil {
		return fmt.Errorf("syncing the cache: %w", err)
	}
	return nil
}

// sweep deletes, in the background, what is under numbers that no domain has.
func (c *Cache) sweep() {
	c.sweeper.Add(1)
	go func() {
		defer c.sweeper.Done()
		if err := c.deleteGarbage(); err != nil {
			c.o.Log.Warn("deleting old cache entries", "error", err)
		}
	}()
}

func (c *Cache) deleteGarbage() error {
	for {
		number, ok, err := c.garbage()
		if err != nil || !ok {
			return err
		}
		for {
			n, err := c.deleteSome(prefixOf(number))
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
		if err := c.db.Update(func(txn *badger.Txn) error { return txn.Delete(inUseKey(number)) }); err != nil {
			return err
		}
	}
}

// garbage returns a number in use that no domain has.
func (c *Cache) garbage() (number uint32, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.db.View(func(txn *badger.Txn) error {
		owned := make(map[uint32]bool)
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kindDomain}, PrefetchValues: true})
		for it.Rewind(); it.Valid(); it.Next() {
			payload, found, err := get(txn, it.Item().KeyCopy(nil))
			if err == nil && found && len(payload) == 4 {
				owned[binary.BigEndian.Uint32(payload)] = true
			}
		}
		it.Close()
		it = txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kindInUse}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if n := binary.BigEndian.Uint32(it.Item().Key()[1:]); !owned[n] {
				number, ok = n, true
				return nil
			}
		}
		return nil
	})
	return number, ok, err
}

// deleteSome deletes some keys with a prefix and returns how many.
func (c *Cache) deleteSome(prefix []byte) (int, error) {
	const atATime = 10_000
	var keys [][]byte
	err := c.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid() && len(keys) < atATime; it.Next() {
			keys = append(keys, it.Item().KeyCopy(nil))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	wb := c.db.NewWriteBatch()
	defer wb.Cancel()
	for _, k := range keys {
		if err := wb.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(keys), wb.Flush()
}
