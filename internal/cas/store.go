package cas

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

const (
	tmpDir = "tmp"
	badDir = "bad"
)

// Options say where a store is and what it works with.
type Options struct {
	FS  durable.FS
	Dir string // made if it does not exist
	// Step is called between durable effects of Put with the names blobTmp,
	// blobSynced, blobRenamed and blobDirSynced; its error ends the Put. May be nil.
	Step func(name string) error
}

// Store is an open store. It is safe for concurrent use, but only one process
// may have it open for writing.
type Store struct {
	fs      durable.FS
	dir     string
	step    func(string) error
	temps   atomic.Uint64 // names of temporary files
	buffers sync.Pool     // *[]byte of copyBuffer bytes

	dirMu sync.Mutex
	dirs  map[string]bool // fan-out directories that are durable; under dirMu

	round    syncRound
	verified verifiedFiles
}

// StoreError is an error of the store itself, not of what was put into it. The
// state of the file is unknown after it; only opening the store again tells.
type StoreError struct {
	Doing string
	Err   error
}

// Error says what was being done.
func (e *StoreError) Error() string { return e.Doing + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

func storeErr(err error, doing string, args ...any) error {
	return &StoreError{fmt.Sprintf(doing, args...), err}
}

// Open opens a store, and makes it if it does not exist. What earlier processes
// left unfinished is removed.
func Open(o Options) (*Store, error) {
	s := &Store{fs: o.FS, dir: o.Dir, step: o.Step, dirs: map[string]bool{}}
	if s.step == nil {
		s.step = func(string) error { return nil }
	}
	s.buffers.New = func() any { b := make([]byte, copyBuffer); return &b }
	tmp := filepath.Join(o.Dir, tmpDir)
	for _, dir := range []string{tmp, filepath.Join(o.Dir, badDir)} {
		if err := durable.MkdirAll(o.FS, dir); err != nil {
			return nil, fmt.Errorf("opening content store: %w", err)
		}
	}
	if err := s.clean(tmp); err != nil {
		return nil, fmt.Errorf("removing unfinished content: %w", err)
	}
	entries, err := o.FS.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening content store: %w", err)
	}
	// A process may have been killed between making a name and syncing its directory.
	// This one counts on what it sees, so what it sees has to be durable.
	if err := s.syncNames(entries); err != nil {
		return nil, fmt.Errorf("opening content store: %w", err)
	}
	return s, nil
}

// syncNames makes all names durable, and notes the fan-out directories there are.
func (s *Store) syncNames(entries []fs.DirEntry) error {
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(maxSyncs)
	for _, e := range entries {
		if s.dirs[e.Name()] = e.IsDir(); e.IsDir() {
			group.Go(func() error { return s.fs.SyncDir(filepath.Join(s.dir, e.Name())) })
		}
	}
	return group.Wait()
}

func (s *Store) clean(tmp string) error {
	left, err := s.fs.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, e := range left {
		if err := s.fs.Remove(filepath.Join(tmp, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// place returns the fan-out directory and the file of a digest.
func (s *Store) place(d warg.Digest) (dir, name string) {
	h := d.Hex()
	dir = filepath.Join(s.dir, h[:2])
	return dir, filepath.Join(dir, h[2:])
}

// Stat returns the size of content in bytes, or an error that is
// [fs.ErrNotExist] if the store does not have it.
func (s *Store) Stat(d warg.Digest) (int64, error) {
	_, name := s.place(d)
	fi, err := s.fs.Stat(name)
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// Has reports whether the store has content.
func (s *Store) Has(d warg.Digest) (bool, error) {
	_, err := s.Stat(d)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Open opens content for reading and returns its size. The error is
// [fs.ErrNotExist] if the store does not have it and a [CorruptError] if the
// file had other bytes.
func (s *Store) Open(d warg.Digest) (durable.Reader, int64, error) {
	_, name := s.place(d)
	f, err := s.fs.Open(name)
	if err != nil {
		return nil, 0, err
	}
	size, err := s.verify(d, f)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}
