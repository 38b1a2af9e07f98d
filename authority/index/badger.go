package index

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
)

// Settings of the database. Its largest value is a part of a map patch, far below
// the threshold above which Badger would use its value log.
const (
	valueThreshold = 1 << 20
	memTable       = 16 << 20
	memTables      = 2 // one is written to, one becomes a table
	valueLog       = 16 << 20
)

// Settings while much is written: larger tables, which are not merged until there are more
// than the longest registry has.
const (
	bulkTable  = 64 << 20
	bulkTables = 1 << 20
)

// badgerOptions returns the settings for a directory.
func badgerOptions(dir string, log badger.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(false).      // the journal is the truth
		WithDetectConflicts(false). // there is one writer
		WithNumVersionsToKeep(1).   //
		WithCompression(options.None).
		WithVerifyValueChecksum(true).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLog).
		WithMemTableSize(memTable).
		WithNumMemtables(memTables).
		WithBlockCacheSize(0). // nothing is compressed, so the kernel's memory has the same
		WithMetricsEnabled(false).
		WithLogger(log)
}

// badgerLog passes on what Badger logs and remembers whether it met an error:
// while opening, Badger goes on without tables that it cannot read.
type badgerLog struct {
	log  *slog.Logger
	errs atomic.Int64
}

func text(format string, args []any) string { return strings.TrimSpace(fmt.Sprintf(format, args...)) }

func (l *badgerLog) Errorf(format string, args ...any) {
	l.errs.Add(1)
	l.log.Error("index: " + text(format, args))
}

func (l *badgerLog) Warningf(format string, args ...any) { l.log.Warn("index: " + text(format, args)) }

// Infof and Debugf say nothing: Badger has much to tell that concerns nobody.
func (l *badgerLog) Infof(string, ...any)  {}
func (l *badgerLog) Debugf(string, ...any) {}

// Badger returns the database in a directory. Errors that it logs go to log.
func Badger(dir string, log *slog.Logger) Database { return badgerDir{dir, log} }

type badgerDir struct {
	dir string
	log *slog.Logger
}

// OpenBulk implements [Database]. Nothing is merged while much is written, each byte of
// which would be written several times over; that is left to whoever opens it next, in
// the background. A filter in each table keeps reading fast with many of them.
func (b badgerDir) OpenBulk() (kv.Store, error) {
	return b.open(func(o badger.Options) badger.Options {
		return o.WithMemTableSize(bulkTable).WithNumLevelZeroTables(bulkTables).WithNumLevelZeroTablesStall(2 * bulkTables)
	})
}

// Open implements [Database].
func (b badgerDir) Open() (kv.Store, error) {
	return b.open(func(o badger.Options) badger.Options { return o })
}

// open opens the database. An error is ErrCorrupt unless it says something about the
// machine rather than the files.
func (b badgerDir) open(with func(badger.Options) badger.Options) (kv.Store, error) {
	if err := os.MkdirAll(b.dir, durable.DirPerm); err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	l := &badgerLog{log: b.log}
	db, err := kv.OpenDisk(with(badgerOptions(b.dir, l)))
	switch {
	case errors.Is(err, kv.ErrDamaged):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return nil, fmt.Errorf("opening index: %w", err)
	case l.errs.Load() > 0:
		return nil, errors.Join(ErrCorrupt, db.Close())
	}
	return db.Store(), nil
}

// SetAside implements [Database]: one damaged database is kept for whoever wants to
// know why.
func (b badgerDir) SetAside() error {
	if err := os.RemoveAll(b.dir + ".bad"); err != nil {
		return err
	}
	if err := os.Rename(b.dir, b.dir+".bad"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
