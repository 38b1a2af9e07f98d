package anchor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// maxFile bounds an anchor file in bytes; a real one has less than one thousand.
const maxFile = 8 << 10

// ErrConflict says that the anchor is not the one that this process wrote or
// read last: somebody else signs for the registry.
var ErrConflict = errors.New("the anchor was changed by somebody else")

// File is the anchor's file. It is not safe for concurrent use.
type File struct {
	fs     durable.FS
	path   string
	holder string
	held   []byte // what the file must contain; nil = it must not exist
}

// NewFile returns the file of that name; holder describes this process to others.
func NewFile(fsys durable.FS, path, holder string) *File {
	return &File{fs: fsys, path: path, holder: holder}
}

// Path returns the file's name.
func (f *File) Path() string { return f.path }

// Load reads the anchor. The error is [fs.ErrNotExist] if there is none. What it
// returns is durable: a process that was killed may have left one that is not.
func (f *File) Load() (Anchor, error) {
	if err := f.fs.SyncDir(filepath.Dir(f.path)); err != nil {
		return Anchor{}, fmt.Errorf("reading anchor %s: %w", f.path, err)
	}
	b, err := durable.ReadFile(f.fs, f.path, maxFile)
	if err != nil {
		return Anchor{}, fmt.Errorf("reading anchor %s: %w", f.path, err)
	}
	a, err := parse(b)
	if err != nil {
		return Anchor{}, fmt.Errorf("reading %s: %w", f.path, err)
	}
	f.held = b
	return a, nil
}

// Swap replaces the anchor by next, whose Previous it sets, if the file still has
// what was last read or written here. When it returns nil, next is durable; after
// an error it may be or not, and only reading it at the next start tells. If step
// is not nil it is called at each stage.
func (f *File) Swap(next Anchor, step func(durable.Stage) error) (err error) {
	lock, err := f.fs.Lock(f.path+".lock", f.holder)
	if err != nil {
		return fmt.Errorf("locking anchor: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	now, err := durable.ReadFile(f.fs, f.path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		now = nil
	case err != nil:
		return fmt.Errorf("reading anchor %s: %w", f.path, err)
	}
	if !bytes.Equal(now, f.held) {
		return fmt.Errorf("%s: %w", f.path, ErrConflict)
	}
	next.Previous = warg.Digest{}
	if f.held != nil {
		next.Previous = warg.Sum(f.held)
	}
	b := next.encode()
	if err := durable.Replace(f.fs, f.path, b, step); err != nil {
		return fmt.Errorf("writing anchor %s: %w", f.path, err)
	}
	f.held = b
	return nil
}
