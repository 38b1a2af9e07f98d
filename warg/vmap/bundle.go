package vmap

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/pb"
)

// Encoded sizes and keys. All three levels of the message have one field, number 1.
const (
	fieldOnly     = 1
	keyOnly       = fieldOnly<<3 | byte(protowire.BytesType)
	presentSize   = 2 + warg.DigestSize // of the message that holds a hash
	perSibling    = 2 + presentSize     // of a present sibling with its key and length
	perAbsentSize = 2
)

// Bundle is a list of proofs. It claims nothing until it was evaluated and the
// results compared with a trusted root.
type Bundle []Proof

// ParseBundle decodes a bundle. A hash that is present must have 32 bytes; a proof
// may have any number of elements here, [Proof.Evaluate] refuses too many.
// Anything else is [ErrMalformed].
func ParseBundle(b []byte) (Bundle, error) {
	var out Bundle
	r := pb.NewReader(b)
	for r.Next() {
		if r.Number() != fieldOnly {
			continue
		}
		p, err := parseProof(r.Message())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		out = append(out, p)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return out, nil
}

func parseProof(r *pb.Reader) (Proof, error) {
	var p Proof
	for r.Next() {
		if r.Number() != fieldOnly {
			continue
		}
		s, err := parseSibling(r.Message())
		if err != nil {
			return nil, err
		}
		p = append(p, s)
	}
	return p, r.Err()
}

func parseSibling(r *pb.Reader) (s Sibling, err error) {
	var hash []byte
	for r.Next() {
		if r.Number() == fieldOnly {
			hash, s.Present = r.Bytes(), true
		}
	}
	if s.Present && r.Err() == nil && len(hash) != warg.DigestSize {
		return s, fmt.Errorf("hash of %d bytes", len(hash))
	}
	copy(s.Hash[:], hash)
	return s, r.Err()
}

// Encode returns the encoding of the bundle; see [Bundle.Append].
func (b Bundle) Encode() []byte {
	size := 0
	for _, p := range b {
		size += 1 + 5 + perSibling*len(p)
	}
	return b.Append(make([]byte, 0, size))
}

// Append appends the encoding of the bundle to dst. It is the only encoding that
// producers emit, so that what was parsed from a producer's bytes prints as those
// bytes.
func (b Bundle) Append(dst []byte) []byte {
	for _, p := range b {
		dst = append(dst, keyOnly)
		dst = protowire.AppendVarint(dst, uint64(p.encodedSize()))
		for i := range p {
			dst = p[i].appendTo(dst)
		}
	}
	return dst
}

func (p Proof) encodedSize() int {
	size := 0
	for i := range p {
		if p[i].Present {
			size += perSibling
		} else {
			size += perAbsentSize
		}
	}
	return size
}

func (s *Sibling) appendTo(dst []byte) []byte {
	if !s.Present {
		return append(dst, keyOnly, 0)
	}
	dst = append(dst, keyOnly, presentSize, keyOnly, warg.DigestSize)
	return append(dst, s.Hash[:]...)
}
