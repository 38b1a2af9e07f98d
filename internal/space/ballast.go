package space

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strconv"

	"github.com/entrepot/entrepot/internal/durable"
)

// The ballast is the smaller of these, and none below the least.
const (
	ballastBytes = 256 << 20
	ballastShare = 100 // a hundredth of the file system
	ballastLeast = 1 << 20
)

// BallastSize returns how large the ballast is on a file system of a size, in bytes;
// 0 if it has none.
func BallastSize(total uint64) uint64 {
	size := min(ballastBytes, total/ballastShare)
	if size < ballastLeast {
		return 0
	}
	return size
}

// A file system may run out of files before it runs out of bytes. So empty files are kept
// as well, the smaller of these: a start makes about ten.
const (
	spareFiles = 64
	spareShare = 20 // a twentieth of all files there may be
)

// SpareFiles returns how many empty files are kept on a file system that may have so many
// files; 0 where there is no limit.
func SpareFiles(total uint64) uint64 { return min(spareFiles, total/spareShare) }

// ballast is a file that takes room, and a folder beside it with files that are only there.
type ballast struct {
	fs   durable.FS
	path string // "" = there is none
}

// spareFolder returns where the empty files are.
func (b ballast) spareFolder() string { return b.path + ".files" }

// spares returns how many empty files there are.
func (b ballast) spares() (uint64, error) {
	if b.path == "" {
		return 0, nil
	}
	list, err := b.fs.ReadDir(b.spareFolder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return uint64(len(list)), nil
}

// spare sees to it that there are so many empty files.
func (b ballast) spare(files uint64) error {
	if files == 0 {
		return nil
	}
	if err := b.fs.Mkdir(b.spareFolder()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for i := range files {
		f, err := b.fs.Create(filepath.Join(b.spareFolder(), strconv.FormatUint(i, 10)))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// unspare deletes the empty files.
func (b ballast) unspare() error {
	list, err := b.fs.ReadDir(b.spareFolder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range list {
		if err := b.fs.Remove(filepath.Join(b.spareFolder(), f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// BallastHeld returns how many bytes the ballast in a file has.
func BallastHeld(fsys durable.FS, path string) (uint64, error) { return ballast{fsys, path}.held() }

// held returns how many bytes it has; 0 if it is not there.
func (b ballast) held() (uint64, error) {
	if b.path == "" {
		return 0, nil
	}
	fi, err := b.fs.Stat(b.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return uint64(max(fi.Size(), 0)), nil
}

// free deletes it. It is not made durable: after a power cut there may be a ballast
// again, and the next start looks.
func (b ballast) free() error {
	if err := b.fs.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.unspare()
}

// make makes it, or completes it, holes of a copy included. If there is no room after
// all nothing is left.
func (b ballast) make(size uint64) error {
	f, err := b.fs.Create(b.path)
	if errors.Is(err, fs.ErrExist) {
		f, err = b.fs.OpenWrite(b.path)
	}
	if err != nil {
		return err
	}
	err = f.Allocate(int64(size))
	if errors.Is(err, errors.ErrUnsupported) {
		err = fill(f, int64(size))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, b.free())
	}
	return nil
}

// fillChunk is what is written at a time, in bytes.
const fillChunk = 1 << 20

// fill writes a file full of what no file system can make smaller, for one that cannot
// allocate.
func fill(f durable.File, size int64) error {
	noise := rand.NewChaCha8([32]byte{})
	chunk := make([]byte, fillChunk)
	for at := int64(0); at < size; at += fillChunk {
		_, _ = noise.Read(chunk) // it never fails
		if _, err := f.WriteAt(chunk[:min(fillChunk, size-at)], at); err != nil {
			return err
		}
	}
	return f.Sync() // it is not taken before
}
