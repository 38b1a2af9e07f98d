package segment

import (
	"slices"

	"github.com/entrepot/entrepot/internal/durable"
)

// Numbers returns the numbers of the segments in order, and unlike [Dir.List] changes
// nothing: somebody else may be writing there. A directory that does not exist has none.
func (d *Dir) Numbers() ([]uint64, error) {
	ok, err := durable.Exists(d.FS, d.Path)
	if err != nil || !ok {
		return nil, err
	}
	entries, err := d.FS.ReadDir(d.Path)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		if n, ok := parseName(e.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Size returns the size of the file in bytes, as it was when it was opened.
func (r *Reader) Size() int64 { return r.size }

// Path returns the name of the file.
func (r *Reader) Path() string { return r.path }

// Bytes reads the file as it is on disk.
func (r *Reader) Bytes() durable.Reader { return r.file }

// Size returns the number of bytes that the footer takes in the file.
func (f Footer) Size() int64 { return int64(footerFixed + len(f.Edge)*len(f.Hash) + trailerSize) }
