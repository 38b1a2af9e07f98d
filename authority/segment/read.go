package segment

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// List returns the numbers of the segments in order and removes what an
// interrupted creation left. A directory that does not exist has none.
func (d *Dir) List() ([]uint64, error) {
	ok, err := durable.Exists(d.FS, d.Path)
	if err != nil || !ok {
		return nil, err
	}
	entries, err := d.FS.ReadDir(d.Path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			if err := d.FS.Remove(filepath.Join(d.Path, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return d.Numbers()
}

func readFrame(r io.ReaderAt, path string, p Position) ([]byte, error) {
	if p.Size == 0 || p.Size > MaxPayload {
		return nil, &DamageError{path, int64(p.Offset), "a position with an impossible length"}
	}
	b := make([]byte, frameHeader+int(p.Size))
	if _, err := r.ReadAt(b, int64(p.Offset)); err != nil {
		return nil, fmt.Errorf("reading frame at byte %d of %s: %w", p.Offset, path, err)
	}
	payload := b[frameHeader:]
	if binary.BigEndian.Uint32(b) != p.Size || binary.BigEndian.Uint32(b[4:]) != frameSum(p.Segment, int64(p.Offset), payload) {
		return nil, &DamageError{path, int64(p.Offset), "frame has a wrong checksum"}
	}
	return payload, nil
}

// Reader reads frames of a segment that is not being written.
type Reader struct {
	Header
	path string
	file durable.Reader
	size int64
}

// OpenReader opens a segment and checks its header.
func (d *Dir) OpenReader(number uint64) (*Reader, error) {
	path := d.path(number)
	f, err := d.FS.Open(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{path: path, file: f}
	if err := r.open(number); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *Reader) open(number uint64) error {
	fi, err := r.file.Stat()
	if err != nil {
		return err
	}
	r.size = fi.Size()
	b := make([]byte, headerSize)
	if _, err := r.file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading header of %s: %w", r.path, err)
	}
	if r.Header, err = decodeHeader(b); err != nil {
		return &DamageError{r.path, 0, err.Error()}
	}
	if r.Number != number {
		return &DamageError{r.path, 0, fmt.Sprintf("it is segment %d", r.Number)}
	}
	return nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Read reads one frame.
func (r *Reader) Read(p Position) ([]byte, error) { return readFrame(r.file, r.path, p) }

// Footer reads the footer at the end of the file; ok is false if there is none,
// which is how an open segment looks, and a sealed one that was shortened.
func (r *Reader) Footer() (f Footer, ok bool, err error) {
	tail := make([]byte, min(int64(maxFooter), r.size))
	at := r.size - int64(len(tail))
	if _, err := r.file.ReadAt(tail, at); err != nil {
		return f, false, fmt.Errorf("reading footer of %s: %w", r.path, err)
	}
	if len(tail) < footerFixed+trailerSize || string(tail[len(tail)-len(footerMagic):]) != footerMagic {
		return f, false, nil
	}
	size := int(binary.BigEndian.Uint32(tail[len(tail)-len(footerMagic)-4:]))
	if size > len(tail) {
		return f, false, &DamageError{r.path, r.size, "segment footer has a wrong size"}
	}
	if f, err = decodeFooter(tail[len(tail)-size:]); err != nil {
		return f, false, &DamageError{r.path, r.size - int64(size), err.Error()}
	}
	return f, true, nil
}

// End says where and why the frames of a segment end.
type End struct {
	Offset  int64  // behind the last good frame
	Count   uint64 // good frames
	Bad     string // what is wrong with what stands at Offset; empty at a proper end
	Skipped int    // bad frames that a tolerant scan passed over
	Footer  *Footer
	Rest    bool // bytes behind the end are not all zero
	sum     hash.Hash
}

// scanBuffer is what is read at a time, in bytes.
const scanBuffer = 1 << 20

// Scan visits the frames in order until the end, a bad frame, or an error of
// visit, which it returns; then the End is before the frame. A tolerant scan passes over a frame with a wrong
// checksum if its length leads to another one. A payload is valid only during
// the visit.
func (r *Reader) Scan(tolerant bool, visit func(p Position, payload []byte) error) (End, error) {
	s := &scanner{r: r, pos: headerSize, tolerant: tolerant}
	s.end = End{Offset: headerSize, sum: sha256.New()}
	if err := hashFile(s.end.sum, r.file, headerSize); err != nil {
		return s.end, fmt.Errorf("reading %s: %w", r.path, err)
	}
	s.in = bufio.NewReaderSize(io.NewSectionReader(r.file, headerSize, r.size-headerSize), int(min(scanBuffer, r.size)))
	for {
		payload, err := s.next()
		if err != nil {
			return s.end, fmt.Errorf("reading %s at byte %d: %w", r.path, s.pos, err)
		}
		if payload == nil {
			return s.end, nil
		}
		at := s.pos - int64(frameHeader+len(payload))
		if err := visit(Position{r.Number, uint32(at), uint32(len(payload))}, payload); err != nil {
			s.end.Offset, s.end.Count, s.end.Bad, s.end.sum = at, s.end.Count-1, err.Error(), nil
			return s.end, err
		}
	}
}

// scanner is the state of one Scan.
type scanner struct {
	r        *Reader
	in       *bufio.Reader
	tolerant bool
	pos      int64 // of in
	end      End
	buf      []byte
}

// next returns the next good payload, or nil at the end, having said why in s.end.
func (s *scanner) next() ([]byte, error) {
	for {
		before := s.pos
		payload, bad, err := s.frame()
		switch {
		case err != nil:
			return nil, err
		case payload != nil:
			s.end.Offset, s.end.Count, s.end.Bad = s.pos, s.end.Count+1, ""
			return payload, nil
		case bad == "":
			return nil, nil
		}
		s.end.Bad = bad
		if s.pos == before {
			return nil, nil
		}
		s.end.Skipped++
	}
}

// frame reads what stands at s.pos: a payload, or what is wrong, or neither at
// the end. It moves on if the length of what stands there can be believed.
func (s *scanner) frame() (payload []byte, bad string, err error) {
	head, err := s.in.Peek(frameHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if len(head) < frameHeader || binary.BigEndian.Uint32(head) == 0 {
		return nil, "", s.rest()
	}
	length := binary.BigEndian.Uint32(head)
	switch {
	case length == footerMark:
		bad, err = s.footer()
		return nil, bad, err
	case length > MaxPayload:
		return nil, "frame has an impossible length", nil
	case int64(length)+frameHeader > s.r.size-s.pos:
		return nil, "frame reaches beyond the end of the file", nil
	}
	s.buf = slices.Grow(s.buf[:0], frameHeader+int(length))[:frameHeader+int(length)]
	if _, err := io.ReadFull(s.in, s.buf); err != nil {
		return nil, "", err
	}
	payload = s.buf[frameHeader:]
	if binary.BigEndian.Uint32(s.buf[4:]) != frameSum(s.r.Number, s.pos, payload) {
		if s.tolerant {
			s.pos += int64(len(s.buf))
		}
		return nil, "frame has a wrong checksum", nil
	}
	s.pos += int64(len(s.buf))
	s.end.sum.Write(s.buf)
	return payload, "", nil
}

// footer reads a footer that does not end the file, because a crash came before
// the file was cut behind it, or that does.
func (s *scanner) footer() (bad string, err error) {
	b, err := s.in.Peek(int(min(maxFooter, s.r.size-s.pos)))
	if err != nil {
		return "", err
	}
	if len(b) >= footerFixed {
		b = b[:min(len(b), footerFixed+int(b[footerFixed-1])*warg.DigestSize+trailerSize)]
	}
	f, err := decodeFooter(b)
	switch {
	case err != nil:
		return err.Error(), nil
	case f.Count != s.end.Count, f.Sum != warg.Digest(s.end.sum.Sum(nil)):
		return "segment footer does not match the segment", nil
	}
	s.end.Footer = &f
	return "", nil
}

// rest looks whether anything stands behind the end.
func (s *scanner) rest() error {
	for {
		_, err := s.in.Peek(1)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, _ := s.in.Peek(s.in.Buffered())
		if !durable.OnlyZeros(b) {
			s.end.Rest = true
			return nil
		}
		if _, err := s.in.Discard(len(b)); err != nil {
			return err
		}
	}
}

// hashFile adds the first bytes of a file to a hash.
func hashFile(h hash.Hash, r io.ReaderAt, bytes int64) error {
	n, err := io.Copy(h, io.NewSectionReader(r, 0, bytes))
	if err == nil && n != bytes {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Resume opens a segment for appending at the end that a Scan of all of it found.
// What stands behind the end is overwritten with zeros first.
func (d *Dir) Resume(h Header, end End) (*Segment, error) {
	f, err := d.FS.OpenWrite(d.path(h.Number))
	if err != nil {
		return nil, err
	}
	s := &Segment{Header: h, dir: d, file: f, count: end.Count, end: end.Offset, sum: end.sum}
	fi, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.size = fi.Size()
	if s.sum == nil {
		s.sum = sha256.New()
		if err := hashFile(s.sum, f, end.Offset); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if end.Bad != "" || end.Rest || end.Skipped > 0 {
		if err := durable.Fill(f, end.Offset, s.size); err != nil {
			return nil, errors.Join(fmt.Errorf("clearing the end of %s: %w", s.Path(), err), f.Close())
		}
	}
	return s, nil
}

// Finish completes the sealing of a segment in which Scan found a footer that does not end the file.
func (d *Dir) Finish(h Header, end End) error {
	f, err := d.FS.OpenWrite(d.path(h.Number))
	if err != nil {
		return err
	}
	s := &Segment{Header: h, dir: d, file: f, end: end.Offset}
	if err := errors.Join(s.seal(end.Footer.encode()), f.Close()); err != nil {
		return fmt.Errorf("completing %s: %w", s.Path(), err)
	}
	return nil
}
