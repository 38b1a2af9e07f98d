package logstate

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/pb"
)

// Shape is the shape of an entry's message. All entries of both logs have one of
// three.
type Shape uint8

// The shapes. The numbers are those of the fields.
const (
	ShapeText        Shape = iota + 1 // 1 a string
	ShapePair                         // 1 a string, 2 a string
	ShapePermissions                  // 1 a string, 2 permissions
)

// Variant is an entry as it stands on the wire: which one of the oneof it is, and
// its fields, none of which was judged yet.
type Variant struct {
	Num         int32
	First       string
	Second      string
	Permissions []uint32
}

// DecodeEntry reads an entry; shapes[i] is the shape of the variant numbered i+1.
// If there is more than one variant the last counts, and a variant that follows
// itself is merged with what was read before.
func DecodeEntry(r *pb.Reader, shapes []Shape) (Variant, error) {
	var v Variant
	for r.Next() {
		num := r.Number()
		if num > uint32(len(shapes)) {
			continue
		}
		if v.Num != int32(num) {
			v = Variant{Num: int32(num)}
		}
		if err := v.merge(r.Message(), shapes[num-1]); err != nil {
			return Variant{}, err
		}
	}
	if v.Num == 0 && r.Err() == nil {
		return Variant{}, errors.New("entry is of no known kind")
	}
	return v, r.Err()
}

func (v *Variant) merge(r *pb.Reader, shape Shape) error {
	for r.Next() {
		switch num := r.Number(); {
		case num == 1:
			v.First = r.Text()
		case num == 2 && shape == ShapePair:
			v.Second = r.Text()
		case num == 2 && shape == ShapePermissions:
			v.Permissions = r.Varints(v.Permissions)
		}
	}
	return r.Err()
}

// Append appends the entry, in canonical form, as a field of a record.
func (v Variant) Append(b []byte) []byte {
	m := pb.AppendText(nil, 1, v.First)
	m = pb.AppendText(m, 2, v.Second)
	m = pb.AppendPacked(m, 2, v.Permissions)
	return pb.AppendMessage(b, recordEntries, pb.AppendMessage(nil, v.Num, m))
}

// Init returns the key of an init entry, given its two fields by meaning.
func Init(algorithm, key string) (warg.PublicKey, error) {
	if algorithm != HashAlgorithm {
		return warg.PublicKey{}, fmt.Errorf("reading init entry: unknown hash algorithm `%s`", algorithm)
	}
	k, err := warg.ParsePublicKey(key)
	if err != nil {
		return warg.PublicKey{}, fmt.Errorf("reading key of init entry: %w", err)
	}
	return k, nil
}

// Permissions converts permissions from the wire; 1 to last are known.
func Permissions[P ~uint8](wire []uint32, last P) ([]P, error) {
	list := make([]P, 0, len(wire))
	for _, w := range wire {
		if w == 0 || w > uint32(last) {
			return nil, fmt.Errorf("unknown permission %d", w)
		}
		list = append(list, P(w))
	}
	return list, nil
}

// WirePermissions converts permissions to the wire.
func WirePermissions[P ~uint8](list []P) []uint32 {
	wire := make([]uint32, 0, len(list))
	for _, p := range list {
		wire = append(wire, uint32(p))
	}
	return wire
}
