package vlog

import (
	"bytes"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// FuzzParseBundle: what parses prints as bytes that parse to the same, and
// evaluating it ends without a panic whatever it says.
func FuzzParseBundle(f *testing.F) {
	l := textLog(21)
	for _, s := range []struct {
		length               uint64
		consistent, included []uint64
	}{{1, nil, []uint64{0}}, {21, nil, []uint64{20, 3, 3}}, {21, []uint64{1, 20}, nil}, {16, []uint64{7}, []uint64{9}}} {
		b, err := BuildBundle(l, s.length, s.consistent, s.included)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b.Encode())
	}
	f.Add(Bundle{Length: 1<<32 - 1, Consistent: []uint64{0, 1<<32 - 1}, Included: []Node{1<<32 - 1}}.Encode())
	f.Add([]byte("\x10\x05\x10\x07\x18\x08\x28\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBundle(data)
		if err != nil {
			return
		}
		printed := b.Encode()
		again, err := ParseBundle(printed)
		if err != nil {
			t.Fatalf("%x printed as %x, which does not parse: %v", data, printed, err)
		}
		if !bytes.Equal(again.Encode(), printed) {
			t.Fatalf("%x printed as %x, then as %x", data, printed, again.Encode())
		}
		for i := range min(len(b.Included), 8) {
			_, _ = b.Inclusion(i, warg.Digest{})
		}
		for i := range min(len(b.Consistent), 8) {
			_, _, _ = b.Consistency(i)
		}
	})
}
