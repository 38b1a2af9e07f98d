package cache

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
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
	o.ChecksumVerificationMode = options.OnTableAndBlockRead
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
