package archive

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// kind is the kind of a frame.
type kind byte

// The kinds of frames; see the package comment.
const (
	kindArchive      kind = 'A'
	kindRegistry     kind = 'R'
	kindBase         kind = 'B'
	kindBaseLogs     kind = 'I'
	kindBaseContents kind = 'H'
	kindCheckpoints  kind = 'K'
	kindLedger       kind = 'L'
	kindOperator     kind = 'O'
	kindPackage      kind = 'P'
	kindRecord       kind = 'E'
	kindContent      kind = 'C'
	kindBytes        kind = 'D'
	kindRegistryEnd  kind = 'Z'
	kindEnd          kind = 'X'
)

const (
	frameHead     = 1 + 4
	frameOverhead = frameHead + 4

	// maxSmall bounds the frames that hold one thing of a few fields: texts are short
	// in all that any registry accepts, but the protocol does not bound key ids and
	// fetch tokens.
	maxSmall = 64 << 10
	// maxRecord bounds a record: no replica takes an answer of more than 32 MiB.
	maxRecord = 32<<20 + maxSmall
	// maxCheckpoint bounds a checkpoint among many: fixed fields, and texts of a key id
	// (71 bytes) and a signature (107 bytes) with room to spare.
	maxCheckpoint = 512
)

// limit returns how many bytes the payload of a frame may have, -1 for a kind that
// does not exist.
func (k kind) limit() int64 {
	switch k {
	case kindArchive, kindRegistry, kindBase, kindPackage, kindContent, kindRegistryEnd, kindEnd:
		return maxSmall
	case kindBaseLogs:
		return baseLogsPerFrame * baseLogSize
	case kindBaseContents:
		return baseContentsPerFrame * digestSize
	case kindCheckpoints:
		return checkpointsPerFrame * maxCheckpoint
	case kindLedger:
		return leavesPerFrame * leafSize
	case kindOperator, kindRecord:
		return maxRecord
	case kindBytes:
		return bytesPerFrame
	}
	return -1
}

// String returns what frames of the kind hold, for people.
func (k kind) String() string {
	switch k {
	case kindArchive:
		return "archive"
	case kindRegistry:
		return "registry"
	case kindBase, kindBaseLogs, kindBaseContents:
		return "base"
	case kindCheckpoints:
		return "checkpoints"
	case kindLedger:
		return "ledger"
	case kindOperator:
		return "operator record"
	case kindPackage:
		return "package"
	case kindRecord:
		return "record"
	case kindContent, kindBytes:
		return "content"
	case kindRegistryEnd:
		return "end of registry"
	case kindEnd:
		return "end"
	}
	return fmt.Sprintf("unknown kind %q", byte(k))
}

// castagnoli is the polynomial of all checksums: it finds every error of up to 32
// bits in a row. The table is shared by the library.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// frames reads frames one after another from a stretch of the stream.
type frames struct {
	s   *stream
	r   *bufio.Reader
	at  int64 // of the next frame in the stream
	end int64
	buf []byte
	tee func(frame []byte) error // sees every frame before it is judged; may be nil
}

// How many bytes are read ahead: of a whole archive, and where it is looked up what
// stands at a place, which is often no more than a record.
const (
	readAllAhead = 256 << 10
	lookUpAhead  = 4 << 10
)

// frames returns a reader of the frames from one place in the stream to another.
func (s *stream) frames(from, end int64, readAhead int) *frames {
	return &frames{s: s, r: bufio.NewReaderSize(io.NewSectionReader(s, from, end-from), readAhead), at: from, end: end}
}

// peek returns the kind of the next frame, 0 at the end.
func (f *frames) peek() kind {
	b, err := f.r.Peek(1)
	if err != nil {
		return 0 // next says what is wrong
	}
	return kind(b[0])
}

// next reads a frame. The payload is valid until the next call.
func (f *frames) next() (kind, []byte, error) {
	k, size, err := f.head()
	if err != nil {
		return 0, nil, err
	}
	total := frameOverhead + int(size)
	if cap(f.buf) < total {
		f.buf = make([]byte, total)
	}
	b := f.buf[:total]
	if _, err := io.ReadFull(f.r, b); err != nil {
		return 0, nil, f.s.readError(f.at, err)
	}
	if f.tee != nil {
		if err := f.tee(b); err != nil {
			return 0, nil, err
		}
	}
	body, sum := b[:total-4], binary.BigEndian.Uint32(b[total-4:])
	if crc32.Checksum(body, castagnoli()) != sum {
		return 0, nil, f.s.damage(f.at, "the checksum is wrong (%s)", k)
	}
	f.at += int64(total)
	return k, body[frameHead:], nil
}

// head looks at the head of the next frame and judges it, so that what it claims is
// within bounds before anything is allocated.
func (f *frames) head() (kind, int64, error) {
	b, err := f.r.Peek(frameHead)
	if err != nil {
		return 0, 0, f.s.readError(f.at, err)
	}
	k, size := kind(b[0]), int64(binary.BigEndian.Uint32(b[1:]))
	switch limit := k.limit(); {
	case limit < 0:
		return 0, 0, f.s.damage(f.at, "%s", k)
	case size > limit:
		return 0, 0, f.s.damage(f.at, "%s of %d bytes; at most %d are allowed", k, size, limit)
	case size+frameOverhead > f.end-f.at:
		return 0, 0, f.s.readError(f.at, io.ErrUnexpectedEOF)
	}
	return k, size, nil
}

// want reads a frame that must be of a kind.
func (f *frames) want(k kind) ([]byte, error) {
	at := f.at
	got, payload, err := f.next()
	if err == nil && got != k {
		err = f.s.damage(at, "%s where %s should be", got, k)
	}
	return payload, err
}

// pass goes over a frame without reading its payload.
func (f *frames) pass() error {
	_, size, err := f.head()
	if err != nil {
		return err
	}
	return f.skip(frameOverhead + size)
}

// skip goes over some bytes.
func (f *frames) skip(n int64) error {
	if n > f.end-f.at {
		return f.s.readError(f.at, io.ErrUnexpectedEOF)
	}
	const worthSeeking = 1 << 20
	f.at += n
	if n > worthSeeking {
		f.r.Reset(io.NewSectionReader(f.s, f.at, f.end-f.at))
		return nil
	}
	for n > 0 {
		step, err := f.r.Discard(int(n))
		if err != nil {
			return f.s.readError(f.at, err)
		}
		n -= int64(step)
	}
	return nil
}
