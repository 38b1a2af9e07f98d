// Package pb reads and writes the few protobuf messages of the protocol by hand.
//
// A generated codec would not do: it takes a known field of the wrong wire type
// for an unknown one, where the protocol refuses the message, and its output is
// not promised to stay the same. What is refused here: a known field of the wrong
// wire type, field number 0, wire types 6 and 7, field keys above 32 bits,
// unmatched groups, anything truncated, varints above 64 bits, strings that are
// not UTF-8, and nesting deeper than [MaxDepth]. Unknown fields are skipped.
package pb

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxDepth is how deep messages and groups may nest, the limit of the reference
// implementation. It bounds the work that a hostile message can cause.
const MaxDepth = 100

// The ways in which a message is malformed.
var (
	errTruncated = errors.New("message is truncated")
	errVarint    = errors.New("varint does not fit 64 bits")
	errKey       = errors.New("field key does not fit 32 bits")
	errNumber    = errors.New("field number 0")
	errGroup     = errors.New("group end without its start")
	errDepth     = errors.New("message nests too deep")
)

// Reader iterates over the fields of one message. Use it like this:
//
//	for r.Next() {
//		switch r.Number() {
//		case 1:
//			name = r.Text()
//		}
//	}
//	return r.Err()
//
// A field that no accessor is called for is unknown and has been checked and
// skipped. The first error ends the iteration.
type Reader struct {
	rest  []byte
	depth int // levels that may still be entered
	err   error

	num   uint32
	typ   protowire.Type
	value uint64 // of a varint field
	bytes []byte // of a length-delimited field
}

// NewReader returns a reader of the outermost message b.
func NewReader(b []byte) *Reader { return &Reader{rest: b, depth: MaxDepth} }

// Next advances to the next field. It returns false at the end and on an error.
func (r *Reader) Next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	var n int
	if r.num, r.typ, n, r.err = readKey(r.rest); r.err != nil {
		return false
	}
	r.rest = r.rest[n:]
	r.value, r.bytes = 0, nil
	n, r.err = r.readValue()
	if r.err != nil {
		return false
	}
	r.rest = r.rest[n:]
	return true
}

func (r *Reader) readValue() (n int, err error) {
	switch r.typ {
	case protowire.VarintType:
		r.value, n, err = readVarint(r.rest)
		return n, err
	case protowire.BytesType:
		r.bytes, n, err = readBytes(r.rest)
		return n, err
	default:
		return skipValue(r.num, r.typ, r.rest, r.depth)
	}
}

// Err returns what is wrong with the message, or nil.
func (r *Reader) Err() error {
	if r.err != nil {
		return fmt.Errorf("decoding protobuf: %w", r.err)
	}
	return nil
}

// Number returns the field's number.
func (r *Reader) Number() uint32 { return r.num }

func (r *Reader) want(t protowire.Type) bool {
	if r.typ != t && r.err == nil {
		r.err = fmt.Errorf("field %d has wire type %d, expected %d", r.num, r.typ, t)
	}
	return r.err == nil
}

// Varint returns the field as an integer. Narrower types keep its low bits, as
// protobuf demands.
func (r *Reader) Varint() uint64 {
	if !r.want(protowire.VarintType) {
		return 0
	}
	return r.value
}

// Varints appends the field to list: one integer, or any number packed into one
// field. List elements keep their low 32 bits.
func (r *Reader) Varints(list []uint32) []uint32 {
	if r.typ == protowire.VarintType {
		return append(list, uint32(r.value))
	}
	if !r.want(protowire.BytesType) {
		return list
	}
	for b := r.bytes; len(b) > 0; {
		v, n, err := readVarint(b)
		if err != nil {
			r.err = err
			return list
		}
		list, b = append(list, uint32(v)), b[n:]
	}
	return list
}

// Bytes returns the field's bytes, which alias the message.
func (r *Reader) Bytes() []byte {
	if !r.want(protowire.BytesType) {
		return nil
	}
	return r.bytes
}

// Text returns the field as a string, which must be UTF-8.
func (r *Reader) Text() string {
	b := r.Bytes()
	if !utf8.Valid(b) {
		r.err = fmt.Errorf("field %d is not UTF-8", r.num)
		return ""
	}
	return string(b)
}

// Message returns a reader of the field as a message one level deeper. Its error
// is not r's: check both.
func (r *Reader) Message() *Reader {
	b := r.Bytes()
	if r.depth == 0 && r.err == nil {
		r.err = errDepth
	}
	return &Reader{rest: b, depth: r.depth - 1, err: r.err}
}

func readVarint(b []byte) (uint64, int, error) {
	v, n := protowire.ConsumeVarint(b)
	switch {
	case n >= 0:
		return v, n, nil
	case len(b) >= 10:
		return 0, 0, errVarint
	}
	return 0, 0, errTruncated
}

func readKey(b []byte) (num uint32, typ protowire.Type, n int, err error) {
	key, n, err := readVarint(b)
	switch {
	case err != nil:
		return 0, 0, 0, err
	case key > math.MaxUint32:
		return 0, 0, 0, errKey
	case key>>3 == 0:
		return 0, 0, 0, errNumber
	}
	return uint32(key >> 3), protowire.Type(key & 7), n, nil
}

func readBytes(b []byte) ([]byte, int, error) {
	length, n, err := readVarint(b)
	switch {
	case err != nil:
		return nil, 0, err
	case length > uint64(len(b)-n):
		return nil, 0, errTruncated
	}
	return b[n : n+int(length)], n + int(length), nil
}

// skipValue returns the length of a value. depth is how many levels may still be
// entered where it stands.
func skipValue(num uint32, typ protowire.Type, b []byte, depth int) (n int, err error) {
	if depth <= 0 {
		return 0, errDepth
	}
	switch typ {
	case protowire.VarintType:
		_, n, err = readVarint(b)
	case protowire.BytesType:
		_, n, err = readBytes(b)
	case protowire.Fixed32Type:
		n = 4
	case protowire.Fixed64Type:
		n = 8
	case protowire.StartGroupType:
		n, err = skipGroup(num, b, depth)
	case protowire.EndGroupType:
		err = errGroup
	default:
		err = fmt.Errorf("field %d has the unknown wire type %d", num, typ)
	}
	if err == nil && n > len(b) {
		err = errTruncated
	}
	return n, err
}

// skipGroup returns the length of a group whose start key was read, up to and
// with the matching end key.
func skipGroup(num uint32, b []byte, depth int) (int, error) {
	at := 0
	for {
		inner, typ, n, err := readKey(b[at:])
		if err != nil {
			return 0, err
		}
		at += n
		if typ == protowire.EndGroupType {
			if inner != num {
				return 0, errGroup
			}
			return at, nil
		}
		if n, err = skipValue(inner, typ, b[at:], depth-1); err != nil {
			return 0, err
		}
		at += n
	}
}
