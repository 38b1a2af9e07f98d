package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// Kind says what the frames of a segment are.
type Kind uint8

// The kinds of segments.
const (
	Log      Kind = iota + 1 // leaves of the registry log
	Pending                  // submissions, the newest segment of which is alive
	Rejected                 // what compaction leaves of a pending segment
)

const (
	headerMagic = "EPSEGMNT"
	footerMagic = "EPFOOTER"
	version     = 1

	headerSize  = 96
	frameHeader = 8
	footerFixed = 4 + 8 + 2*warg.DigestSize + 1
	trailerSize = 4 + 4 + 8 // CRC, size, magic
	maxEdge     = 64        // bits of a length
	maxFooter   = footerFixed + maxEdge*warg.DigestSize + trailerSize
	footerMark  = 0xffffffff

	// MaxPayload bounds a frame in bytes: a record of the largest size, its
	// signature and names. A longer length is damage.
	MaxPayload = warg.MaxRecordBytes + 64<<10
)

// Suffix ends the names of segments.
const Suffix = ".seg"

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // cached by the package

// Header begins a segment.
type Header struct {
	Kind     Kind
	Registry warg.Digest
	Number   uint64
	First    uint64
	Previous warg.Digest
}

// Footer ends a sealed segment.
type Footer struct {
	Count    uint64      // frames
	Sum      warg.Digest // SHA-256 of header and frames
	Previous warg.Digest // as in the header
	Edge     []warg.Digest
	Hash     warg.Digest // SHA-256 of the footer itself
}

// Position is where a frame stands.
type Position struct {
	Segment uint64
	Offset  uint32
	Size    uint32 // of the payload
}

// DamageError says that a file is not what was written.
type DamageError struct {
	Path   string
	Offset int64
	Reason string
}

// Error says where the damage is.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s", e.Path, e.Offset, e.Reason)
}

// Name returns the file name of a segment.
func Name(number uint64) string { return fmt.Sprintf("%08d%s", number, Suffix) }

// parseName returns the number of a segment's file name.
func parseName(name string) (number uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, Suffix)
	if !ok {
		return 0, false
	}
	if _, err := fmt.Sscanf(digits, "%d", &number); err != nil || Name(number) != name {
		return 0, false
	}
	return number, true
}

func (h Header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, headerMagic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, byte(h.Kind), 0)
	b = append(b, h.Registry[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Number)
	b = binary.BigEndian.AppendUint64(b, h.First)
	b = append(b, h.Previous[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func decodeHeader(b []byte) (h Header, err error) {
	switch {
	case len(b) < headerSize || !bytes.HasPrefix(b, []byte(headerMagic)):
		return h, errors.New("no segment header")
	case binary.BigEndian.Uint32(b[92:]) != crc32.Checksum(b[:92], castagnoli()):
		return h, errors.New("segment header has a wrong checksum")
	case binary.BigEndian.Uint16(b[8:]) != version:
		return h, fmt.Errorf("segment format version %d is not known to this program", binary.BigEndian.Uint16(b[8:]))
	}
	h.Kind = Kind(b[10])
	copy(h.Registry[:], b[12:])
	h.Number = binary.BigEndian.Uint64(b[44:])
	h.First = binary.BigEndian.Uint64(b[52:])
	copy(h.Previous[:], b[60:])
	return h, nil
}

// encode returns the footer and sets its hash.
func (f *Footer) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, footerMark)
	b = binary.BigEndian.AppendUint64(b, f.Count)
	b = append(b, f.Sum[:]...)
	b = append(b, f.Previous[:]...)
	b = append(b, byte(len(f.Edge)))
	for _, h := range f.Edge {
		b = append(b, h[:]...)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(b)+4+len(footerMagic)))
	b = append(b, footerMagic...)
	f.Hash = warg.Sum(b)
	return b
}

func decodeFooter(b []byte) (f Footer, err error) {
	if len(b) < footerFixed+trailerSize || binary.BigEndian.Uint32(b) != footerMark {
		return f, errors.New("no segment footer")
	}
	edge := int(b[footerFixed-1])
	sum := footerFixed + edge*warg.DigestSize
	switch {
	case edge > maxEdge || len(b) != sum+trailerSize || int(binary.BigEndian.Uint32(b[sum+4:])) != len(b):
		return f, errors.New("segment footer has a wrong size")
	case string(b[sum+8:]) != footerMagic:
		return f, errors.New("segment footer does not end as it should")
	case binary.BigEndian.Uint32(b[sum:]) != crc32.Checksum(b[:sum], castagnoli()):
		return f, errors.New("segment footer has a wrong checksum")
	}
	f.Count = binary.BigEndian.Uint64(b[4:])
	copy(f.Sum[:], b[12:])
	copy(f.Previous[:], b[44:])
	for i := range edge {
		f.Edge = append(f.Edge, warg.Digest(b[footerFixed+i*warg.DigestSize:]))
	}
	f.Hash = warg.Sum(b)
	return f, nil
}

// appendFrame appends a frame that will stand at the given place.
func appendFrame(b []byte, number uint64, offset int64, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, frameSum(number, offset, payload))
	return append(b, payload...)
}

func frameSum(number uint64, offset int64, payload []byte) uint32 {
	var place [20]byte
	binary.BigEndian.PutUint64(place[:], number)
	binary.BigEndian.PutUint64(place[8:], uint64(offset))
	binary.BigEndian.PutUint32(place[16:], uint32(len(payload)))
	return crc32.Update(crc32.Checksum(place[:], castagnoli()), castagnoli(), payload)
}
