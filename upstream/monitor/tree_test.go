package monitor

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// naiveRoot is the log root by its definition.
func naiveRoot(leaves []leaf) hash {
	switch n := len(leaves); n {
	case 0:
		return warg.Sum()
	case 1:
		return logLeaf(leaves[0])
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1)
		return branch(naiveRoot(leaves[:k]), naiveRoot(leaves[k:]))
	}
}

// naiveMap is the map root by its definition: the root of the subtree of a height
// with these entries.
func naiveMap(empty *[mapDepth + 1]hash, entries map[hash]hash, height int) hash {
	if len(entries) == 0 {
		return empty[height]
	}
	if height == 0 {
		for _, record := range entries {
			return mapLeaf(record)
		}
	}
	left, right := map[hash]hash{}, map[hash]hash{}
	for path, record := range entries {
		if bit(path, mapDepth-height) == 0 {
			left[path] = record
		} else {
			right[path] = record
		}
	}
	return branch(naiveMap(empty, left, height-1), naiveMap(empty, right, height-1))
}

func numbered(i, logs int) leaf {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(i%logs))
	logID := warg.Sum([]byte("log"), n[:])
	binary.BigEndian.PutUint64(n[:], uint64(i))
	return leaf{logID, warg.Sum([]byte("record"), n[:])}
}

func packed(leaves []leaf) []byte {
	var b []byte
	for _, l := range leaves {
		b = append(append(b, l.logID[:]...), l.recordID[:]...)
	}
	return b
}

func TestTreesAreTheDefinition(t *testing.T) {
	const logs = 7
	trees, entries, leaves := newTrees(), map[hash]hash{}, []leaf{}
	for i := range 40 {
		l := numbered(i, logs)
		trees.add(l)
		leaves = append(leaves, l)
		entries[mapPath(l.logID)] = l.recordID
		if want := (roots{naiveRoot(leaves), naiveMap(trees.heads.empty, entries, mapDepth)}); trees.roots() != want {
			t.Fatalf("length %d: %v, want %v", i+1, trees.roots(), want)
		}
	}
}

// TestTreesAgreeWithTheProtocolPackages compares two implementations that know
// nothing of each other, at lengths where merging happens.
func TestTreesAgreeWithTheProtocolPackages(t *testing.T) {
	const logs = leastMerge + leastMerge/2
	trees := newTrees()
	var tree vlog.Log
	var m vmap.Map
	var batch []vmap.Entry
	for i := range 2*leastMerge + 5 {
		l := numbered(i*i, logs)
		trees.add(l)
		w := warg.Leaf{LogID: warg.LogID(l.logID), RecordID: warg.RecordID(l.recordID)}
		tree.Append(vlog.LeafHash(w.LogValue()))
		batch = append(batch, vmap.Entry{Key: w.MapKey(), Value: w.MapValue()})
		if n := len(batch); n%leastMerge == 0 || i < 10 {
			m, batch = m.Update(batch), batch[:0]
			if want := (roots{tree.Root(), m.Root()}); trees.roots() != want {
				t.Fatalf("length %d: %v, want %v", i+1, trees.roots(), want)
			}
		}
	}
	m = m.Update(batch)
	before := trees.clone()
	trees.add(numbered(1, logs))
	if want := (roots{tree.Root(), m.Root()}); before.roots() != want {
		t.Errorf("a clone changed: %v, want %v", before.roots(), want)
	}
}

func TestRebuild(t *testing.T) {
	var leaves []leaf
	for i := range 23 {
		leaves = append(leaves, numbered(i, 5))
	}
	built, err := rebuild(bytes.NewReader(packed(leaves)), 23, []uint64{23, 4, 4, 30, 1})
	if err != nil || len(built) != 3 {
		t.Fatalf("%v %v", built, err)
	}
	for n, got := range built {
		trees := newTrees()
		for _, l := range leaves[:n] {
			trees.add(l)
		}
		if got != trees.roots() {
			t.Errorf("length %d: %v", n, got)
		}
	}
	if _, err := rebuild(bytes.NewReader(packed(leaves)[:100]), 23, []uint64{23}); err == nil {
		t.Error("a ledger that is cut off was read")
	}
}

// TestConsistencyProofs builds all proofs between small lengths, compares them with
// those of the protocol package, and evaluates both.
func TestConsistencyProofs(t *testing.T) {
	const most = 34
	var leaves []leaf
	var tree vlog.Log
	for i := range most {
		l := numbered(i, 5)
		leaves = append(leaves, l)
		tree.Append(logLeaf(l))
	}
	ledger := bytes.NewReader(packed(leaves))
	for n := uint64(1); n <= most; n++ {
		for m := uint64(1); m <= n; m++ {
			bundle, err := buildConsistency(ledger, m, n)
			if err != nil {
				t.Fatal(err)
			}
			other, err := vlog.BuildBundle(&tree, n, []uint64{m}, nil)
			if err != nil || !bytes.Equal(other.Encode(), bundle) {
				t.Fatalf("%d to %d: %v, %x, want %x", m, n, err, bundle, other.Encode())
			}
			old, root, err := consistency(bundle, m, n)
			if err != nil || old != naiveRoot(leaves[:m]) || root != naiveRoot(leaves[:n]) {
				t.Fatalf("%d to %d: %v", m, n, err)
			}
		}
	}
}

