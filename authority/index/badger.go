package index

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/entrepot/entrepot/internal/durable"
)

// Settings of the database. Its largest value is a part of a map patch, far below
// the threshold above which Badger would use its value log.
const (
	valueThreshold = 1 << 20
	memTable       = 16 << 20
	blockCache     = 16 << 20
	valueLog       = 16 << 20
)

// badgerOptions returns the settings for a directory; "" means in memory.
func badgerOptions(dir string, log badger.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithInMemory(dir == "").
		WithSyncWrites(false).      // the journal is the truth
		WithDetectConflicts(false). // there is one writer
		WithNumVersionsToKeep(1).   //
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnTableAndBlockRead).
		WithVerifyValueChecksum(true).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLog).
		WithMemTableSize(memTable).
		WithNumMemtables(3).
		WithBlockCacheSize(blockCache).
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

// ErrCorrupt says that the database cannot be used and must be made anew.
var ErrCorrupt = errors.New("index database is damaged")

// openBadger opens the database. An error is ErrCorrupt unless it says something
// about the machine rather than the files.
func openBadger(dir string, log *slog.Logger) (db *badger.DB, err error) {
	l := &badgerLog{log: log}
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	db, err = badger.Open(badgerOptions(dir, l))
	switch {
	case err != nil && aboutMachine(err):
		return nil, fmt.Errorf("opening index: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case l.errs.Load() > 0:
		return nil, errors.Join(ErrCorrupt, db.Close())
	}
	return db, nil
}

func aboutMachine(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// maxOpenings is how many openings in a row may fail to end before the files are
// blamed.
const maxOpenings = 2

// openings is the counter of openings that did not end.
type openings struct {
	fs   durable.FS
	path string
}

func (o openings) read() (int, error) {
	b, err := durable.ReadFile(o.fs, o.path, 16)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return maxOpenings, nil // it was being written when the process ended
	}
	return n, nil
}

func (o openings) write(n int) error {
	return durable.Replace(o.fs, o.path, []byte(strconv.Itoa(n)+"\n"), nil)
}

func (o openings) clear() error {
	if err := o.fs.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// moveAside keeps one damaged database for whoever wants to know why.
func moveAside(dir string) error {
	if err := os.RemoveAll(dir + ".bad"); err != nil {
		return err
	}
	if err := os.Rename(dir, dir+".bad"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
