package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"

	"github.com/entrepot/entrepot/warg"
)

const (
	magic      = "entrepot archive\r\n\x1a\n"
	format     = 1
	partHeader = 64

	formatAt = 20
	numberAt = 24
	sumAt    = 28
	crcAt    = 60

	// maxParts bounds what one archive is made of: more files than anybody has media.
	maxParts = 10_000
)

// Part is a file of an archive.
type Part struct {
	Name string // for messages
	io.ReaderAt
	Size int64 // bytes
}

// DamageError says that an archive is not what was written.
type DamageError struct {
	Part   string // file name
	Offset int64  // in that file, of the frame that is wrong
	Reason string
}

// Error says where the damage is and what it is.
func (e *DamageError) Error() string {
	return fmt.Sprintf("archive %s is damaged at byte %d: %s", e.Part, e.Offset, e.Reason)
}

// header is the header of a part.
type header struct {
	number uint32
	before warg.Digest // SHA-256 of the stream before this part
}

func (h header) encode() []byte {
	b := make([]byte, partHeader)
	copy(b, magic)
	binary.BigEndian.PutUint32(b[formatAt:], format)
	binary.BigEndian.PutUint32(b[numberAt:], h.number)
	copy(b[sumAt:], h.before[:])
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[:crcAt], castagnoli()))
	return b
}

// readHeader reads the header of a part.
func readHeader(p Part) (header, error) {
	b := make([]byte, partHeader)
	n, err := p.ReadAt(b, 0)
	if n < partHeader && err != nil && !errors.Is(err, io.EOF) {
		return header{}, fmt.Errorf("reading %s: %w", p.Name, err)
	}
	return parseHeader(p.Name, b[:n])
}

func parseHeader(name string, b []byte) (header, error) {
	damage := func(reason string) error { return &DamageError{name, 0, reason} }
	switch {
	case len(b) < partHeader:
		return header{}, damage("it is too short to be an archive")
	case string(b[:len(magic)]) != magic:
		return header{}, damage("it does not begin like an archive")
	case binary.BigEndian.Uint32(b[crcAt:]) != crc32.Checksum(b[:crcAt], castagnoli()):
		return header{}, damage("the checksum of the header is wrong")
	case binary.BigEndian.Uint32(b[formatAt:]) != format:
		return header{}, damage(fmt.Sprintf("it is of format %d; this program knows format %d", binary.BigEndian.Uint32(b[formatAt:]), format))
	}
	return header{binary.BigEndian.Uint32(b[numberAt:]), warg.Digest(b[sumAt:crcAt])}, nil
}

// stream is what follows the headers of all parts, joined.
type stream struct {
	parts []placed
	size  int64
}

// placed is a part with its place in the stream.
type placed struct {
	Part
	header
	at, end int64
}

// openStream reads the headers of all parts and puts them together. Whether a part
// is the continuation of the one before it is found out while reading.
func openStream(parts []Part) (*stream, error) {
	if len(parts) == 0 || len(parts) > maxParts {
		return nil, fmt.Errorf("an archive has 1 to %d parts, not %d", maxParts, len(parts))
	}
	s := &stream{}
	for i, p := range parts {
		h, err := readHeader(p)
		if err != nil {
			return nil, err
		}
		if h.number != uint32(i) {
			return nil, &DamageError{p.Name, numberAt, fmt.Sprintf("it is part %03d, but part %03d is needed here", h.number, i)}
		}
		size := p.Size - partHeader
		s.parts = append(s.parts, placed{p, h, s.size, s.size + size})
		s.size += size
	}
	if first := s.parts[0]; first.before != warg.Sum(nil) {
		return nil, &DamageError{first.Name, sumAt, "the first part says that something was before it"}
	}
	return s, nil
}

// part returns the part that holds a byte of the stream; the last one for the end.
func (s *stream) part(at int64) placed {
	i := sort.Search(len(s.parts), func(i int) bool { return s.parts[i].end > at })
	return s.parts[min(i, len(s.parts)-1)]
}

// ReadAt implements [io.ReaderAt].
func (s *stream) ReadAt(b []byte, at int64) (n int, err error) {
	for n < len(b) {
		if at >= s.size {
			return n, io.EOF
		}
		p := s.part(at)
		want := min(int64(len(b)-n), p.end-at)
		got, err := p.ReadAt(b[n:n+int(want)], at-p.at+partHeader)
		n, at = n+got, at+int64(got)
		if int64(got) < want {
			if err == nil || errors.Is(err, io.EOF) {
				return n, &DamageError{p.Name, at - p.at + partHeader, "it was cut off while it was read"}
			}
			return n, fmt.Errorf("reading %s: %w", p.Name, err)
		}
	}
	return n, nil
}

// damage describes damage at a place in the stream.
func (s *stream) damage(at int64, reason string, args ...any) error {
	p := s.part(at)
	return &DamageError{p.Name, at - p.at + partHeader, fmt.Sprintf(reason, args...)}
}

// readError describes a failed read: what ends too early is damaged.
func (s *stream) readError(at int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.damage(at, "it ends too early: a part that follows is missing, or it was cut off")
	}
	return err
}
