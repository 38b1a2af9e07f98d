package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// ErrFull says that frames do not fit into the segment any more; it must be
// sealed or left, and another one begun.
var ErrFull = errors.New("segment is full")

// Dir is a directory of segments.
type Dir struct {
	FS   durable.FS
	Path string
	// Grow is how far ahead a segment is written with zeros, and Max the size at
	// which it is full, both in bytes. A segment takes at least one Append.
	Grow, Max int64
	// Step is called between durable effects; its error ends the operation.
	Step func(name string) error
}

// Segment is a segment being written. It is not safe for concurrent use, except
// that [Segment.Read] may be called beside one other method.
type Segment struct {
	Header
	dir   *Dir
	file  durable.File
	count uint64
	end   int64     // where the next frame goes
	size  int64     // zeros up to here
	sum   hash.Hash // of everything before end
	buf   []byte    // reused by Append
}

// path returns the name of a segment.
func (d *Dir) path(number uint64) string { return filepath.Join(d.Path, Name(number)) }

// Create begins a segment. When it returns, header and name are durable.
func (d *Dir) Create(h Header) (*Segment, error) {
	name := d.path(h.Number)
	s, err := d.create(name+".tmp", h)
	if err != nil {
		return nil, fmt.Errorf("creating segment %s: %w", name, err)
	}
	if err := d.name(name); err != nil {
		return nil, fmt.Errorf("creating segment %s: %w", name, errors.Join(err, s.file.Close()))
	}
	return s, nil
}