// TestProofsBindTheOldRoot is about the attack that a careless evaluation allows: a
// bundle that has the true hash of a subtree, which leads to the signed root, and
// made-up hashes of its halves, which lead to any old root.
func TestProofsBindTheOldRoot(t *testing.T) {
	var leaves []leaf
	for i := range 8 {
		leaves = append(leaves, numbered(i, 5))
	}
	ledger := bytes.NewReader(packed(leaves))
	honest, err := buildConsistency(ledger, 6, 8)
	if err != nil {
		t.Fatal(err)
	}
	b, err := vlog.ParseBundle(honest)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := range b.Pool {
		forged := b
		forged.Pool = slices.Clone(b.Pool)
		forged.Pool[i].Hash[0] ^= 1
		old, root, err := consistency(forged.Encode(), 6, 8)
		if err == nil && root == naiveRoot(leaves) {
			accepted++
			t.Errorf("with another hash of node %d the proof still leads from %s to the root", b.Pool[i].Node, text(old))
		}
	}
	if len(b.Pool) < 4 || accepted > 0 {
		t.Errorf("%d of %d forged proofs accepted", accepted, len(b.Pool))
	}
}

func TestRefusedProofs(t *testing.T) {
	var leaves []leaf
	for i := range 9 {
		leaves = append(leaves, numbered(i, 5))
	}
	honest, err := buildConsistency(bytes.NewReader(packed(leaves)), 5, 9)
	if err != nil {
		t.Fatal(err)
	}
	parse := func() vlog.Bundle { return must(vlog.ParseBundle(honest))(t) }
	for _, c := range []struct {
		name string
		m, n uint64
		edit func(*vlog.Bundle)
	}{
		{"another length", 5, 8, nil},
		{"another shorter length", 4, 9, nil},
		{"from nothing", 0, 9, func(b *vlog.Bundle) { b.Consistent = []uint64{0} }},
		{"backwards", 10, 9, func(b *vlog.Bundle) { b.Consistent = []uint64{10} }},
		{"no proof", 5, 9, func(b *vlog.Bundle) { b.Consistent = nil }},
		{"two proofs", 5, 9, func(b *vlog.Bundle) { b.Consistent = []uint64{5, 5} }},
		{"an inclusion proof as well", 5, 9, func(b *vlog.Bundle) { b.Included = []vlog.Node{0} }},
		{"a hash is missing", 5, 9, func(b *vlog.Bundle) { b.Pool = b.Pool[1:] }},
		{"a node beyond the log", 5, 9, func(b *vlog.Bundle) { b.Pool = append(b.Pool, vlog.Entry{Node: 100}) }},
		{"a hash that follows from nothing", 5, 9, func(b *vlog.Bundle) { b.Pool = append([]vlog.Entry{{Node: 0}}, b.Pool...) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := parse()
			if c.edit != nil {
				c.edit(&b)
			}
			if _, _, err := consistency(b.Encode(), c.m, c.n); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, _, err := consistency([]byte("nonsense"), 5, 9); err == nil {
		t.Error("nonsense accepted")
	}
}

// TestInclusionProofs evaluates the protocol package's proofs, and none of a
// different leaf.
func TestInclusionProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 70).Draw(t, "length")
		i := rapid.IntRange(0, n-1).Draw(t, "index")
		var tree vlog.Log
		for k := range n {
			tree.Append(logLeaf(numbered(k, 5)))
		}
		b, err := vlog.BuildBundle(&tree, uint64(n), nil, []uint64{uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		root, err := inclusion(b.Encode(), uint64(i), uint64(n), numbered(i, 5))
		if err != nil || root != tree.Root() {
			t.Fatalf("%v %v", root, err)
		}
		if root, err := inclusion(b.Encode(), uint64(i), uint64(n), numbered(i+n, 5)); err == nil && root == tree.Root() {
			t.Fatal("another leaf is proven")
		}
		if n > 1 {
			if _, err := inclusion(b.Encode(), uint64((i+1)%n), uint64(n), numbered(i, 5)); err == nil {
				t.Fatal("the proof is of another index")
			}
		}
	})
}

func TestMapProofs(t *testing.T) {
	var m vmap.Map
	var entries []vmap.Entry
	for i := range 50 {
		l := numbered(i, 50)
		entries = append(entries, vmap.Entry{Key: l.logID[:], Value: warg.MapValue(warg.RecordID(l.recordID))})
	}
	m = m.Update(entries)
	for i := range 50 {
		l := numbered(i, 50)
		proof, ok := m.Prove(l.logID[:])
		if !ok {
			t.Fatalf("entry %d is not in the map", i)
		}
		siblings := make([]*hash, len(proof))
		for j := range proof {
			if proof[j].Present && proof[j].Hash != emptyTrees()[mapDepth-len(proof)+j] {
				siblings[j] = &proof[j].Hash // empty ones may be left out
			}
		}
		if root, ok := mapProofRoot(emptyTrees(), l, siblings); !ok || root != m.Root() {
			t.Errorf("entry %d: %s", i, text(root))
		}
		if root, _ := mapProofRoot(emptyTrees(), leaf{l.logID, l.logID}, siblings); root == m.Root() {
			t.Errorf("entry %d: another record is proven", i)
		}
	}
	if _, ok := mapProofRoot(emptyTrees(), leaf{}, make([]*hash, mapDepth+1)); ok {
		t.Error("a proof of 257 siblings was evaluated")
	}
}
