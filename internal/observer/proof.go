package observer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// This file reads and evaluates the proofs that a registry serves. It goes by ranges of
// leaves, from the root down, as RFC 6962 defines the tree.

// fields calls visit with every field of a protobuf message: a number, or bytes.
func fields(b []byte, visit func(field int, number uint64, bytes []byte) error) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return errors.New("a field has no key")
		}
		b = b[n:]
		value, n := binary.Uvarint(b)
		if n <= 0 {
			return errors.New("a field has no value")
		}
		b = b[n:]
		var bytes []byte
		switch key & 7 {
		case 0:
		case 2:
			if value > uint64(len(b)) {
				return errors.New("a field is longer than the message")
			}
			bytes, b = b[:value], b[value:]
		default:
			return fmt.Errorf("a field of wire type %d", key&7)
		}
		if err := visit(int(key>>3), value, bytes); err != nil {
			return err
		}
	}
	return nil
}

// numbers reads a packed list.
func numbers(b []byte) (list []uint64, err error) {
	for len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("a list ends within a number")
		}
		list, b = append(list, v), b[n:]
	}
	return list, nil
}

// logProof is a bundle of proofs about the log of one length.
type logProof struct {
	length     uint64
	consistent []uint64 // shorter lengths
	included   []uint64 // twice the places of leaves
	pool       map[uint64]hash
}

func parseLogProof(b []byte) (p logProof, err error) {
	p.pool = map[uint64]hash{}
	err = fields(b, func(field int, number uint64, bytes []byte) (err error) {
		switch field {
		case 1:
			p.length = number
		case 2:
			p.consistent, err = numbers(bytes)
		case 3:
			p.included, err = numbers(bytes)
		case 4:
			var node uint64
			var h []byte
			err = fields(bytes, func(field int, number uint64, bytes []byte) error {
				if field == 1 {
					node = number
				} else {
					h = bytes
				}
				return nil
			})
			if err == nil && len(h) != len(hash{}) {
				err = fmt.Errorf("a hash of %d bytes", len(h))
			}
			if err == nil {
				p.pool[node] = hash(h)
			}
		}
		return err
	})
	return p, err
}

// span is the leaves from one place on and below another.
type span struct{ from, to uint64 }

// perfect reports whether the leaves of a span, which begins where the tree was cut, make
// a perfect subtree.
func (s span) perfect() bool { return bits.OnesCount64(s.to-s.from) == 1 }

// cut halves a span of two leaves or more as the tree does.
func (s span) cut() (left, right span) {
	at := s.from + 1<<(bits.Len64(s.to-s.from-1)-1)
	return span{s.from, at}, span{at, s.to}
}

// root computes the root of a span; known says which subtrees are given, and by what.
func (p *logProof) root(s span, known func(span) (hash, bool, error)) (hash, error) {
	h, ok, err := known(s)
	if ok || err != nil {
		return h, err
	}
	if s.to-s.from < 2 {
		return h, fmt.Errorf("the proof does not say what stands at %d", s.from)
	}
	left, right := s.cut()
	a, err := p.root(left, known)
	if err != nil {
		return h, err
	}
	b, err := p.root(right, known)
	return branch(a, b), err
}

// pooled takes a perfect subtree from the pool: nodes are numbered in order, leaves even.
func (p *logProof) pooled(s span) (hash, bool, error) {
	h, ok := p.pool[2*s.from+(s.to-s.from)-1]
	if !ok {
		return h, false, fmt.Errorf("the proof lacks the leaves from %d to %d", s.from, s.to)
	}
	return h, true, nil
}

// includes returns the root that the log has if a leaf stands at a place.
func (p *logProof) includes(place uint64, leaf hash) (hash, error) {
	return p.root(span{0, p.length}, func(s span) (hash, bool, error) {
		switch inside := s.from <= place && place < s.to; {
		case inside && s.to-s.from == 1:
			return leaf, true, nil
		case !inside && s.perfect():
			return p.pooled(s)
		}
		return hash{}, false, nil
	})
}

// extends returns the roots of the log at a shorter length and at the proof's, both made
// of the very same subtrees.
func (p *logProof) extends(from uint64) (shorter, longer hash, err error) {
	balanced := map[span]bool{}
	shorter, err = p.root(span{0, from}, func(s span) (hash, bool, error) {
		if !s.perfect() {
			return hash{}, false, nil
		}
		balanced[s] = true
		return p.pooled(s)
	})
	if err != nil {
		return shorter, longer, err
	}
	longer, err = p.root(span{0, p.length}, func(s span) (hash, bool, error) {
		if balanced[s] || s.perfect() && s.from >= from {
			return p.pooled(s)
		}
		return hash{}, false, nil
	})
	return shorter, longer, err
}

// parseMapProofs reads the siblings of each proof, from the bottom up; one that is not
// there is nil.
func parseMapProofs(b []byte) (proofs [][][]byte, err error) {
	err = fields(b, func(_ int, _ uint64, proof []byte) error {
		var siblings [][]byte
		err := fields(proof, func(_ int, _ uint64, sibling []byte) error {
			var h []byte
			err := fields(sibling, func(_ int, _ uint64, bytes []byte) error {
				if h = bytes; len(h) != len(hash{}) {
					return fmt.Errorf("a hash of %d bytes", len(h))
				}
				return nil
			})
			siblings = append(siblings, h)
			return err
		})
		proofs = append(proofs, siblings)
		return err
	})
	return proofs, err
}

// mapIncludes returns the root that the map has if a log's newest record is the given one.
func mapIncludes(e entry, siblings [][]byte) (hash, error) {
	if len(siblings) > mapDepth {
		return hash{}, fmt.Errorf("a proof of %d siblings", len(siblings))
	}
	path, h := sum(e.log[:]), e.mapLeaf()
	empty := emptySubtrees()
	for height := range mapDepth {
		sibling := empty[height]
		if given := height - (mapDepth - len(siblings)); given >= 0 && siblings[given] != nil {
			sibling = hash(siblings[given])
		}
		if bit := mapDepth - 1 - height; path[bit/8]>>(7-bit%8)&1 == 1 {
			h = branch(sibling, h)
		} else {
			h = branch(h, sibling)
		}
	}
	return h, nil
}
