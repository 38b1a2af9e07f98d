package tree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// openDB opens a database in memory, or in dir if that is given.
func openDB(t testing.TB, dir string) *badger.DB {
	t.Helper()
	opt := badger.DefaultOptions(dir).WithInMemory(dir == "").WithLogger(nil).
		WithMemTableSize(16 << 20).WithNumMemtables(2).WithBlockCacheSize(8 << 20).
		WithDetectConflicts(false).WithMetricsEnabled(false)
	db, err := badger.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func mustOpen(t testing.TB, db *badger.DB) *Tree {
	t.Helper()
	tree, err := Open(kv.Badger(db), []byte("r/"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// store commits an update as a caller does: many puts, then the head.
func store(t testing.TB, db kv.Store, u *Update) {
	t.Helper()
	for _, write := range []func(func(key, value []byte) error) error{u.Write, u.WriteHead} {
		if err := kv.Write(db, write); err != nil {
			t.Fatal(err)
		}
	}
}

// grow adds leaves and publishes.
func grow(t testing.TB, tree *Tree, leaves []warg.Leaf) {
	t.Helper()
	u, err := tree.Prepare(leaves)
	if err != nil {
		t.Fatal(err)
	}
	store(t, tree.db, u)
	if err := u.Publish(); err != nil {
		t.Fatal(err)
	}
}

// newLeaf makes the n-th leaf of a registry that has as many logs as given.
func newLeaf(n, logs int) warg.Leaf {
	return warg.Leaf{
		LogID:    warg.LogID(warg.Sum(fmt.Appendf(nil, "log %d", (n*7919)%logs))),
		RecordID: warg.RecordID(warg.Sum(fmt.Appendf(nil, "record %d", n))),
	}
}

func newLeaves(from, to, logs int) []warg.Leaf {
	leaves := make([]warg.Leaf, 0, to-from)
	for n := from; n < to; n++ {
		leaves = append(leaves, newLeaf(n, logs))
	}
	return leaves
}

// model is the registry that a tree has to agree with, in memory.
type model struct {
	leaves []warg.Leaf
	log    vlog.Log
	heads  map[uint64]vmap.Map
}

func (m *model) grow(leaves []warg.Leaf) {
	at := m.heads[m.log.Len()]
	var batch []vmap.Entry
	for _, l := range leaves {
		m.leaves = append(m.leaves, l)
		m.log.Append(vlog.LeafHash(l.LogValue()))
		batch = append(batch, vmap.Entry{Key: l.MapKey(), Value: l.MapValue()})
	}
	m.heads[m.log.Len()] = at.Update(batch)
}

// latest returns which leaves are the latest of their logs at a length.
func (m *model) latest(length uint64) []uint64 {
	last := make(map[warg.LogID]uint64)
	for i, l := range m.leaves[:length] {
		last[l.LogID] = uint64(i)
	}
	var indexes []uint64
	for _, i := range last {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	return indexes
}

// same checks everything a tree says about one past head.
func (m *model) same(t *testing.T, tree *Tree, length uint64) {
	t.Helper()
	root, err := vlog.Root(&m.log, length)
	if err != nil {
		t.Fatal(err)
	}
	want := Head{length, root, m.heads[length].Root()}
	if got, err := tree.HeadAt(length); err != nil || got != want {
		t.Fatalf("head of length %d is %v, %v, want %v", length, got, err, want)
	}
	indexes := m.latest(length)
	proof, err := tree.ProveInclusion(length, indexes)
	if err != nil {
		t.Fatalf("inclusion at length %d: %v", length, err)
	}
	m.verify(t, want, indexes, proof)
}

func (m *model) verify(t *testing.T, head Head, indexes []uint64, proof warg.InclusionProof) {
	t.Helper()
	var inLog []vlog.Leaf
	var inMap []vmap.Entry
	for _, i := range indexes {
		l := m.leaves[i]
		inLog = append(inLog, vlog.Leaf{Index: i, Value: l.LogValue()})
		inMap = append(inMap, vmap.Entry{Key: l.MapKey(), Value: l.MapValue()})
	}
	if err := vlog.VerifyInclusion(proof.Log, head.LogRoot, head.Length, inLog); err != nil {
		t.Fatalf("length %d: %v", head.Length, err)
	}
	if err := vmap.VerifyInclusion(proof.Map, head.MapRoot, inMap); err != nil {
		t.Fatalf("length %d: %v", head.Length, err)
	}
}

// TestGrowth grows a tree by batches of all sizes, opening it again now and then,
// and compares it with a model at every head it ever had.
func TestGrowth(t *testing.T) {
	sizes := []int{1, 1, 1, 2, 3, 5, 240, 1, 2, 1, 255, 256, 257, 1, 700, 3, 1000}
	for _, logs := range []int{1, 40, 100_000} {
		t.Run(fmt.Sprintf("%d logs", logs), func(t *testing.T) {
			db := openDB(t, "")
			tree := mustOpen(t, db)
			m := &model{heads: map[uint64]vmap.Map{0: {}}}
			for i, size := range sizes {
				leaves := newLeaves(len(m.leaves), len(m.leaves)+size, logs)
				from := m.log.Len()
				m.grow(leaves)
				u, err := tree.Prepare(leaves)
				if err != nil {
					t.Fatal(err)
				}
				m.unpublished(t, u, from)
				store(t, tree.db, u)
				if err := u.Publish(); err != nil {
					t.Fatal(err)
				}
				if i%3 == 0 {
					tree = mustOpen(t, db)
				}
				m.same(t, tree, m.log.Len())
			}
			for length := range m.heads {
				if length > 0 {
					m.same(t, tree, length)
				}
			}
			m.samePairs(t, tree)
			m.sameLedger(t, tree)
		})
	}
}

// unpublished checks what an update proves of itself.
func (m *model) unpublished(t *testing.T, u *Update, from uint64) {
	t.Helper()
	head := u.Head()
	indexes := m.latest(head.Length)
	proof, err := u.ProveInclusion(indexes)
	if err != nil {
		t.Fatal(err)
	}
	m.verify(t, head, indexes, proof)
	var all []uint64
	var leaves []vlog.Leaf
	for i := from; i < head.Length; i++ {
		all = append(all, i)
		leaves = append(leaves, vlog.Leaf{Index: i, Value: m.leaves[i].LogValue()})
	}
	bundle, err := u.ProveLeaves(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := vlog.VerifyInclusion(bundle, head.LogRoot, head.Length, leaves); err != nil {
		t.Fatal(err)
	}
	if from == 0 {
		return
	}
	bundle, err = u.ProveConsistency(from)
	if err != nil {
		t.Fatal(err)
	}
	m.consistent(t, bundle, from, head.Length)
}

func (m *model) consistent(t *testing.T, bundle []byte, from, to uint64) {
	t.Helper()
	point := func(length uint64) vlog.Point {
		root, err := vlog.Root(&m.log, length)
		if err != nil {
			t.Fatal(err)
		}
		return vlog.Point{Length: length, Root: root}
	}
	if err := vlog.VerifyConsistency(bundle, point(from), point(to)); err != nil {
		t.Fatalf("%d to %d: %v", from, to, err)
	}
}

// samePairs proves consistency between lengths that were heads and that were not.
func (m *model) samePairs(t *testing.T, tree *Tree) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		to := rng.Uint64N(m.log.Len()) + 1
		from := rng.Uint64N(to) + 1
		bundle, err := tree.ProveConsistency(from, to)
		if err != nil {
			t.Fatalf("%d to %d: %v", from, to, err)
		}
		m.consistent(t, bundle, from, to)
	}
}

func (m *model) sameLedger(t *testing.T, tree *Tree) {
	t.Helper()
	var all []byte
	for i, l := range m.leaves {
		if got, err := tree.Leaf(uint64(i)); err != nil || got != l {
			t.Fatalf("leaf %d is %v, %v", i, got, err)
		}
		all = appendLeaf(all, l)
	}
	for _, c := range []struct{ start, max int }{{0, 1000}, {0, 1}, {255, 2}, {256, 256}, {1000, 1000}, {2000, 5000}, {len(m.leaves) - 1, 9}, {len(m.leaves), 1}, {3, 0}} {
		got, err := tree.Leaves(uint64(c.start), c.max)
		if err != nil {
			t.Fatal(err)
		}
		from := min(len(m.leaves), c.start)
		want := all[from*64 : min(len(m.leaves), from+c.max)*64]
		if !slices.Equal(got, want) {
			t.Errorf("leaves from %d, %d of them: %d bytes, want %d", c.start, c.max, len(got), len(want))
		}
	}
}

func TestErrors(t *testing.T) {
	tree := mustOpen(t, openDB(t, ""))
	grow(t, tree, newLeaves(0, 3, 100))
	grow(t, tree, append(newLeaves(3, 6, 100), warg.Leaf{LogID: newLeaf(1, 100).LogID}))
	cases := []struct {
		name    string
		length  uint64
		indexes []uint64
		want    warg.Error
	}{
		{"beyond the log", 7, []uint64{0, 7}, warg.Error{Kind: warg.KindLeafNotFound, Number: 7}},
		{"beyond the log and the length", 5, []uint64{9}, warg.Error{Kind: warg.KindLeafNotFound, Number: 9}},
		{"newer than the length", 3, []uint64{3}, warg.Error{Kind: warg.KindProofFailure}},
		{"newer than a length that was no head", 2, []uint64{3}, warg.Error{Kind: warg.KindProofFailure}},
		{"nothing", 7, nil, warg.Error{Kind: warg.KindProofFailure}},
		{"no head of that length", 5, []uint64{1}, warg.Error{Kind: warg.KindLengthNotFound, Number: 5}},
		{"length beyond the log", 8, []uint64{1}, warg.Error{Kind: warg.KindLengthNotFound, Number: 8}},
		{"not the latest of its log", 7, []uint64{0, 1}, warg.Error{Kind: warg.KindProofIncorrect}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := tree.ProveInclusion(c.length, c.indexes)
			if !errors.Is(err, &c.want) {
				t.Errorf("got %v, want %v", err, &c.want)
			}
		})
	}
	if _, err := tree.ProveInclusion(3, []uint64{1}); err != nil {
		t.Errorf("the leaf was the latest at length 3: %v", err)
	}
	for _, c := range []struct {
		from, to uint64
		want     warg.Error
	}{
		{0, 5, warg.Error{Kind: warg.KindProofFailure}},
		{6, 5, warg.Error{Kind: warg.KindProofFailure}},
		{9, 8, warg.Error{Kind: warg.KindProofFailure}},
		{5, 8, warg.Error{Kind: warg.KindLengthNotFound, Number: 8}},
	} {
		if _, err := tree.ProveConsistency(c.from, c.to); !errors.Is(err, &c.want) {
			t.Errorf("%d to %d: got %v, want %v", c.from, c.to, err, &c.want)
		}
	}
	if _, err := tree.Leaf(7); !errors.Is(err, &warg.Error{Kind: warg.KindLeafNotFound, Number: 7}) {
		t.Errorf("leaf 7: %v", err)
	}
	if _, err := tree.Prepare(nil); !errors.Is(err, ErrNoLeaves) {
		t.Errorf("preparing nothing: %v", err)
	}
	for length, want := range []bool{false, false, false, true, false, false, false, true, false} {
		if got, err := tree.HasLength(uint64(length)); got != want || err != nil {
			t.Errorf("a head of length %d: %v, %v", length, got, err)
		}
	}
}
