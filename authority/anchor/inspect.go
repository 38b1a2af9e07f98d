package anchor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// This file is for those who only look. They may do so while a server writes.

// Parse reads the bytes of an anchor's file.
func Parse(b []byte) (Anchor, error) { return parse(b) }

// Encode returns the bytes of an anchor's file.
func (a Anchor) Encode() []byte { return a.encode() }

// Read reads an anchor's file, and its bytes, without counting on that they are durable.
func Read(fsys durable.FS, path string) (Anchor, []byte, error) {
	b, err := durable.ReadFile(fsys, path, maxFile)
	if err != nil {
		return Anchor{}, nil, err
	}
	a, err := parse(b)
	return a, b, err
}

// HistoryReader reads a history from its first checkpoint on.
type HistoryReader struct {
	path   string
	file   durable.Reader
	at     int64 // of the next block
	torn   bool
	header []byte
}

// ReadHistory opens a history for reading. An error other than of the file system is a
// [*DamageError] about the header.
func ReadHistory(fsys durable.FS, path string, registry warg.Digest) (*HistoryReader, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	r := &HistoryReader{path: path, file: f, header: make([]byte, blockSize)}
	if _, err := r.file.ReadAt(r.header, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), f.Close())
	}
	switch {
	case !sealed(r.header) || !bytes.HasPrefix(r.header, []byte(historyMagic)):
		err = &DamageError{path, 0, "no header"}
	case binary.BigEndian.Uint32(r.header[8:]) != historyVer:
		err = &DamageError{path, 0, "a format that this program does not know"}
	case warg.Digest(r.header[16:]) != registry:
		err = &DamageError{path, 0, "it belongs to another registry"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.at = blockSize
	return r, nil
}

// Next returns the next checkpoint; ok is false at the end. A damaged block is a
// [*DamageError], and the one after it can be asked for. A damaged last block was being
// written when a process ended: that is the end, and [HistoryReader.Torn].
func (r *HistoryReader) Next() (c warg.SignedCheckpoint, ok bool, err error) {
	b := make([]byte, blockSize)
	n, err := r.file.ReadAt(b, r.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return c, false, fmt.Errorf("reading %s: %w", r.path, err)
	}
	block := uint64(r.at / blockSize)
	if n == 0 || durable.OnlyZeros(b) {
		return c, false, r.zeros(block)
	}
	c, err = decodeBlock(b)
	if err == nil {
		r.at += blockSize
		return c, true, nil
	}
	reason := err.Error()
	if rest, err := r.onlyZeros(r.at + blockSize); err != nil || rest {
		r.torn = true
		return warg.SignedCheckpoint{}, false, err
	}
	r.at += blockSize
	return warg.SignedCheckpoint{}, true, &DamageError{r.path, block, reason}
}

// zeros reports anything that stands behind the end.
func (r *HistoryReader) zeros(block uint64) error {
	if rest, err := r.onlyZeros(r.at); err != nil || rest {
		return err
	}
	return &DamageError{r.path, block, "a block of zeros with others behind it"}
}

func (r *HistoryReader) onlyZeros(from int64) (bool, error) {
	fi, err := r.file.Stat()
	if err != nil {
		return false, err
	}
	b := make([]byte, growBlocks*blockSize)
	for ; from < fi.Size(); from += int64(len(b)) {
		n, err := r.file.ReadAt(b, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("reading %s: %w", r.path, err)
		}
		if !durable.OnlyZeros(b[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// Torn reports whether the reading ended at a block that was not written to its end.
func (r *HistoryReader) Torn() bool { return r.torn }

// Offset returns where the next block stands, in bytes: everything before it was read.
func (r *HistoryReader) Offset() int64 { return r.at }

// Bytes reads the file as it is on disk.
func (r *HistoryReader) Bytes() durable.Reader { return r.file }

// Close closes the file.
func (r *HistoryReader) Close() error { return r.file.Close() }
