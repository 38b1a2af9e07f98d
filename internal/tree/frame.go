package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Error is a condition that callers tell apart. Compare with errors.Is.
type Error string

// The conditions.
const (
	// ErrIndexCorrupt: what is stored is damaged, missing, or does not hash to what
	// it should. The index must be rebuilt.
	ErrIndexCorrupt Error = "index is corrupt"
	// ErrStale: an update was prepared from a head that is not the published one any more.
	ErrStale Error = "update was prepared from an older head"
	// ErrNoLeaves: an update without leaves.
	ErrNoLeaves Error = "no leaves to add"
	// ErrTooLong: the log would outgrow the protocol.
	ErrTooLong Error = "registry log is full"
)

// Error returns a sentence for people.
func (e Error) Error() string { return string(e) }

// A framed value: version, length of the payload, payload, checksum.
const (
	frameVersion = 1
	frameHeader  = 1 + 4
	frameSum     = 8
)

// MaxValue is the largest framed value that a tree writes, in bytes. It keeps
// values far below the threshold above which Badger moves them to its value log.
const MaxValue = 256 << 10

// Seal frames a payload for storing it under a key: a version, the length, the
// payload, and the first 8 bytes of a SHA-256 that covers all of it and the key.
// So neither an empty value nor one stored under another key passes [Unseal].
func Seal(key, payload []byte) []byte {
	b := make([]byte, 0, frameHeader+len(payload)+frameSum)
	b = append(b, frameVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return append(b, frameChecksum(key, b)...)
}

// Unseal returns the payload of a framed value, which it aliases, or
// [ErrIndexCorrupt].
func Unseal(key, value []byte) ([]byte, error) {
	if len(value) < frameHeader+frameSum {
		return nil, fmt.Errorf("%w: value of %q has %d bytes", ErrIndexCorrupt, key, len(value))
	}
	framed, sum := value[:len(value)-frameSum], value[len(value)-frameSum:]
	payload := framed[frameHeader:]
	switch {
	case framed[0] != frameVersion:
		return nil, fmt.Errorf("%w: value of %q has version %d", ErrIndexCorrupt, key, framed[0])
	case binary.BigEndian.Uint32(framed[1:]) != uint32(len(payload)):
		return nil, fmt.Errorf("%w: value of %q has the wrong length", ErrIndexCorrupt, key)
	case !bytes.Equal(frameChecksum(key, framed), sum):
		return nil, fmt.Errorf("%w: value of %q has the wrong checksum", ErrIndexCorrupt, key)
	}
	return payload, nil
}

func frameChecksum(key, framed []byte) []byte {
	h := sha256.New()
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(key)))
	h.Write(size[:])
	h.Write(key)
	h.Write(framed)
	return h.Sum(nil)[:frameSum]
}
