package cache

import (
	"container/list"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// useGranularity is how exactly the last use of content is written down. In memory
// it is exact.
const useGranularity = time.Hour

// budget knows all content that is kept: what is pinned, and the rest in order of its
// last use.
type budget struct {
	mu    sync.Mutex
	total int64      // bytes of what is not pinned
	order *list.List // of *use, the last used first
	uses  map[warg.Digest]*list.Element

	pins   map[warg.Digest][]pinner // who has content pinned, whether it is here or not
	pinned map[warg.Digest]int64    // sizes of what is pinned and here

	pinnedBytes int64 // the sum of pinned

	drops atomic.Uint64 // how many contents were deleted, or are being
}

type use struct {
	digest  warg.Digest
	size    int64
	written time.Time // the last use that is on disk
}

func newBudget() *budget {
	return &budget{
		order: list.New(), uses: make(map[warg.Digest]*list.Element),
		pins: make(map[warg.Digest][]pinner), pinned: make(map[warg.Digest]int64),
	}
}

func (b *budget) size(d warg.Digest) (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.uses[d]; ok {
		return e.Value.(*use).size, true
	}
	size, ok := b.pinned[d]
	return size, ok
}

// touch moves content to the front, adding it if it is new, and reports whether its
// use should be written down.
func (b *budget) touch(d warg.Digest, size int64, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pins[d]) > 0 {
		_, held := b.pinned[d]
		b.hold(d, size)
		return !held
	}
	e, ok := b.uses[d]
	if !ok {
		e = b.order.PushFront(&use{digest: d, size: size})
		b.uses[d] = e
		b.total += size
	}
	b.order.MoveToFront(e)
	u := e.Value.(*use)
	if now.Sub(u.written) < useGranularity {
		return false
	}
	u.written = now
	return true
}

func (b *budget) remove(d warg.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pinnedBytes -= b.pinned[d]
	delete(b.pinned, d)
	b.forget(d)
}

// hold notes the size of pinned content that is here. The caller holds the lock.
func (b *budget) hold(d warg.Digest, size int64) {
	b.pinnedBytes += size - b.pinned[d]
	b.pinned[d] = size
}

// forget takes content out of the order of use. The caller holds the lock.
func (b *budget) forget(d warg.Digest) {
	if e, ok := b.uses[d]; ok {
		b.total -= e.Value.(*use).size
		b.order.Remove(e)
		delete(b.uses, d)
	}
}

// victim takes the content used longest ago out of the account, if there is too much;
// never the one used last. Whoever pins it from now on finds that it is not here.
func (b *budget) victim(limit int64) (victim *use, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total <= limit || b.order.Len() < 2 {
		return nil, false
	}
	victim = b.order.Back().Value.(*use)
	b.drops.Add(1)
	b.forget(victim.digest)
	return victim, true
}

func useKey(d warg.Digest) []byte { return append([]byte{kindUse}, d[:]...) }

// used notes that content was used.
func (c *Cache) used(d warg.Digest, size int64) {
	if err := c.writeUse(d, size); err != nil {
		c.o.Log.Warn("noting the use of cached content", "error", err)
	}
}

func (c *Cache) writeUse(d warg.Digest, size int64) error {
	now := c.o.Now()
	if !c.budget.touch(d, size, now) {
		return nil
	}
	key := useKey(d)
	err := c.db.Update(func(txn *badger.Txn) error {
		return txn.Set(key, putNumbers(key, uint64(size), uint64(now.Unix())))
	})
	if err != nil {
		return fmt.Errorf("storing content: %w", err)
	}
	return nil
}

// added notes new content and makes room for it. drops is what the account said
// before the content was put: if something was deleted since, it may have been this.
func (c *Cache) added(d warg.Digest, size int64, drops uint64) error {
	if err := c.writeUse(d, size); err != nil {
		return err
	}
	c.fit()
	if c.budget.drops.Load() == drops || c.there(d) {
		return nil
	}
	c.budget.remove(d)
	return warg.Errorf(warg.KindUnavailable, "content `%s` was evicted while it was put", d)
}

// fit evicts what was used longest ago until everything that is not pinned fits.
func (c *Cache) fit() {
	c.deleting.Lock()
	defer c.deleting.Unlock()
	for {
		victim, ok := c.budget.victim(c.o.MaxContent)
		if !ok {
			return
		}
		c.counts.evictions.Add(1)
		c.counts.evictedBytes.Add(victim.size)
		c.delete(victim.digest)
	}
}

// there reports whether content is in the database or a file, once nothing is being
// deleted.
func (c *Cache) there(d warg.Digest) bool {
	c.deleting.Lock()
	defer c.deleting.Unlock()
	found := false
	err := c.db.View(func(txn *badger.Txn) (err error) {
		_, found, err = get(txn, blobKey(d))
		return err
	})
	if err == nil && found {
		return true
	}
	_, err = os.Stat(c.filePath(d))
	return err == nil
}

// drop deletes content. A reader that has it open goes on reading.
func (c *Cache) drop(d warg.Digest) {
	c.deleting.Lock()
	defer c.deleting.Unlock()
	c.budget.drops.Add(1)
	c.budget.remove(d)
	c.delete(d)
}

// delete deletes content that is not in the account. The caller holds the lock.
func (c *Cache) delete(d warg.Digest) {
	c.hot.Remove(d)
	err := c.db.Update(func(txn *badger.Txn) error {
		return errors.Join(txn.Delete(blobKey(d)), txn.Delete(useKey(d)))
	})
	if err == nil {
		err = os.Remove(c.filePath(d))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.o.Log.Warn("evicting cached content", "digest", d.String(), "error", err)
	}
}

// filePath returns where package cas keeps content.
func (c *Cache) filePath(d warg.Digest) string {
	h := d.Hex()
	return filepath.Join(c.o.Dir, contentDir, h[:2], h[2:])
}

// loadBudget reads what content there is, and deletes files that are not accounted
// for: the database that knew whose they were is gone.
func (c *Cache) loadBudget() error {
	c.budget = newBudget()
	if err := c.loadPins(); err != nil {
		return err
	}
	var uses []use
	err := c.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kindUse}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			var size, at uint64
			ok, err := getNumbers(txn, key, &size, &at)
			if errors.Is(err, tree.ErrIndexCorrupt) || err == nil && (!ok || len(key) != 1+warg.DigestSize) {
				continue
			}
			if err != nil {
				return err
			}
			uses = append(uses, use{warg.Digest(key[1:]), int64(size), time.Unix(int64(at), 0)})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the use of cached content: %w", err)
	}
	slices.SortFunc(uses, func(a, b use) int { return a.written.Compare(b.written) })
	for _, u := range uses {
		c.budget.touch(u.digest, u.size, u.written)
	}
	return c.deleteStrays()
}

func (c *Cache) deleteStrays() error {
	root := filepath.Join(c.o.Dir, contentDir)
	dirs, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("listing cached content: %w", err)
	}
	for _, dir := range dirs {
		if len(dir.Name()) != 2 {
			continue // tmp and bad
		}
		files, err := os.ReadDir(filepath.Join(root, dir.Name()))
		if err != nil {
			return fmt.Errorf("listing cached content: %w", err)
		}
		for _, f := range files {
			raw, err := hex.DecodeString(dir.Name() + f.Name())
			if err == nil && len(raw) == warg.DigestSize {
				if _, known := c.budget.size(warg.Digest(raw)); known {
					continue
				}
			}
			if err := os.Remove(filepath.Join(root, dir.Name(), f.Name())); err != nil {
				return fmt.Errorf("deleting stray content: %w", err)
			}
		}
	}
	return nil
}
