package vlog

import (
	"errors"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func TestVerifyMismatch(t *testing.T) {
	l := textLog(13)
	root := l.Root()
	leaf := func(i uint64) Leaf { return Leaf{i, leafText(i)} }
	build := func(length uint64, consistent, included []uint64) []byte {
		b, err := BuildBundle(l, length, consistent, included)
		if err != nil {
			t.Fatal(err)
		}
		return b.Encode()
	}
	odd := Bundle{Length: 2, Included: []Node{1}}
	cases := []struct {
		name   string
		bundle []byte
		length uint64
		leaves []Leaf
		want   Error
	}{
		{"no bundle for one leaf", nil, 13, []Leaf{leaf(3)}, ErrMismatch},
		{"nothing asked", build(13, nil, []uint64{3}), 13, nil, ErrNoProofs},
		{"nothing asked, nothing given", nil, 0, nil, ErrNoProofs},
		{"one proof for two leaves", build(13, nil, []uint64{3}), 13, []Leaf{leaf(3), leaf(4)}, ErrMismatch},
		{"two proofs for one leaf", build(13, nil, []uint64{3, 4}), 13, []Leaf{leaf(3)}, ErrMismatch},
		{"proofs in another order", build(13, nil, []uint64{4, 3}), 13, []Leaf{leaf(3), leaf(4)}, ErrMismatch},
		{"one leaf twice", build(13, nil, []uint64{3, 3}), 13, []Leaf{leaf(3), leaf(4)}, ErrMismatch},
		{"another length", build(12, nil, []uint64{3}), 13, []Leaf{leaf(3)}, ErrMismatch},
		{"a consistency proof as well", build(13, []uint64{5}, []uint64{3}), 13, []Leaf{leaf(3)}, ErrMismatch},
		{"a branch instead of a leaf", odd.Encode(), 2, []Leaf{leaf(0)}, ErrMismatch},
		{"not a bundle", []byte{0xff}, 13, []Leaf{leaf(3)}, ErrMalformed},
		{"index beyond the log", Bundle{Length: 13, Included: []Node{26}}.Encode(), 13, []Leaf{leaf(13)}, ErrLeafTooNew},
		{"no hashes", Bundle{Length: 13, Included: []Node{6}}.Encode(), 13, []Leaf{leaf(3)}, ErrHashNotKnown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := VerifyInclusion(c.bundle, root, c.length, c.leaves); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestVerifyConsistencyMismatch(t *testing.T) {
	l := textLog(13)
	build := func(length uint64, consistent, included []uint64) []byte {
		b, err := BuildBundle(l, length, consistent, included)
		if err != nil {
			t.Fatal(err)
		}
		return b.Encode()
	}
	five, thirteen := pointOf(t, l, 5), pointOf(t, l, 13)
	cases := []struct {
		name     string
		bundle   []byte
		from, to Point
		want     Error
	}{
		{"nothing", nil, five, thirteen, ErrMismatch},
		{"nothing about nothing", nil, Point{}, Point{}, ErrMismatch},
		{"two proofs", build(13, []uint64{5, 7}, nil), five, thirteen, ErrMismatch},
		{"another start", build(13, []uint64{4}, nil), five, thirteen, ErrMismatch},
		{"another end", build(12, []uint64{5}, nil), five, thirteen, ErrMismatch},
		{"an inclusion as well", build(13, []uint64{5}, []uint64{1}), five, thirteen, ErrMismatch},
		{"from nothing", Bundle{Length: 13, Consistent: []uint64{0}}.Encode(), Point{0, EmptyRoot()}, thirteen, ErrNoProofs},
		{"backwards", Bundle{Length: 5, Consistent: []uint64{13}}.Encode(), thirteen, five, ErrPointsOutOfOrder},
		{"no hashes", Bundle{Length: 13, Consistent: []uint64{5}}.Encode(), five, thirteen, ErrHashNotKnown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := VerifyConsistency(c.bundle, c.from, c.to); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestEveryFlippedBit flips each bit of bundles: none of what results may verify.
func TestEveryFlippedBit(t *testing.T) {
	l := textLog(21)
	to := pointOf(t, l, 21)
	for _, indexes := range [][]uint64{{0}, {20}, {16, 3}, {7, 8, 7}, {0, 1, 2, 3, 4, 5}} {
		b, err := BuildBundle(l, 21, nil, indexes)
		if err != nil {
			t.Fatal(err)
		}
		var leaves []Leaf
		for _, i := range indexes {
			leaves = append(leaves, Leaf{i, leafText(i)})
		}
		flipEach(t, b.Encode(), func(bundle []byte) error { return VerifyInclusion(bundle, to.Root, 21, leaves) })
	}
	for m := uint64(1); m <= 21; m++ {
		b, err := BuildBundle(l, 21, []uint64{m}, nil)
		if err != nil {
			t.Fatal(err)
		}
		from := pointOf(t, l, m)
		flipEach(t, b.Encode(), func(bundle []byte) error { return VerifyConsistency(bundle, from, to) })
	}
}

func flipEach(t *testing.T, bundle []byte, verify func([]byte) error) {
	t.Helper()
	if err := verify(bundle); err != nil {
		t.Fatalf("before anything was flipped: %v", err)
	}
	for bit := range 8 * len(bundle) {
		bundle[bit/8] ^= 1 << (bit % 8)
		if verify(bundle) == nil {
			t.Errorf("bit %d flipped and not noticed in %x", bit, bundle)
		}
		bundle[bit/8] ^= 1 << (bit % 8)
	}
}

// TestParse: what is refused and what is tolerated beyond what producers emit.
func TestParse(t *testing.T) {
	hash := string(make([]byte, warg.DigestSize))
	entry := func(node string) string { return "\x22\x24\x08" + node + "\x12\x20" + hash }
	cases := []struct {
		name, bundle string
		ok           bool
	}{
		{"empty", "", true},
		{"ascending", entry("\x01") + entry("\x02"), true},
		{"descending", entry("\x02") + entry("\x01"), false},
		{"one node twice", entry("\x01") + entry("\x01"), false},
		{"no hash", "\x22\x02\x08\x01", false},
		{"empty hash", "\x22\x04\x08\x01\x12\x00", false},
		{"31 bytes", "\x22\x23\x08\x01\x12\x1f" + hash[1:], false},
		{"33 bytes", "\x22\x25\x08\x01\x12\x21" + hash + "x", false},
		{"hash as a number", "\x22\x04\x08\x01\x10\x00", false},
		{"length as bytes", "\x0a\x00", false},
		{"pool entry as a number", "\x20\x01", false},
		{"unknown field", "\x28\x01", true},
		{"unknown group", "\x2b\x08\x01\x2c", true},
		{"group that does not end", "\x2b\x08\x01", false},
		{"field number 0", "\x00\x01", false},
		{"wire type 7", "\x0f", false},
		{"truncated", "\x22\x24\x08", false},
		{"unpacked lists", "\x10\x05\x10\x07\x18\x08", true},
		{"numbers of more than 32 bits", "\x08\x8d\x80\x80\x80\x10", true},
		{"varint of more than 64 bits", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, err := ParseBundle([]byte(c.bundle))
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
	if b, err := ParseBundle([]byte("\x08\x8d\x80\x80\x80\x10")); err != nil || b.Length != 13 {
		t.Errorf("2³² + 13 is cut to %d, %v", b.Length, err)
	}
}
