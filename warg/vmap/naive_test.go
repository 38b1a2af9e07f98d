package vmap

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entrepot/entrepot/warg"
)

// naiveRoot is the hash of the subtree below depth that has these leaves, by its
// definition.
func naiveRoot(leaves map[Path]warg.Digest, depth int) warg.Digest {
	if len(leaves) == 0 {
		return Empty(Depth - depth)
	}
	if depth == Depth {
		for _, leaf := range leaves {
			return leaf
		}
	}
	left, right := halves(leaves, depth)
	l, r := naiveRoot(left, depth+1), naiveRoot(right, depth+1)
	return warg.Sum([]byte{1}, l[:], r[:])
}

func halves(leaves map[Path]warg.Digest, depth int) (left, right map[Path]warg.Digest) {
	left, right = make(map[Path]warg.Digest), make(map[Path]warg.Digest)
	for p, leaf := range leaves {
		if p.Right(depth) {
			right[p] = leaf
		} else {
			left[p] = leaf
		}
	}
	return left, right
}

// naiveProof is what producers emit for a path, from the root's side.
func naiveProof(leaves map[Path]warg.Digest, path Path) (siblings []warg.Digest) {
	for depth := 0; depth == 0 || len(leaves) > 1; depth++ {
		left, right := halves(leaves, depth)
		if path.Right(depth) {
			siblings, leaves = append(siblings, naiveRoot(left, depth+1)), right
		} else {
			siblings, leaves = append(siblings, naiveRoot(right, depth+1)), left
		}
	}
	return siblings
}

// drawPath draws paths that share long prefixes, far longer than hashes would.
func drawPath(t *rapid.T) Path {
	var p Path
	for i := range p {
		p[i] = 0xa5
	}
	at := rapid.SampledFrom([]int{0, 1, 2, 7, 8, 15, 16, 100, 200, 238, 239, 240, 241, 247, 253, 254, 255}).Draw(t, "bit")
	p[at/8] ^= 1 << (7 - at%8)
	if at := rapid.SampledFrom([]int{0, 3, 9, 150, 231, 250, 255}).Draw(t, "second bit"); rapid.Bool().Draw(t, "two") {
		p[at/8] ^= 1 << (7 - at%8)
	}
	return p
}

// memory is a store that keeps the nodes it was given, as a stored map would.
type memory map[Ref]Node

func (m memory) Load(ref Ref, into *Node) error {
	n, ok := m[ref]
	if !ok {
		return fmt.Errorf("no node %d", ref)
	}
	*into = n
	return nil
}

// TestAnyUpdates applies batches to a map in memory and to a stored one, and
// compares both with the definition after each.
func TestAnyUpdates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := make(map[Path]warg.Digest)
		stored := memory{}
		inMemory, onDisk := Lazy{}, NewLazy(stored, Link{})
		keep := rapid.IntRange(-1, 12).Draw(t, "depth kept in memory")
		count := 0
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			var batch []item
			for i := range rapid.IntRange(1, 40).Draw(t, "size") {
				count++
				it := item{path: drawPath(t), leaf: LeafHash(fmt.Append(nil, count)), seq: i}
				batch = append(batch, it)
				want[it.path] = it.leaf
			}
			sorted := sortItems(batch)
			var err error
			if inMemory, err = inMemory.put(sorted); err != nil {
				t.Fatal(err)
			}
			if onDisk, err = onDisk.put(sorted); err != nil {
				t.Fatal(err)
			}
			root := naiveRoot(want, 0)
			if got := inMemory.Root().Hash; got != root {
				t.Fatalf("root %s, want %s", got, root)
			}
			if got := onDisk.Root().Hash; got != root {
				t.Fatalf("root of the stored map %s, want %s", got, root)
			}
			saveFresh(stored, onDisk, keep)
			if rapid.Bool().Draw(t, "reopen") {
				onDisk = NewLazy(stored, onDisk.Root())
			}
			sameProofs(t, want, inMemory, onDisk)
		}
	})
}

// saveFresh puts the fresh nodes of a version into the store and forgets those
// below the depth keep.
func saveFresh(m memory, v Lazy, keep int) {
	base := Ref(len(m) + 1)
	f := v.Fresh(8, func(number int, _ bool) Ref { return base + Ref(number) })
	for i := range f.Len() {
		m[base+Ref(i)] = f.Node(i)
	}
	f.Release(keep)
}

func sameProofs(t *rapid.T, want map[Path]warg.Digest, versions ...Lazy) {
	paths := slices.SortedFunc(maps.Keys(want), func(a, b Path) int { return bytes.Compare(a[:], b[:]) })
	for i, path := range paths {
		if i%7 != 0 && len(paths) > 20 {
			continue
		}
		siblings := naiveProof(want, path)
		slices.Reverse(siblings)
		for _, v := range versions {
			proof, leaf, err := v.Prove(path)
			if err != nil || leaf != want[path] || len(proof) != len(siblings) {
				t.Fatalf("proof of %d siblings for leaf %s, %v; want %d", len(proof), leaf, err, len(siblings))
			}
			for j, s := range proof {
				if !s.Present || s.Hash != siblings[j] {
					t.Fatalf("sibling %d is %s, want %s", j, s.Hash, siblings[j])
				}
			}
			if got := proof.fold(&path, foldEmpty(&path, leaf, Depth-len(proof))); got != v.Root().Hash {
				t.Fatalf("proof leads to %s", got)
			}
		}
	}
}

// foldEmpty takes a leaf up to a height one level after another.
func foldEmpty(path *Path, acc warg.Digest, height int) warg.Digest {
	for h := range height {
		if path.Right(Depth - 1 - h) {
			acc = BranchHash(Empty(h), acc)
		} else {
			acc = BranchHash(acc, Empty(h))
		}
	}
	return acc
}

// TestVersions: an update does not change the version it began from.
func TestVersions(t *testing.T) {
	const count = 40
	versions := []Map{{}}
	for i := range count {
		versions = append(versions, versions[i].Update(numbered(i, i+1)))
	}
	for i := range count {
		// The same key gets another value in a branch of history that is dropped.
		e := numbered(i, i+1)[0]
		versions[count].Update([]Entry{{e.Key, []byte("dropped")}})
	}
	for n := 1; n <= count; n++ {
		entries := numbered(0, n)
		var keys [][]byte
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
		b, err := versions[n].ProveAll(keys)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyInclusion(b.Encode(), (Map{}).Update(entries).Root(), entries); err != nil {
			t.Errorf("version %d: %v", n, err)
		}
		if _, ok := versions[n].Prove(numbered(n, n+1)[0].Key); ok {
			t.Errorf("version %d has the entry of the next", n)
		}
	}
}

// TestLastCounts: of several entries for one key in a batch the last counts.
func TestLastCounts(t *testing.T) {
	for _, size := range []int{2, 100, 5000} {
		var batch []Entry
		for i := range size {
			batch = append(batch, Entry{fmt.Append(nil, i%3), fmt.Append(nil, i)})
		}
		var m Map
		for _, e := range batch {
			if size <= 100 {
				m = m.Update([]Entry{e})
			}
		}
		if size > 100 {
			m = m.Update(batch[size-3:])
		}
		if got := (Map{}).Update(batch).Root(); got != m.Root() {
			t.Errorf("batch of %d: root %s, want %s", size, got, m.Root())
		}
	}
}
