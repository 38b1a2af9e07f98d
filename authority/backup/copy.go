package backup

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// copier writes files below a directory and notes their digests.
type copier struct {
	fs    durable.FS
	to    string
	items []item
	bytes int64
	tell  func(bytes int64)
	dirs  map[string]bool // made and durable; their names are synced at the end
}

func newCopier(fsys durable.FS, to string, tell func(int64)) *copier {
	if tell == nil {
		tell = func(int64) {}
	}
	return &copier{fs: fsys, to: to, tell: tell, dirs: map[string]bool{}}
}

// write makes a file of the first size bytes of r, which must have as many.
func (c *copier) write(name string, r io.Reader, size int64) (sum warg.Digest, err error) {
	target := filepath.Join(c.to, filepath.FromSlash(name))
	if err := c.folder(filepath.Dir(target)); err != nil {
		return sum, err
	}
	f, err := c.fs.Create(target)
	if err != nil {
		return sum, err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = c.fs.Remove(target) // it is on no list, and may be tried again
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(r, size))
	if err == nil && n != size {
		err = fmt.Errorf("copying %s: %w", name, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return sum, err
	}
	c.bytes += n
	c.tell(c.bytes)
	sum = warg.Digest(h.Sum(nil))
	if err := f.Sync(); err != nil {
		return sum, err
	}
	c.items = append(c.items, item{name, sum})
	return sum, nil
}

func (c *copier) folder(dir string) error {
	if c.dirs[dir] {
		return nil
	}
	c.dirs[dir] = true
	return durable.MkdirAll(c.fs, dir)
}

// file copies a whole file as long as it is at this moment; ok is false if there is
// none. Files that grow at their end are whole lines or frames up to a last one, which
// may be unfinished, as after a crash.
func (c *copier) file(from, name string) (ok bool, err error) {
	f, err := c.fs.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	_, err = c.write(name, f, fi.Size())
	return err == nil, err
}

// drop removes what was copied of a file, before it is copied again.
func (c *copier) drop(from int) error {
	for _, it := range c.items[from:] {
		if err := c.fs.Remove(filepath.Join(c.to, filepath.FromSlash(it.name))); err != nil {
			return err
		}
	}
	c.items = c.items[:from]
	return nil
}

// settle makes the names of all files durable.
func (c *copier) settle() error {
	for dir := range c.dirs {
		if err := c.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// hashOf returns the digest of a file.
func hashOf(fsys durable.FS, name string) (warg.Digest, int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return warg.Digest{}, 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return warg.Digest{}, n, fmt.Errorf("reading %s: %w", name, err)
	}
	return warg.Digest(h.Sum(nil)), n, nil
}