func (d *Dir) create(tmp string, h Header) (*Segment, error) {
	if err := d.FS.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := d.FS.Create(tmp)
	if err != nil {
		return nil, err
	}
	s := &Segment{Header: h, dir: d, file: f, end: headerSize, size: d.Grow, sum: sha256.New()}
	b := h.encode()
	s.sum.Write(b)
	if _, err = f.WriteAt(b, 0); err == nil {
		err = durable.Fill(f, headerSize, d.Grow)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// Rewrite replaces a segment by one that holds just the given payloads and is
// sealed, or removes it if there are none.
func (d *Dir) Rewrite(h Header, payloads [][]byte) error {
	name := d.path(h.Number)
	if len(payloads) == 0 {
		if err := d.FS.Remove(name); err != nil {
			return err
		}
		return d.FS.SyncDir(d.Path)
	}
	s, err := d.create(name+".tmp", h)
	if err != nil {
		return fmt.Errorf("rewriting segment %s: %w", name, err)
	}
	if _, err := s.Append(payloads); err != nil {
		return errors.Join(err, s.Close())
	}
	if _, err := s.Seal(nil); err != nil {
		return err
	}
	if err := d.name(name); err != nil {
		return fmt.Errorf("rewriting segment %s: %w", name, err)
	}
	return nil
}

// name gives a finished file its name.
func (d *Dir) name(name string) error {
	if err := d.FS.Rename(name+".tmp", name); err != nil {
		return err
	}
	if err := d.step("segCreated"); err != nil {
		return err
	}
	if err := d.FS.SyncDir(d.Path); err != nil {
		return err
	}
	return d.step("segDirSynced")
}

// Settle makes the names of the segments durable that a killed process may have left
// without.
func (d *Dir) Settle() error { return d.FS.SyncDir(d.Path) }

func (d *Dir) step(name string) error {
	if d.Step == nil {
		return nil
	}
	return d.Step(name)
}

// Count returns the number of frames.
func (s *Segment) Count() uint64 { return s.count }

// End returns the offset behind the last frame, in bytes.
func (s *Segment) End() int64 { return s.end }

// Fits reports whether payloads of so many bytes in all, in so many frames, fit.
func (s *Segment) Fits(frames, bytes int) bool {
	need := s.end + int64(frames*frameHeader+bytes) + maxFooter
	return s.end == headerSize || need <= s.dir.Max
}

// Append writes payloads as frames and returns where they stand. They are not
// durable before [Segment.Sync]. An error that is a lack of space has changed
// nothing; after any other the segment must not be used any more.
func (s *Segment) Append(payloads [][]byte) ([]Position, error) {
	total := 0
	for _, p := range payloads {
		if len(p) == 0 || len(p) > MaxPayload {
			return nil, fmt.Errorf("a frame of %d bytes cannot be written", len(p))
		}
		total += len(p)
	}
	if !s.Fits(len(payloads), total) {
		return nil, ErrFull
	}
	s.buf = s.buf[:0]
	places := make([]Position, len(payloads))
	for i, p := range payloads {
		at := s.end + int64(len(s.buf))
		places[i] = Position{s.Number, uint32(at), uint32(len(p))}
		s.buf = appendFrame(s.buf, s.Number, at, p)
	}
	if err := s.reserve(s.end + int64(len(s.buf)) + maxFooter); err != nil {
		return nil, fmt.Errorf("growing segment %s: %w", s.Path(), err)
	}
	if _, err := s.file.WriteAt(s.buf, s.end); err != nil {
		return nil, fmt.Errorf("writing segment %s: %w", s.Path(), err)
	}
	s.sum.Write(s.buf)
	s.end += int64(len(s.buf))
	s.count += uint64(len(payloads))
	return places, nil
}

// reserve makes sure that the zeros reach to an offset.
func (s *Segment) reserve(to int64) error {
	if to <= s.size {
		return nil
	}
	to = (to + s.dir.Grow - 1) / s.dir.Grow * s.dir.Grow
	if err := durable.Fill(s.file, s.size, to); err != nil {
		return err
	}
	s.size = to
	return nil
}

// Sync makes what was appended durable.
func (s *Segment) Sync() error {
	if err := s.file.Datasync(); err != nil {
		return fmt.Errorf("syncing segment %s: %w", s.Path(), err)
	}
	return nil
}

// Seal ends the segment with a footer and closes it.
func (s *Segment) Seal(edge []warg.Digest) (Footer, error) {
	f := Footer{Count: s.count, Sum: warg.Digest(s.sum.Sum(nil)), Previous: s.Previous, Edge: edge}
	b := f.encode()
	if err := s.seal(b); err != nil {
		return Footer{}, fmt.Errorf("sealing segment %s: %w", s.Path(), errors.Join(err, s.file.Close()))
	}
	return f, s.file.Close()
}

// seal syncs the footer before the file is cut behind it. A crash in between
// leaves a footer with zeros behind it, which Open completes.
func (s *Segment) seal(footer []byte) error {
	if _, err := s.file.WriteAt(footer, s.end); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if err := s.file.Truncate(s.end + int64(len(footer))); err != nil {
		return err
	}
	return s.file.Sync()
}

// Cut forgets everything from an offset on, where a frame must begin, and leaves
// zeros. The caller says how many frames remain.
func (s *Segment) Cut(offset int64, count uint64) error {
	if err := durable.Fill(s.file, offset, s.size); err != nil {
		return fmt.Errorf("cutting segment %s: %w", s.Path(), err)
	}
	s.end, s.count = offset, count
	s.sum = sha256.New()
	if err := hashFile(s.sum, s.file, offset); err != nil {
		return fmt.Errorf("cutting segment %s: %w", s.Path(), err)
	}
	return nil
}

// Sync makes a segment durable as it is, whoever wrote it.
func (d *Dir) Sync(number uint64) error {
	f, err := d.FS.OpenWrite(d.path(number))
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("syncing segment %s: %w", d.path(number), err)
	}
	return nil
}

// Path returns the segment's file name with its directory.
func (s *Segment) Path() string { return s.dir.path(s.Number) }

// Read reads a frame back from the file.
func (s *Segment) Read(p Position) ([]byte, error) { return readFrame(s.file, s.Path(), p) }

// Close closes the file; nothing is made durable by it.
func (s *Segment) Close() error { return s.file.Close() }
