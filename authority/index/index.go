package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Options say where an index is and what it works with.
type Options struct {
	FS       durable.FS // for the counter of openings
	Database Database
	Counter  string // file name of the counter of openings
	Registry warg.Digest
	Log      *slog.Logger
	Cache    int // bytes, see tree.Options
	Lag      int // leaves, 0 = MaxLag
}

// MaxLag is how many leaves an index may be behind what was committed to it after a power
// cut, and so how many a start has to add. Commits are not synced, but for one as soon as
// so many would be lost; then publishing waits for the disk.
const MaxLag = 100_000

// Index is an open index. One goroutine commits batches; everything else is safe
// for concurrent use.
type Index struct {
	o    Options
	db   kv.Store
	tree *tree.Tree

	absent   absentKeys
	unsynced int  // owned by who commits: leaves since the last sync
	bulk     bool // between Bulk and Settle

	mu       sync.Mutex                      // serialises writers
	segments uint64                          // under mu: as in the header record
	heads    *simplelru.LRU[warg.LogID, Log] // under mu: logs that were added to lately, as they are at the head
}

const formatVersion = 1

// maxHeads bounds the memory for logs added to lately, about 250 bytes each.
const maxHeads = 1 << 13

// Open opens the index, or begins an empty one if there is none, if it cannot be
// read, belongs to another registry, or two openings in a row did not end.
// Whether it is as far as the anchor is for the caller to see: [Index.Head].
func Open(o Options) (*Index, error) {
	count := openings{o.FS, o.Counter}
	n, err := count.read()
	if err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	if n >= maxOpenings {
		o.Log.Warn("index is made anew: opening it did not end", "times", n)
		if err := o.Database.SetAside(); err != nil {
			return nil, fmt.Errorf("moving damaged index aside: %w", err)
		}
		n = 0
	}
	if err := count.write(n + 1); err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	x, err := open(o, o.Database.Open)
	if errors.Is(err, ErrCorrupt) {
		o.Log.Warn("index is made anew", "error", err)
		if err := o.Database.SetAside(); err != nil {
			return nil, fmt.Errorf("moving damaged index aside: %w", err)
		}
		x, err = open(o, o.Database.Open)
	}
	if err != nil {
		return nil, err
	}
	if err := count.clear(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening index: %w", err), x.Close())
	}
	return x, nil
}

func open(o Options, database func() (kv.Store, error)) (*Index, error) {
	db, err := openDatabase(database)
	if err != nil {
		return nil, err
	}
	x := &Index{o: o, db: db}
	if x.heads, err = simplelru.NewLRU[warg.LogID, Log](maxHeads, nil); err == nil {
		err = x.load()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return x, nil
}

// load checks whose index it is and opens the trees.
func (x *Index) load() error {
	err := x.get([]byte{keyHeader}, func(b []byte) error {
		if len(b) != 1+warg.DigestSize+8 || b[0] != formatVersion || warg.Digest(b[1:]) != x.o.Registry {
			return fmt.Errorf("%w: it is of another registry or format", ErrCorrupt)
		}
		x.segments = binary.BigEndian.Uint64(b[1+warg.DigestSize:])
		return nil
	})
	if errors.Is(err, kv.ErrNotFound) {
		err = x.put(func(put putFunc) error { return x.putHeader(put, 0) })
	}
	if err != nil {
		return err
	}
	x.tree, err = tree.Open(x.db, []byte{keyTree}, tree.Options{CacheBytes: x.o.Cache})
	if errors.Is(err, tree.ErrIndexCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// Reset empties the index: everything in it is to be made again.
func (x *Index) Reset() error {
	if err := x.db.Close(); err != nil {
		x.o.Log.Warn("closing damaged index", "error", err)
	}
	if err := x.o.Database.SetAside(); err != nil {
		return fmt.Errorf("moving damaged index aside: %w", err)
	}
	return x.replace(x.o, x.o.Database.Open)
}

// replace puts a freshly opened index in the place of one that is closed.
func (x *Index) replace(o Options, database func() (kv.Store, error)) error {
	fresh, err := open(o, database)
	if err != nil {
		return err
	}
	x.db, x.tree, x.segments = fresh.db, fresh.tree, fresh.segments
	x.absent.clear()
	x.heads.Purge()
	return nil
}

// Distrust makes the next Open begin anew, because damage was met that opening
// does not notice.
func (x *Index) Distrust() error { return openings{x.o.FS, x.o.Counter}.write(maxOpenings) }

// Room returns an error if the disk may not hold another batch.
func (x *Index) Room() error { return x.db.Room() }

// Close closes the database. What was committed is written out.
func (x *Index) Close() error { return x.db.Close() }

// Tree returns the trees, for proofs and the ledger.
func (x *Index) Tree() *tree.Tree { return x.tree }

// Head returns how far the index is.
func (x *Index) Head() tree.Head { return x.tree.Head() }

// Segment returns the first segment of submissions whose rejections may be
// missing here.
func (x *Index) Segment() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.segments
}
