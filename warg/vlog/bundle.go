package vlog

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/pb"
)

// Field numbers of a bundle and of an entry of its pool.
const (
	fieldLength     = 1
	fieldConsistent = 2
	fieldIncluded   = 3
	fieldPool       = 4

	fieldNode = 1
	fieldHash = 2
)

// Bundle is a set of proofs about one length of a log. It claims nothing until
// it was evaluated and the result compared with a trusted root.
type Bundle struct {
	Length     uint64   // of the log that the proofs lead to
	Consistent []uint64 // the shorter length of each consistency proof
	Included   []Node   // the node of each inclusion proof, 2i for leaf i
	Pool       []Entry  // the hashes of the proofs, ascending by node, no node twice
}

// Entry is a node of a bundle's pool and its hash.
type Entry struct {
	Node Node
	Hash warg.Digest
}

// ParseBundle decodes a bundle. Beyond what protobuf demands, hashes must have 32
// bytes and the pool must be in ascending order, as every producer emits it.
// Anything else is [ErrMalformed].
func ParseBundle(b []byte) (Bundle, error) {
	var out Bundle
	r := pb.NewReader(b)
	for r.Next() {
		switch r.Number() {
		case fieldLength:
			out.Length = uint64(uint32(r.Varint()))
		case fieldConsistent:
			out.Consistent = appendList(out.Consistent, r)
		case fieldIncluded:
			out.Included = appendList(out.Included, r)
		case fieldPool:
			e, err := parseEntry(r.Message())
			if err != nil {
				return Bundle{}, err
			}
			if n := len(out.Pool); n > 0 && out.Pool[n-1].Node >= e.Node {
				return Bundle{}, fmt.Errorf("%w: node %d stands after node %d", ErrMalformed, e.Node, out.Pool[n-1].Node)
			}
			out.Pool = append(out.Pool, e)
		}
	}
	if err := r.Err(); err != nil {
		return Bundle{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return out, nil
}

func appendList[T ~uint64](list []T, r *pb.Reader) []T {
	for _, v := range r.Varints(nil) {
		list = append(list, T(v))
	}
	return list
}

func parseEntry(r *pb.Reader) (e Entry, err error) {
	var hash []byte
	for r.Next() {
		switch r.Number() {
		case fieldNode:
			e.Node = Node(uint32(r.Varint()))
		case fieldHash:
			hash = r.Bytes()
		}
	}
	if err := r.Err(); err != nil {
		return e, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(hash) != warg.DigestSize {
		return e, fmt.Errorf("%w: hash of %d bytes", ErrMalformed, len(hash))
	}
	copy(e.Hash[:], hash)
	return e, nil
}

// Encode returns the encoding of the bundle; see [Bundle.Append].
func (b Bundle) Encode() []byte {
	const perEntry = 2 + 1 + 5 + 2 + warg.DigestSize // at most
	size := 16 + 6*(len(b.Consistent)+len(b.Included)) + perEntry*len(b.Pool)
	return b.Append(make([]byte, 0, size))
}

// Append appends the encoding of the bundle to dst. It is the only encoding that
// producers emit, so that what was parsed from a producer's bytes prints as those
// bytes. Numbers are cut to 32 bits; [BuildBundle] makes no bundle that has larger ones.
func (b Bundle) Append(dst []byte) []byte {
	dst = pb.AppendVarint(dst, fieldLength, b.Length&math.MaxUint32)
	dst = pb.AppendPacked(dst, fieldConsistent, b.Consistent)
	dst = pb.AppendPacked(dst, fieldIncluded, b.Included)
	for _, e := range b.Pool {
		dst = e.appendTo(dst)
	}
	return dst
}

func (e Entry) appendTo(dst []byte) []byte {
	size := 2 + warg.DigestSize
	if e.Node != 0 {
		size += 1 + protowire.SizeVarint(uint64(e.Node))
	}
	dst = append(dst, fieldPool<<3|byte(protowire.BytesType), byte(size))
	dst = pb.AppendVarint(dst, fieldNode, uint64(e.Node))
	dst = append(dst, fieldHash<<3|byte(protowire.BytesType), warg.DigestSize)
	return append(dst, e.Hash[:]...)
}

// hash looks a node up in the pool.
func (b *Bundle) hash(x Node) (warg.Digest, error) {
	i, ok := slices.BinarySearchFunc(b.Pool, x, func(e Entry, x Node) int {
		switch {
		case e.Node < x:
			return -1
		case e.Node > x:
			return 1
		}
		return 0
	})
	if !ok {
		return warg.Digest{}, fmt.Errorf("node %d: %w", x, ErrHashNotKnown)
	}
	return b.Pool[i].Hash, nil
}
