package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
)

// Options say where a cache is and how large it may grow.
type Options struct {
	Dir        string           // made if it does not exist
	MaxContent int64            // bytes of content kept, 0 = DefaultMaxContent
	TreeCache  int              // bytes of memory for the trees of each registry, 0 = DefaultTreeCache
	Now        func() time.Time // nil = time.Now
	Log        *slog.Logger     // nil = discarded
}

// Defaults of [Options].
const (
	DefaultMaxContent = 20 << 30
	DefaultTreeCache  = 16 << 20
)

// Cache is an open cache. One process at a time may have it open.
type Cache struct {
	o       Options
	db      database
	files   *cas.Store
	budget  *budget
	hot     *cas.Hot
	counts  counts
	mu      sync.Mutex // guards registries and the drawing of numbers
	open    map[string]*Registry
	sweeper sync.WaitGroup

	deleting sync.Mutex // held while content is deleted
}

// Names below the cache's directory.
const (
	databaseDir = "db"
	contentDir  = "content"
	openingFile = "opening" // how many times opening the database began and did not end
)

// Open opens a cache. A database that cannot be opened is deleted: all of it can be
// fetched again. Badger can end the process while opening a damaged database, from
// a goroutine of its own, so attempts are counted in a file, and at the third the
// database is deleted first.
func Open(o Options) (*Cache, error) {
	o = o.withDefaults()
	if err := durable.MkdirAll(durable.OS{}, o.Dir); err != nil {
		return nil, fmt.Errorf("making cache directory: %w", err)
	}
	db, err := openDatabase(o)
	if err != nil {
		return nil, err
	}
	files, err := cas.Open(cas.Options{FS: durable.OS{}, Dir: filepath.Join(o.Dir, contentDir)})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening cached content: %w", err), db.Close())
	}
	c := &Cache{o: o, db: db, files: files, open: make(map[string]*Registry)}
	if c.hot, err = cas.NewHot(hotContents, hotBytes); err == nil {
		err = c.loadBudget()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c.sweep()
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.MaxContent <= 0 {
		o.MaxContent = DefaultMaxContent
	}
	if o.TreeCache <= 0 {
		o.TreeCache = DefaultTreeCache
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// openDatabase opens the database, or a new one in its place.
func openDatabase(o Options) (none database, err error) {
	dir, counter := filepath.Join(o.Dir, databaseDir), filepath.Join(o.Dir, openingFile)
	const patience = 2
	attempts := readCounter(counter)
	if attempts >= patience {
		o.Log.Warn("cache database could not be opened before; making a new one", "dir", dir)
		if err := os.RemoveAll(dir); err != nil {
			return none, fmt.Errorf("deleting cache database: %w", err)
		}
	}
	if err := os.WriteFile(counter, strconv.AppendInt(nil, int64(attempts+1), 10), durable.FilePerm); err != nil {
		return none, fmt.Errorf("preparing cache database: %w", err)
	}
	db, err := kv.OpenDisk(databaseOptions(dir, o.Log))
	switch {
	case err != nil && kv.AboutMachine(err):
		return none, fmt.Errorf("opening cache database: %w", err)
	case err != nil:
		o.Log.Warn("cache database is damaged; making a new one", "dir", dir, "error", err)
		if err := os.RemoveAll(dir); err != nil {
			return none, fmt.Errorf("deleting cache database: %w", err)
		}
		if db, err = kv.OpenDisk(databaseOptions(dir, o.Log)); err != nil {
			return none, fmt.Errorf("opening cache database: %w", err)
		}
	}
	if err := os.Remove(counter); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return none, errors.Join(fmt.Errorf("preparing cache database: %w", err), db.Close())
	}
	return database{db}, nil
}

func readCounter(name string) int {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(b))
	return n
}

// Close closes the cache. Its registries must not be used any more.
func (c *Cache) Close() error {
	c.sweeper.Wait()
	if err := c.db.Close(); err != nil {
		return fmt.Errorf("closing cache database: %w", err)
	}
	return nil
}
