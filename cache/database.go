package cache

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
)

// Sizes of the database. Values stay far below valueThreshold, so that none goes to
// the value log, where a lost value reads as an empty one.
const (
	memTableSize     = 32 << 20
	valueLogFileSize = 16 << 20
	blockCacheSize   = 32 << 20
	indexCacheSize   = 32 << 20
	valueThreshold   = 1 << 20
	maxValue         = 256 << 10
)

func databaseOptions(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = badgerLog{log}
	o.SyncWrites = false      // it is a cache; see Registry.Sync
	o.DetectConflicts = false // writers of one log are one at a time
	o.NumVersionsToKeep = 1
	o.VerifyValueChecksum = true
	o.Compression = options.None // signatures and hashes do not compress
	o.MetricsEnabled = false
	o.MemTableSize = memTableSize
	o.ValueLogFileSize = valueLogFileSize
	o.BlockCacheSize = blockCacheSize
	o.IndexCacheSize = indexCacheSize
	o.ValueThreshold = valueThreshold
	return o
}

// database is where everything is kept but large content. What finds no room on the
// disk is refused with KindNoSpace before it is written: see internal/kv.
type database struct{ *kv.Disk }

// updateBytes is more than what an Update sets, but for content.
const updateBytes = 1 << 10

func (d database) Update(write func(txn *badger.Txn) error) error {
	if err := d.reserve(updateBytes); err != nil {
		return err
	}
	return d.Disk.Update(write)
}

func (d database) reserve(bytes int) error {
	if err := d.Reserve(1, bytes); err != nil {
		return &warg.Error{Kind: warg.KindNoSpace, Message: "no space left in the cache", Err: err}
	}
	return nil
}

func (d database) NewWriteBatch() writeBatch { return writeBatch{d.Disk.NewWriteBatch(), d} }

// writeBatch is what is written in as many transactions as are needed.
type writeBatch struct {
	*badger.WriteBatch
	db database
}

func (w writeBatch) Set(key, value []byte) error {
	if err := w.db.reserve(len(key) + len(value)); err != nil {
		return err
	}
	return w.WriteBatch.Set(key, value)
}

func (w writeBatch) Delete(key []byte) error {
	if err := w.db.reserve(len(key)); err != nil {
		return err
	}
	return w.WriteBatch.Delete(key)
}

// badgerLog passes on what Badger has to say that an operator should know.
type badgerLog struct{ log *slog.Logger }

func (b badgerLog) say(level func(string, ...any), format string, args []any) {
	level("cache database", "message", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// Errorf implements badger.Logger.
func (b badgerLog) Errorf(format string, args ...any) { b.say(b.log.Error, format, args) }

// Warningf implements badger.Logger.
func (b badgerLog) Warningf(format string, args ...any) { b.say(b.log.Warn, format, args) }

// Infof implements badger.Logger.
func (b badgerLog) Infof(string, ...any) {}

// Debugf implements badger.Logger.
func (b badgerLog) Debugf(string, ...any) {}
