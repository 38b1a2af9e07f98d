package tree

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// values returns everything that is stored.
func values(t testing.TB, db *badger.DB) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			all[string(it.Item().KeyCopy(nil))] = value
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func set(t testing.TB, db *badger.DB, key string, value []byte) {
	t.Helper()
	err := db.Update(func(txn *badger.Txn) error {
		if value == nil {
			return txn.Delete([]byte(key))
		}
		return txn.Set([]byte(key), value)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// useAll does everything that reads the tree and returns the first error. What
// comes back without one must be right.
func (m *model) useAll(t *testing.T, db *badger.DB) error {
	tree, err := Open(kv.Badger(db), []byte("r/"), Options{})
	if err != nil {
		return err
	}
	for _, length := range slices.Sorted(maps.Keys(m.heads)) {
		if length == 0 {
			continue
		}
		head, err := tree.HeadAt(length)
		if err != nil {
			return err
		}
		indexes := m.latest(length)
		proof, err := tree.ProveInclusion(length, indexes)
		if err != nil {
			return err
		}
		m.verify(t, head, indexes, proof)
	}
	for i, want := range m.leaves {
		got, err := tree.Leaf(uint64(i))
		if err != nil {
			return err
		}
		if got != want {
			t.Errorf("leaf %d is %v", i, got)
		}
	}
	u, err := tree.Prepare(newLeaves(len(m.leaves), len(m.leaves)+300, 100))
	if err != nil {
		return err
	}
	next := model{leaves: m.leaves, log: m.log, heads: maps.Clone(m.heads)}
	next.grow(newLeaves(len(m.leaves), len(m.leaves)+300, 100))
	if u.Head().LogRoot != next.log.Root() || u.Head().MapRoot != next.heads[next.log.Len()].Root() {
		t.Error("a wrong root was computed")
	}
	return nil
}

// TestDamage damages each stored value in many ways. It must be noticed.
func TestDamage(t *testing.T) {
	db := openDB(t, "")
	tree := mustOpen(t, db)
	m := &model{heads: map[uint64]vmap.Map{0: {}}}
	for _, size := range []int{1, 3, 300, 7} {
		leaves := newLeaves(len(m.leaves), len(m.leaves)+size, 100)
		m.grow(leaves)
		grow(t, tree, leaves)
	}
	if err := m.useAll(t, db); err != nil {
		t.Fatal(err)
	}
	all := values(t, db)
	last := string(tree.checkpointKey(m.log.Len())) // has another copy until there is a next head
	for key, value := range all {
		damaged := map[string][]byte{
			"empty":     {},
			"cut":       value[:len(value)-1],
			"longer":    append(bytes.Clone(value), 0),
			"one byte":  {1},
			"other key": nil,
		}
		for other, v := range all {
			if other != key {
				damaged["other key"] = v
			}
		}
		for _, at := range []int{0, 1, 4, 5, len(value) / 2, len(value) - 9, len(value) - 8, len(value) - 1} {
			flipped := bytes.Clone(value)
			flipped[at] ^= 1 << (at % 8)
			damaged[fmt.Sprintf("flipped at %d", at)] = flipped
		}
		for name, v := range damaged {
			set(t, db, key, v)
			err := m.useAll(t, db)
			if key != last && !errors.Is(err, ErrIndexCorrupt) {
				t.Errorf("%q, %s: %v", key, name, err)
			}
		}
		set(t, db, key, nil)
		switch err := m.useAll(t, db); {
		case key == "r/h", key == last: // nothing is left to tell that there was a head
		case key[2] == kindCheckpoint && errors.Is(err, &warg.Error{Kind: warg.KindLengthNotFound}):
		case !errors.Is(err, ErrIndexCorrupt):
			t.Errorf("%q, missing: %v", key, err)
		}
		set(t, db, key, value)
	}
	if len(all) < 10 {
		t.Errorf("%d values", len(all))
	}
}

// TestSealedDamage changes what values say and seals them again: hashes must
// notice what checksums cannot.
func TestSealedDamage(t *testing.T) {
	db := openDB(t, "")
	tree := mustOpen(t, db)
	m := &model{heads: map[uint64]vmap.Map{0: {}}}
	for _, size := range []int{20, 300} {
		leaves := newLeaves(len(m.leaves), len(m.leaves)+size, 100)
		m.grow(leaves)
		grow(t, tree, leaves)
	}
	update := newLeaves(len(m.leaves), len(m.leaves)+200, 100)
	m.grow(update)
	want := Head{m.log.Len(), m.log.Root(), m.heads[m.log.Len()].Root()}
	noticed := 0
	for key, value := range values(t, db) {
		payload, err := Unseal([]byte(key), value)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(payload); at += 61 {
			changed := bytes.Clone(payload)
			changed[at] ^= 0x10
			set(t, db, key, Seal([]byte(key), changed))
			tree, err := Open(kv.Badger(db), []byte("r/"), Options{})
			var u *Update
			if err == nil {
				u, err = tree.Prepare(update)
			}
			switch {
			case errors.Is(err, ErrIndexCorrupt):
				noticed++
			case err != nil:
				t.Errorf("%q at %d: %v", key, at, err)
			case u.Head() != want:
				t.Errorf("%q at %d: head %v, want %v", key, at, u.Head(), want)
			}
		}
		set(t, db, key, value)
	}
	if noticed < 100 {
		t.Errorf("only %d changes were noticed", noticed)
	}
}

// TestCrash ends updates before their head was stored, at every value.
func TestCrash(t *testing.T) {
	db := openDB(t, "")
	tree := mustOpen(t, db)
	m := &model{heads: map[uint64]vmap.Map{0: {}}}
	leaves := newLeaves(0, 250, 100)
	m.grow(leaves)
	grow(t, tree, leaves)
	errStop := errors.New("stop")
	for puts := range 40 {
		tree := mustOpen(t, db)
		if tree.Head().Length != 250 {
			t.Fatalf("head has length %d after %d puts", tree.Head().Length, puts)
		}
		// Other leaves each time, as after a crash an upstream may have others.
		u, err := tree.Prepare(newLeaves(10_000+puts*100, 10_050+puts*101, 100_000))
		if err != nil {
			t.Fatal(err)
		}
		left := puts
		err = u.Write(func(key, value []byte) error {
			if left == 0 {
				return errStop
			}
			left--
			set(t, db, string(key), value)
			return nil
		})
		if left == 0 && puts < 10 && !errors.Is(err, errStop) {
			t.Errorf("after %d puts: %v", puts, err)
		}
		m.same(t, mustOpen(t, db), 250)
	}
	more := newLeaves(250, 900, 100)
	m.grow(more)
	tree = mustOpen(t, db)
	grow(t, tree, more)
	m.same(t, mustOpen(t, db), 250)
	m.same(t, mustOpen(t, db), 900)
	for _, length := range []uint64{300, 301, 350} {
		if ok, err := tree.HasLength(length); ok || err != nil {
			t.Errorf("a head of length %d that was never stored: %v, %v", length, ok, err)
		}
	}
	m.sameLedger(t, mustOpen(t, db))
}

func TestStale(t *testing.T) {
	db := openDB(t, "")
	tree := mustOpen(t, db)
	first, err := tree.Prepare(newLeaves(0, 5, 100))
	if err != nil {
		t.Fatal(err)
	}
	second, err := tree.Prepare(newLeaves(100, 103, 100))
	if err != nil {
		t.Fatal(err)
	}
	store(t, tree.db, second)
	if err := second.Publish(); err != nil {
		t.Fatal(err)
	}
	if err := first.Publish(); !errors.Is(err, ErrStale) {
		t.Errorf("publishing an update of another head: %v", err)
	}
	if err := second.Publish(); !errors.Is(err, ErrStale) {
		t.Errorf("publishing twice: %v", err)
	}
	if tree.Head() != second.Head() {
		t.Errorf("head is %v", tree.Head())
	}
}

// TestPutErrors: an error of put comes back, and so from WriteHead.
func TestPutErrors(t *testing.T) {
	db := openDB(t, "")
	tree := mustOpen(t, db)
	u, err := tree.Prepare(newLeaves(0, 600, 100))
	if err != nil {
		t.Fatal(err)
	}
	errPut := errors.New("put")
	count := 0
	if err := u.Write(func(key, value []byte) error {
		count++
		if len(value) > MaxValue || len(value) == 0 {
			t.Errorf("value of %d bytes", len(value))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for fail := range count {
		left := fail
		err := u.Write(func(_, _ []byte) error {
			if left == 0 {
				return errPut
			}
			left--
			return nil
		})
		if !errors.Is(err, errPut) {
			t.Errorf("put %d of %d failed: %v", fail, count, err)
		}
	}
	if err := u.WriteHead(func(_, _ []byte) error { return errPut }); !errors.Is(err, errPut) {
		t.Errorf("writing the head: %v", err)
	}
}

// TestTwoTrees: trees with other prefixes in one database do not meet.
func TestTwoTrees(t *testing.T) {
	db := openDB(t, "")
	var trees []*Tree
	var models []*model
	for _, prefix := range []string{"", "a", "a/", "b"} {
		tree, err := Open(kv.Badger(db), []byte("x/"+prefix+"\x00"), Options{CacheBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree)
		models = append(models, &model{heads: map[uint64]vmap.Map{0: {}}})
	}
	for round := range 4 {
		for i := range trees {
			from := len(models[i].leaves)
			leaves := newLeaves(i*1000+from, i*1000+from+100*round+i+1, 50)
			models[i].grow(leaves)
			grow(t, trees[i], leaves)
		}
	}
	for i := range trees {
		for length := range models[i].heads {
			if length > 0 {
				models[i].same(t, trees[i], length)
			}
		}
	}
}

// TestReopenFromDisk closes the database in between.
func TestReopenFromDisk(t *testing.T) {
	dir := t.TempDir()
	m := &model{heads: map[uint64]vmap.Map{0: {}}}
	for round := range 4 {
		db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil).WithMemTableSize(8 << 20))
		if err != nil {
			t.Fatal(err)
		}
		tree := mustOpen(t, db)
		if round > 0 {
			m.same(t, tree, m.log.Len())
		}
		leaves := newLeaves(len(m.leaves), len(m.leaves)+130, 100)
		m.grow(leaves)
		grow(t, tree, leaves)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadersAndWriter reads while one goroutine writes; run it with -race.
func TestReadersAndWriter(t *testing.T) {
	db := openDB(t, "")
	tree := mustOpen(t, db)
	grow(t, tree, newLeaves(0, 200, 1<<30))
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for turn := 0; ; turn++ {
				select {
				case <-done:
					if turn > 0 {
						return
					}
				default:
				}
				head := tree.Head()
				index := uint64(turn*37) % head.Length
				if err := readOne(tree, head, index); err != nil {
					t.Errorf("leaf %d at length %d: %v", index, head.Length, err)
					return
				}
			}
		})
	}
	for i := range 120 {
		from := int(tree.Head().Length)
		grow(t, tree, newLeaves(from, from+1+i%40, 1<<30))
	}
	close(done)
	group.Wait()
}

// readOne proves a leaf, which is the only one of its log, and checks everything.
func readOne(tree *Tree, head Head, index uint64) error {
	leaf, err := tree.Leaf(index)
	if err != nil {
		return err
	}
	if want := newLeaf(int(index), 1<<30); leaf != want {
		return fmt.Errorf("it is %v, want %v", leaf, want)
	}
	proof, err := tree.ProveInclusion(head.Length, []uint64{index})
	if err != nil {
		return err
	}
	inLog := []vlog.Leaf{{Index: index, Value: leaf.LogValue()}}
	if err := vlog.VerifyInclusion(proof.Log, head.LogRoot, head.Length, inLog); err != nil {
		return err
	}
	inMap := []vmap.Entry{{Key: leaf.MapKey(), Value: leaf.MapValue()}}
	if err := vmap.VerifyInclusion(proof.Map, head.MapRoot, inMap); err != nil {
		return err
	}
	bundle, err := tree.ProveConsistency(index+1, head.Length)
	if err != nil {
		return err
	}
	_, err = vlog.ParseBundle(bundle)
	return err
}

// TestNotLatest: the error carries the root there is and the one that the old
// record would need.
func TestNotLatest(t *testing.T) {
	tree := mustOpen(t, openDB(t, ""))
	leaves := newLeaves(0, 9, 3)
	grow(t, tree, leaves)
	_, err := tree.ProveInclusion(9, []uint64{2})
	var e *warg.Error
	if !errors.As(err, &e) || e.Kind != warg.KindProofIncorrect || e.Root != tree.Head().MapRoot {
		t.Fatalf("got %v", err)
	}
	var batch []vmap.Entry
	for _, l := range append(leaves, leaves[2]) {
		batch = append(batch, vmap.Entry{Key: l.MapKey(), Value: l.MapValue()})
	}
	if want := (vmap.Map{}).Update(batch).Root(); e.Found != want {
		t.Errorf("found %s, want %s", e.Found, want)
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add([]byte("key"), Seal([]byte("key"), []byte("payload")))
	f.Add([]byte(""), Seal(nil, nil))
	f.Add([]byte("key"), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		payload, err := Unseal(key, value)
		if err != nil {
			if !errors.Is(err, ErrIndexCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(Seal(key, payload), value) {
			t.Fatalf("%x of key %x seals as %x", value, key, Seal(key, payload))
		}
	})
}
