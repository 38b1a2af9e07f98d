package vlog

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entrepot/entrepot/warg"
)

// naiveRoot is the root by its definition.
func naiveRoot(leaves [][]byte) warg.Digest {
	switch len(leaves) {
	case 0:
		return warg.Sum(nil)
	case 1:
		return warg.Sum([]byte{0}, leaves[0])
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, right := naiveRoot(leaves[:k]), naiveRoot(leaves[k:])
	return warg.Sum([]byte{1}, left[:], right[:])
}

// naiveNode is the hash of a node by its definition.
func naiveNode(leaves [][]byte, x Node) warg.Digest {
	return naiveRoot(leaves[x.FirstLeaf() : x.LastLeaf()+1])
}

// naiveNeeds lists the nodes that the proof of x at length n consists of, as the
// format describes it.
func naiveNeeds(x Node, length uint64) (nodes []Node) {
	roots := Roots(length)
	for !slices.Contains(roots, x) {
		nodes = append(nodes, x.Sibling())
		x = x.Parent()
	}
	return append(nodes, slices.DeleteFunc(roots, func(r Node) bool { return r == x })...)
}

const exhaustive = 64

func leafTexts(n int) [][]byte {
	leaves := make([][]byte, n)
	for i := range leaves {
		leaves[i] = leafText(uint64(i))
	}
	return leaves
}

// TestAllInclusions proves every leaf at every length up to 64.
func TestAllInclusions(t *testing.T) {
	leaves, l := leafTexts(exhaustive), textLog(exhaustive)
	for n := uint64(1); n <= exhaustive; n++ {
		root := naiveRoot(leaves[:n])
		for i := range n {
			b, err := BuildBundle(l, n, nil, []uint64{i})
			if err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			samePool(t, b, leaves, naiveNeeds(LeafNode(i), n))
			if err := VerifyInclusion(b.Encode(), root, n, []Leaf{{i, leaves[i]}}); err != nil {
				t.Errorf("leaf %d of %d: %v", i, n, err)
			}
			if err := VerifyInclusion(b.Encode(), root, n, []Leaf{{i, []byte("another")}}); !errors.Is(err, ErrWrongRoot) {
				t.Errorf("another value for leaf %d of %d: %v", i, n, err)
			}
		}
	}
}

// TestAllConsistencies proves every pair of lengths up to 64.
func TestAllConsistencies(t *testing.T) {
	leaves, l := leafTexts(exhaustive), textLog(exhaustive)
	for n := uint64(1); n <= exhaustive; n++ {
		to := Point{n, naiveRoot(leaves[:n])}
		for m := uint64(1); m <= n; m++ {
			b, err := BuildBundle(l, n, []uint64{m}, nil)
			if err != nil {
				t.Fatalf("%d to %d: %v", m, n, err)
			}
			var needs []Node
			for _, x := range Roots(m) {
				needs = append(append(needs, x), naiveNeeds(x, n)...)
			}
			samePool(t, b, leaves, needs)
			from := Point{m, naiveRoot(leaves[:m])}
			if err := VerifyConsistency(b.Encode(), from, to); err != nil {
				t.Errorf("%d to %d: %v", m, n, err)
			}
			for _, wrong := range [][2]Point{
				{{m, warg.Digest{}}, to},
				{from, {n, warg.Digest{}}},
			} {
				if err := VerifyConsistency(b.Encode(), wrong[0], wrong[1]); !errors.Is(err, ErrWrongRoot) {
					t.Errorf("%d to %d with a wrong root: %v", m, n, err)
				}
			}
		}
	}
}

// samePool checks that a bundle's pool is what it needs, no more and no less.
func samePool(t *testing.T, b Bundle, leaves [][]byte, needs []Node) {
	t.Helper()
	slices.Sort(needs)
	needs = slices.Compact(needs)
	if len(needs) != len(b.Pool) {
		t.Fatalf("pool of %d hashes, want nodes %v", len(b.Pool), needs)
	}
	for i, x := range needs {
		if b.Pool[i].Node != x || b.Pool[i].Hash != naiveNode(leaves, x) {
			t.Fatalf("pool has node %d with %s, want %d", b.Pool[i].Node, b.Pool[i].Hash, x)
		}
	}
}

// TestAnyBundle makes bundles of many proofs at once.
func TestAnyBundle(t *testing.T) {
	const size = 300
	leaves, l := leafTexts(size), textLog(size)
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Uint64Range(1, size).Draw(t, "length")
		included := rapid.SliceOfN(rapid.Uint64Range(0, length-1), 0, 12).Draw(t, "included")
		consistent := rapid.SliceOfN(rapid.Uint64Range(1, length), 0, 4).Draw(t, "consistent")
		b, err := BuildBundle(l, length, consistent, included)
		if len(included)+len(consistent) == 0 {
			if !errors.Is(err, ErrNoProofs) {
				t.Fatalf("no proofs: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ParseBundle(b.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(parsed.Encode(), b.Encode()) {
			t.Fatal("does not print back")
		}
		root := naiveRoot(leaves[:length])
		for i, index := range included {
			if got, err := parsed.Inclusion(i, LeafHash(leaves[index])); err != nil || got != root {
				t.Fatalf("leaf %d: %s, %v", index, got, err)
			}
		}
		for i, m := range consistent {
			shorter, longer, err := parsed.Consistency(i)
			if err != nil || shorter != naiveRoot(leaves[:m]) || longer != root {
				t.Fatalf("length %d: %s, %s, %v", m, shorter, longer, err)
			}
		}
	})
}

// TestEdge appends to an edge that was cut off and taken up again at every length.
func TestEdge(t *testing.T) {
	leaves := leafTexts(exhaustive)
	var e Edge
	for n := range exhaustive {
		if e.Len() != uint64(n) || e.Root() != naiveRoot(leaves[:n]) {
			t.Fatalf("edge of %d leaves has length %d and root %s", n, e.Len(), e.Root())
		}
		again, err := NewEdge(uint64(n), e.Hashes())
		if err != nil {
			t.Fatal(err)
		}
		before := e.Clone()
		again.Append(LeafHash(leaves[n]))
		if e.Root() != before.Root() {
			t.Fatal("appending to one edge changed another")
		}
		e = again
	}
	if _, err := NewEdge(3, e.Hashes()); err == nil {
		t.Error("length 3 with one balanced root")
	}
}

// TestShortReader: a log that is shorter than the proof needs is an error.
func TestShortReader(t *testing.T) {
	l := textLog(5)
	for _, n := range []uint64{6, 7, 8, 100, MaxLength} {
		if _, err := BuildBundle(l, n, nil, []uint64{0}); !errors.Is(err, ErrHashNotKnown) {
			t.Errorf("inclusion at length %d of a log of 5: %v", n, err)
		}
		if _, err := Root(l, n); !errors.Is(err, ErrHashNotKnown) {
			t.Errorf("root at length %d of a log of 5: %v", n, err)
		}
	}
	if _, err := BuildBundle(l, MaxLength+1, nil, []uint64{0}); !errors.Is(err, ErrTooLong) {
		t.Errorf("a log too long for a bundle: %v", err)
	}
}
