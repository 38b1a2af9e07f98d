package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

var _ upstream.Store = (*Registry)(nil)

func open(t *testing.T, o Options) *Cache {
	t.Helper()
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func registry(t *testing.T, c *Cache, domain string) *Registry {
	t.Helper()
	r, err := c.Registry(domain)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// closeCache closes a cache before the test ends; Badger takes a second Close.
func closeCache(t *testing.T, c *Cache) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// leaf makes a leaf of a log out of two texts.
func leaf(log string, record int) warg.Leaf {
	return warg.Leaf{LogID: warg.LogID(warg.Sum([]byte(log))), RecordID: warg.RecordID(warg.Sum([]byte(log), []byte(fmt.Sprint(record))))}
}

func TestReplicaOverCacheConforms(t *testing.T) {
	wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
		m := wargtest.NewMemory(wargtest.MemoryOptions())
		dir := t.TempDir()
		r, err := upstream.Open(t.Context(), upstream.Options{
			Domain: "up.example", Transport: upstream.Adapt(m),
			Store:       registry(t, open(t, Options{Dir: filepath.Join(dir, "cache")}), "up.example"),
			OperatorKey: wargtest.Alice().Public().ID(),
			Dir:         filepath.Join(dir, "upstreams"), EvidenceDir: filepath.Join(dir, "evidence"),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return wargtest.Subject{
			Registry: r, Publisher: m, Sync: r.Refresh, Imports: true, Wasm: true, Restarts: true, Hold: m.Hold,
			OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
		}
	})
}

func TestTreesAndLogs(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r := registry(t, c, "up.example")
	first := []warg.Leaf{leaf("op", 0), leaf("a", 0), leaf("b", 0), leaf("a", 1)}
	second := []warg.Leaf{leaf("a", 2), leaf("op", 1)}
	var log vlog.Log
	for _, batch := range [][]warg.Leaf{first, second} {
		for _, l := range batch {
			log.Append(vlog.LeafHash(l.LogValue()))
		}
		err := r.Extend(t.Context(), batch, func(got warg.Checkpoint) error {
			if got.LogRoot != log.Root() || got.LogLength != log.Len() {
				return fmt.Errorf("root of length %d is wrong", got.LogLength)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(r *Registry) {
		t.Helper()
		if got := r.Trees(); got.LogLength != 6 || got.LogRoot != log.Root() {
			t.Errorf("trees: %+v", got)
		}
		for _, k := range []struct {
			log    string
			leaves uint64
		}{{"op", 2}, {"a", 3}, {"b", 1}, {"nothing", 0}} {
			id := leaf(k.log, 0).LogID
			leaves, held, err := r.Log(id)
			if err != nil || leaves != k.leaves || held != 0 {
				t.Errorf("log %s: %d leaves, %d held, %v", k.log, leaves, held, err)
			}
			for i := range k.leaves + 1 {
				index, rid, ok, err := r.Position(id, i)
				if err != nil || ok != (i < k.leaves) {
					t.Errorf("position %d of %s: %v %v", i, k.log, ok, err)
				}
				if !ok {
					continue
				}
				if want := leaf(k.log, int(i)).RecordID; rid != want {
					t.Errorf("position %d of %s is another record", i, k.log)
				}
				n, at, ok, err := r.Find(id, rid)
				if err != nil || !ok || n != i || at != index {
					t.Errorf("find record %d of %s: %d at %d, %v %v", i, k.log, n, at, ok, err)
				}
			}
		}
		if _, _, ok, err := r.Find(leaf("a", 0).LogID, leaf("b", 0).RecordID); ok || err != nil {
			t.Errorf("a record is found in another log: %v", err)
		}
		for _, k := range []struct {
			length uint64
			want   bool
		}{{0, false}, {3, false}, {4, true}, {5, false}, {6, true}, {7, false}} {
			if got, err := r.HasLength(k.length); err != nil || got != k.want {
				t.Errorf("has length %d: %v %v", k.length, got, err)
			}
		}
		if packed, err := r.Ledger(0, 100); err != nil || len(packed) != 6*warg.LedgerEntrySize {
			t.Errorf("ledger: %d bytes, %v", len(packed), err)
		}
		if _, err := r.ProveInclusion(6, []uint64{2, 4}); err != nil {
			t.Errorf("inclusion: %v", err)
		}
		if _, err := r.ProveConsistency(4, 6); err != nil {
			t.Errorf("consistency: %v", err)
		}
	}
	check(r)
	closeCache(t, c)
	check(registry(t, open(t, Options{Dir: dir}), "up.example"))
}

// TestExtendRefused: what accept refuses leaves nothing behind.
func TestExtendRefused(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	no := errors.New("no")
	if err := r.Extend(t.Context(), []warg.Leaf{leaf("a", 0)}, func(warg.Checkpoint) error { return no }); !errors.Is(err, no) {
		t.Errorf("extend: %v", err)
	}
	if leaves, _, err := r.Log(leaf("a", 0).LogID); leaves != 0 || err != nil || r.Trees().LogLength != 0 {
		t.Errorf("%d leaves, %v", leaves, err)
	}
	if r.now.Load().holdsAnything() {
		t.Error("something was written")
	}
}

// TestCrashBeforeHead: an update whose head was never committed leaves entries of
// logs behind; they count for nothing, and other leaves can take their place.
func TestCrashBeforeHead(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	if err := r.Extend(t.Context(), []warg.Leaf{leaf("a", 0), leaf("b", 0)}, nil); err != nil {
		t.Fatal(err)
	}
	lost := []warg.Leaf{leaf("a", 1), leaf("a", 2), leaf("c", 0)}
	n := r.now.Load()
	update, err := n.tree.Prepare(lost)
	if err != nil {
		t.Fatal(err)
	}
	wb := n.db.NewWriteBatch()
	if err := errors.Join(n.indexLogs(lost, update.Head().Length, wb.Set), update.Write(wb.Set), wb.Flush()); err != nil {
		t.Fatal(err)
	}
	counts := func(a, c uint64) {
		t.Helper()
		for log, want := range map[string]uint64{"a": a, "b": 1, "c": c} {
			id := leaf(log, 0).LogID
			leaves, _, err := r.Log(id)
			_, _, more, posErr := r.Position(id, want)
			if leaves != want || more || errors.Join(err, posErr) != nil {
				t.Errorf("log %s has %d leaves, more: %v; want %d (%v %v)", log, leaves, more, want, err, posErr)
			}
		}
	}
	counts(1, 0)
	if _, _, ok, err := r.Find(leaf("a", 0).LogID, leaf("a", 2).RecordID); ok || err != nil {
		t.Errorf("a lost record is found: %v", err)
	}
	if err := r.Extend(t.Context(), []warg.Leaf{leaf("b", 7), leaf("a", 9)}, nil); err == nil {
		index, id, ok, err := r.Position(leaf("a", 0).LogID, 1)
		if index != 3 || id != leaf("a", 9).RecordID || !ok || err != nil {
			t.Errorf("the second record of a: %d %v %v", index, ok, err)
		}
	} else {
		t.Fatal(err)
	}
	if leaves, _, err := r.Log(leaf("a", 0).LogID); leaves != 2 || err != nil {
		t.Errorf("log a has %d leaves, %v", leaves, err)
	}
	if leaves, _, err := r.Log(leaf("c", 0).LogID); leaves != 0 || err != nil {
		t.Errorf("log c has %d leaves, %v", leaves, err)
	}
}

// TestLongLogs: leaves of a log are found wherever their places stand, and lost ones of
// long logs count for nothing.
func TestLongLogs(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r := registry(t, c, "up.example")
	id := leaf("a", 0).LogID
	var want []place
	extend := func(n int) {
		t.Helper()
		var leaves []warg.Leaf
		for range n { // every other leaf is of another log
			at := place{r.Trees().LogLength + uint64(len(leaves)) + 1, leaf("a", len(want)).RecordID}
			leaves = append(leaves, leaf("b", len(want)), leaf("a", len(want)))
			want = append(want, at)
		}
		if err := r.Extend(t.Context(), leaves, nil); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		if leaves, _, err := r.Log(id); leaves != uint64(len(want)) || err != nil {
			t.Fatalf("%d leaves, %v; want %d", leaves, err, len(want))
		}
		for i, at := range want {
			index, record, ok, err := r.Position(id, uint64(i))
			if index != at.index || record != at.id || !ok || err != nil {
				t.Fatalf("leaf %d is at %d, %v %v; want %d", i, index, ok, err, at.index)
			}
			n, index, ok, err := r.Find(id, at.id)
			if n != uint64(i) || index != at.index || !ok || err != nil {
				t.Fatalf("leaf %d is found as %d at %d, %v %v", i, n, index, ok, err)
			}
		}
		if _, _, ok, err := r.Find(id, leaf("a", len(want)).RecordID); ok || err != nil {
			t.Fatalf("a leaf that is not there is found, %v", err)
		}
		if _, _, ok, err := r.Position(id, uint64(len(want))); ok || err != nil {
			t.Fatalf("there is a leaf beyond the end, %v", err)
		}
	}
	for _, n := range []int{1, firstPlaces - 3, 1, 1, 1, 20} {
		extend(n)
		check()
	}
	lose := func(n int) { // an update of which only the index is written
		t.Helper()
		var leaves []warg.Leaf
		for i := range n {
			leaves = append(leaves, leaf("a", len(want)+i))
		}
		now := r.now.Load()
		wb := now.db.NewWriteBatch()
		if err := errors.Join(now.indexLogs(leaves, r.Trees().LogLength+uint64(n), wb.Set), wb.Flush()); err != nil {
			t.Fatal(err)
		}
		now.views.drop(id)
	}
	lose(5)
	check()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	r = registry(t, open(t, Options{Dir: dir}), "up.example")
	check()
	extend(3)
	check()
}

// TestLostFirstLeaves: an update that never became the head is passed over, although
// the ledger has grown past where it would have ended.
func TestLostFirstLeaves(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	if err := r.Extend(t.Context(), []warg.Leaf{leaf("a", 0)}, nil); err != nil {
		t.Fatal(err)
	}
	n := r.now.Load()
	wb := n.db.NewWriteBatch()
	lost := []warg.Leaf{leaf("a", 1), leaf("c", 0), leaf("a", 2)}
	if err := errors.Join(n.indexLogs(lost, 4, wb.Set), wb.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := r.Extend(t.Context(), []warg.Leaf{leaf("b", 0), leaf("b", 1), leaf("b", 2), leaf("b", 3)}, nil); err != nil {
		t.Fatal(err)
	}
	for log, want := range map[string]uint64{"a": 1, "b": 4, "c": 0} {
		if leaves, _, err := r.Log(leaf(log, 0).LogID); leaves != want || err != nil {
			t.Errorf("log %s has %d leaves, %v; want %d", log, leaves, err, want)
		}
	}
}

// records makes records of a log with leaves in the trees.
func records(t *testing.T, r *Registry, log string, sizes ...int) []warg.Record {
	t.Helper()
	var made []warg.Record
	var leaves []warg.Leaf
	start := r.Trees().LogLength
	for i, size := range sizes {
		content := bytes.Repeat([]byte{byte(i)}, size)
		env := warg.Envelope{Content: content, KeyID: "sha256:key", Signature: wargtest.Bob().SignPackageRecord(content)}
		rec := warg.Record{Envelope: env, Index: start + uint64(i), Token: env.PackageRecordID().String(), JSON: []byte(fmt.Sprintf(`{"n":%d}`, i))}
		if i%2 == 1 {
			rec.Token = fmt.Sprintf("token %d", i)
		}
		made = append(made, rec)
		leaves = append(leaves, warg.Leaf{LogID: leaf(log, 0).LogID, RecordID: env.PackageRecordID()})
	}
	if err := r.Extend(t.Context(), leaves, nil); err != nil {
		t.Fatal(err)
	}
	return made
}

func sameRecord(a, b warg.Record) bool {
	return a.Index == b.Index && a.Token == b.Token && a.KeyID == b.KeyID && a.Signature == b.Signature && bytes.Equal(a.Content, b.Content)
}

// fillsOnePart returns the size of content with which the i-th record of [records]
// is encoded in exactly maxPart bytes.
func fillsOnePart(t *testing.T, i int) int {
	t.Helper()
	for size := maxPart - 300; size < maxPart; size++ {
		content := bytes.Repeat([]byte{byte(i)}, size)
		env := warg.Envelope{Content: content, KeyID: "sha256:key", Signature: wargtest.Bob().SignPackageRecord(content)}
		rec := warg.Record{Envelope: env, Index: uint64(i), Token: fmt.Sprintf("token %d", i), JSON: []byte(fmt.Sprintf(`{"n":%d}`, i))}
		if parts := encodeRecord(rec); len(parts) == 1 && len(parts[0]) == maxPart {
			return size
		}
	}
	t.Fatal("no size fills a part")
	return 0
}

func TestRecords(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	id := leaf("a", 0).LogID
	want := records(t, r, "a", 10, 300, maxPart*2, fillsOnePart(t, 3), 1<<20, 5)
	if parts := encodeRecord(want[3]); len(parts) != 1 || len(parts[0]) != maxPart {
		t.Fatal("no record fills a part exactly")
	}
	for i := range want {
		if err := r.PutRecords(id, uint64(i), want[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if leaves, held, err := r.Log(id); leaves != 6 || held != 6 || err != nil {
		t.Fatalf("%d leaves, %d held, %v", leaves, held, err)
	}
	for n := range 7 {
		for limit := range 8 {
			got, err := r.Records(id, uint64(n), limit)
			if err != nil || !slices.EqualFunc(got, want[min(n, 6):min(n+limit, 6)], sameRecord) {
				t.Errorf("%d records from %d: %d, %v", limit, n, len(got), err)
			}
		}
	}
	all, err := r.Records(id, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, rec := range all {
		if i == 3 {
			continue // it has no room for its JSON
		}
		if small := len(rec.Content) < maxPart; small != (len(rec.JSON) > 0) || small && !bytes.Equal(rec.JSON, want[i].JSON) {
			t.Errorf("JSON of record %d with %d bytes: %q", i, len(rec.Content), rec.JSON)
		}
	}
	if n, ok, err := r.FindToken(id, "token 3"); n != 3 || !ok || err != nil {
		t.Errorf("token: %d %v %v", n, ok, err)
	}
	if _, ok, err := r.FindToken(id, "token 2"); ok || err != nil {
		t.Errorf("unknown token: %v %v", ok, err)
	}
}

// TestDamagedRecord: a record that rotted is never returned; it and those after it
// are not held any more.
func TestDamagedRecord(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	id := leaf("a", 0).LogID
	want := records(t, r, "a", 10, 20, 30)
	if err := r.PutRecords(id, 0, want); err != nil {
		t.Fatal(err)
	}
	n := r.now.Load()
	damage(t, r.c, n.recordKey(id, 1, 0))
	_, err := r.Records(id, 0, 3)
	if !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("damaged: %v", err)
	}
	if _, held, err := r.Log(id); held != 1 || err != nil {
		t.Errorf("%d held, %v", held, err)
	}
	if err := r.PutRecords(id, 1, want[1:]); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Records(id, 0, 3); err != nil || !slices.EqualFunc(got, want, sameRecord) {
		t.Errorf("after it was fetched again: %d, %v", len(got), err)
	}
}

// TestViewsChangeWithTheirLogs: what is kept in memory of a log is never older than
// what was put, whoever reads meanwhile.
func TestViewsChangeWithTheirLogs(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	id := leaf("a", 0).LogID
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				leaves, held, err := r.Log(id)
				got, recErr := r.Records(id, 0, 100)
				if err := errors.Join(err, recErr); err != nil || uint64(len(got)) < held || held > leaves {
					t.Errorf("%d leaves, %d held, then %d records, %v", leaves, held, len(got), err)
				}
			}
		})
	}
	for i := range 50 {
		made := records(t, r, "a", 10+i)
		if leaves, _, err := r.Log(id); leaves != uint64(i+1) || err != nil {
			t.Fatalf("%d leaves after %d, %v", leaves, i+1, err)
		}
		if err := r.PutRecords(id, uint64(i), made); err != nil {
			t.Fatal(err)
		}
		if _, held, err := r.Log(id); held != uint64(i+1) || err != nil {
			t.Fatalf("%d held after %d, %v", held, i+1, err)
		}
		if got, err := r.Records(id, 0, 100); len(got) != i+1 || err != nil {
			t.Fatalf("%d records after %d, %v", len(got), i+1, err)
		}
	}
	close(stop)
	wg.Wait()
}

// TestPutLogs: what is put of several logs at a time is there, in memory and on disk,
// and what does not follow what is held does not spoil what is in memory.
func TestPutLogs(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r := registry(t, c, "up.example")
	a, b := leaf("a", 0).LogID, leaf("b", 0).LogID
	fromA, fromB := records(t, r, "a", 1, 2, 3), records(t, r, "b", 4, viewBytes, 5)
	check := func(when string, wantA, wantB int) {
		t.Helper()
		for log, want := range map[warg.LogID][]warg.Record{a: fromA[:wantA], b: fromB[:wantB]} {
			_, held, err := r.Log(log)
			got, readErr := r.Records(log, 0, 10)
			if err := errors.Join(err, readErr); err != nil || held != uint64(len(want)) || !slices.EqualFunc(got, want, sameRecord) {
				t.Errorf("%s: %d held, %d read, %v; want %d", when, held, len(got), err, len(want))
			}
			for i, rec := range want {
				if rec.Token == rec.RecordID(log).String() {
					continue // found by the id
				}
				if n, ok, err := r.FindToken(log, rec.Token); n != uint64(i) || !ok || err != nil {
					t.Errorf("%s: token of record %d: %d %v %v", when, i, n, ok, err)
				}
			}
		}
	}
	put := func(firstA, endA, firstB, endB int) {
		t.Helper()
		logs := []warg.LogRecords{{LogID: a, Records: fromA[firstA:endA]}, {LogID: b, Records: fromB[firstB:endB]}}
		if err := r.PutLogs([]uint64{uint64(firstA), uint64(firstB)}, logs); err != nil {
			t.Fatal(err)
		}
	}
	check("before", 0, 0)
	put(0, 1, 0, 1)
	check("one each", 1, 1)
	put(1, 3, 1, 3) // b does not fit into memory any more
	check("all", 3, 3)
	put(1, 2, 1, 2) // again, and less
	check("fewer", 2, 2)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	r = registry(t, open(t, Options{Dir: dir}), "up.example")
	check("after a restart", 2, 2)
}

// damage flips a bit in a value.
func damage(t *testing.T, c *Cache, key []byte) {
	t.Helper()
	err := c.db.Update(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		v, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		v[len(v)/2] ^= 1
		return txn.Set(key, v)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	name := wargtest.Name("test:a")
	if _, ok, err := r.Name(name.LogID()); ok || err != nil {
		t.Errorf("name before: %v %v", ok, err)
	}
	if err := r.PutName(name.LogID(), name); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := r.Name(name.LogID()); got != name || !ok || err != nil {
		t.Errorf("name: %v %v %v", got, ok, err)
	}
	damage(t, r.c, r.now.Load().nameKey(name.LogID()))
	if _, ok, err := r.Name(name.LogID()); ok || err != nil {
		t.Errorf("damaged name: %v %v", ok, err)
	}
	// A sound value in the wrong place.
	other := wargtest.Name("test:b")
	if err := r.PutName(name.LogID(), other); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.Name(name.LogID()); ok || err != nil {
		t.Errorf("name of another log: %v %v", ok, err)
	}
}

// TestNamesOfLogsInTheLedger: names that are kept with their logs in memory are those
// on disk.
func TestNamesOfLogsInTheLedger(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r := registry(t, c, "up.example")
	a, b := wargtest.Name("test:a"), wargtest.Name("test:b")
	if err := r.PutName(a.LogID(), a); err != nil { // before it is in the ledger
		t.Fatal(err)
	}
	leaves := []warg.Leaf{{LogID: a.LogID()}, {LogID: b.LogID()}}
	if err := r.Extend(t.Context(), leaves, nil); err != nil {
		t.Fatal(err)
	}
	check := func(name warg.PackageName, want bool) {
		t.Helper()
		if got, ok, err := r.Name(name.LogID()); ok != want || err != nil || ok && got != name {
			t.Errorf("name %v: %v %v %v", name, got, ok, err)
		}
	}
	check(a, true)
	check(b, false)
	if err := r.PutNames([]warg.PackageName{b}); err != nil {
		t.Fatal(err)
	}
	check(b, true)
	if err := r.PutName(a.LogID(), b); err != nil { // a sound value in the wrong place
		t.Fatal(err)
	}
	check(a, false)
	if err := r.PutNames([]warg.PackageName{a, b}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	r = registry(t, open(t, Options{Dir: dir}), "up.example")
	check(a, true)
	check(b, true)
}

func TestReset(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r, other := registry(t, c, "up.example"), registry(t, c, "other.example")
	for _, reg := range []*Registry{r, other} {
		if err := reg.PutRecords(leaf("a", 0).LogID, 0, records(t, reg, "a", 1, 2, 3)); err != nil {
			t.Fatal(err)
		}
	}
	content := []byte("content")
	if err := r.PutContent(t.Context(), warg.Sum(content), bytes.NewReader(content), 100); err != nil {
		t.Fatal(err)
	}
	old := r.now.Load().prefix
	if err := r.Reset(); err != nil {
		t.Fatal(err)
	}
	c.sweeper.Wait()
	if r.Trees().LogLength != 0 || other.Trees().LogLength != 3 {
		t.Errorf("lengths %d and %d", r.Trees().LogLength, other.Trees().LogLength)
	}
	if _, err := r.StatContent(warg.Sum(content)); err != nil {
		t.Errorf("content went with the reset: %v", err)
	}
	if leaves, held, err := r.Log(leaf("a", 0).LogID); leaves != 0 || held != 0 || err != nil {
		t.Errorf("%d leaves, %d held, %v", leaves, held, err)
	}
	if n, err := c.deleteSome(old); n != 0 || err != nil {
		t.Errorf("%d keys of before were left", n)
	}
	if err := r.Extend(t.Context(), []warg.Leaf{leaf("z", 0)}, nil); err != nil {
		t.Fatal(err)
	}
	closeCache(t, c)
	c = open(t, Options{Dir: dir})
	if n := registry(t, c, "up.example").Trees().LogLength; n != 1 {
		t.Errorf("length %d after opening again", n)
	}
	if n := registry(t, c, "other.example").Trees().LogLength; n != 3 {
		t.Errorf("the other's length is %d", n)
	}
}

// TestDamagedTrees: a replica whose trees rotted begins anew, and says so with an
// empty store instead of an error.
func TestDamagedTrees(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r := registry(t, c, "up.example")
	records(t, r, "a", 1, 2, 3)
	damage(t, c, append(prefixOf(r.now.Load().number), kindTree, 'h'))
	closeCache(t, c)
	if n := registry(t, open(t, Options{Dir: dir}), "up.example").Trees().LogLength; n != 0 {
		t.Errorf("length %d", n)
	}
}

func TestContent(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir()})
	r, other := registry(t, c, "up.example"), registry(t, c, "other.example")
	for _, size := range []int{0, 1, maxInline - 1, maxInline, maxInline + 1, 300_000} {
		content := bytes.Repeat([]byte{7}, size)
		d := warg.Sum(content)
		if _, err := r.OpenContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound, ID: d.String()}) {
			t.Errorf("%d bytes: open before: %v", size, err)
		}
		if err := r.PutContent(t.Context(), d, iotest.HalfReader(bytes.NewReader(content)), int64(size)); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		stat, err := r.StatContent(d)
		if err != nil || stat.Size != int64(size) || stat.Digest != d {
			t.Errorf("%d bytes: stat %+v %v", size, stat, err)
		}
		f, err := r.OpenContent(d)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
		if _, isFile := f.(*os.File); isFile != (size > maxInline) {
			t.Errorf("%d bytes: in a file: %v", size, isFile)
		}
		f.Close()
		if _, err := other.StatContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
			t.Errorf("%d bytes: another registry has it as well: %v", size, err)
		}
	}
}

func TestContentRefused(t *testing.T) {
	r := registry(t, open(t, Options{Dir: t.TempDir()}), "up.example")
	broken := errors.New("connection reset")
	for _, size := range []int{100, 100_000} {
		content := bytes.Repeat([]byte{7}, size)
		d := warg.Sum(content)
		cases := []struct {
			name  string
			body  io.Reader
			limit int64
			want  error
		}{
			{"other bytes", strings.NewReader(strings.Repeat("x", size)), 1 << 20, &warg.Error{Kind: warg.KindBadRequest}},
			{"too short", bytes.NewReader(content[1:]), 1 << 20, &warg.Error{Kind: warg.KindBadRequest}},
			{"too long", bytes.NewReader(append(slices.Clone(content), 0)), 1 << 20, &warg.Error{Kind: warg.KindBadRequest}},
			{"too large", bytes.NewReader(content), int64(size - 1), &warg.Error{Kind: warg.KindTooLarge}},
			{"cut off", io.MultiReader(bytes.NewReader(content[:size/2]), iotest.ErrReader(broken)), 1 << 20, broken},
			{"cut off at its end", io.MultiReader(bytes.NewReader(content), iotest.ErrReader(io.ErrUnexpectedEOF)), 1 << 20, io.ErrUnexpectedEOF},
		}
		for _, k := range cases {
			t.Run(fmt.Sprintf("%s of %d", k.name, size), func(t *testing.T) {
				if err := r.PutContent(t.Context(), d, k.body, k.limit); !errors.Is(err, k.want) {
					t.Errorf("put: %v; want %v", err, k.want)
				}
				if _, err := r.StatContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
					t.Errorf("it is kept: %v", err)
				}
			})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.PutContent(ctx, warg.Sum(nil), strings.NewReader(""), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDamagedContent(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r := registry(t, c, "up.example")
	for _, size := range []int{100, 100_000} {
		content := bytes.Repeat([]byte{9}, size)
		d := warg.Sum(content)
		put := func() {
			t.Helper()
			if err := r.PutContent(t.Context(), d, bytes.NewReader(content), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		put()
		if size <= maxInline {
			damage(t, c, blobKey(d))
			c.hot.Remove(d) // as if it had not been read for a while
		} else if err := os.WriteFile(c.filePath(d), content[1:], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.OpenContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
			t.Errorf("%d bytes, damaged: %v", size, err)
		}
		if _, err := r.StatContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
			t.Errorf("%d bytes, damaged: stat: %v", size, err)
		}
		put()
		if f, err := r.OpenContent(d); err != nil {
			t.Errorf("%d bytes, fetched again: %v", size, err)
		} else {
			f.Close()
		}
	}
}

// TestScrub: what the disk changed of cached content is found while nobody asks for it,
// and gone; it is fetched again.
func TestScrub(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir()})
	r := registry(t, c, "up.example")
	var all []warg.Digest
	for i := range 3 {
		content := bytes.Repeat([]byte{byte(i)}, maxInline+1)
		all = append(all, warg.Sum(content))
		if err := r.PutContent(t.Context(), all[i], bytes.NewReader(content), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(c.filePath(all[1]), bytes.Repeat([]byte{7}, maxInline+1), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, source := range c.Scrubs() {
		items, err := source.Items()
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			n, err := source.Check(t.Context(), item, func(int) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			damaged += n
		}
	}
	if damaged != 1 || c.Stats().Damages != 1 {
		t.Errorf("found %d, counted %d", damaged, c.Stats().Damages)
	}
	for i, d := range all {
		if _, err := r.StatContent(d); (err == nil) != (i != 1) {
			t.Errorf("content %d: %v", i, err)
		}
	}
}

// TestHotContent: small content is read from memory, within bounds, never after it was
// dropped, and only by registries that were seen to have it.
func TestHotContent(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir()})
	r, other := registry(t, c, "up.example"), registry(t, c, "other.example")
	content := func(i int) ([]byte, warg.Digest) {
		b := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, maxInline/2)
		return b, warg.Sum(b)
	}
	const more = 10
	for i := range hotBytes/maxInline + more {
		b, d := content(i)
		if err := r.PutContent(t.Context(), d, bytes.NewReader(b), maxInline); err != nil {
			t.Fatal(err)
		}
	}
	if n, size := c.hot.Size(); size != hotBytes || n != hotBytes/maxInline {
		t.Errorf("%d contents of %d bytes are in memory", n, size)
	}
	for _, i := range []int{0, more + 1} { // only in the database; in memory
		b, d := content(i)
		if _, inMemory := c.hot.Find(d); inMemory != (i > more) {
			t.Errorf("content %d is in memory: %v", i, inMemory)
		}
		f, err := r.OpenContent(d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, b) {
			t.Errorf("content %d: %d bytes, %v", i, len(got), err)
		}
		if _, err := other.OpenContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
			t.Errorf("another registry's content: %v", err)
		}
		c.drop(d)
		if _, err := r.OpenContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
			t.Errorf("dropped content: %v", err)
		}
	}
}

// TestEviction: content that was used longest ago makes room, also after a restart.
func TestEviction(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	o := Options{Dir: dir, MaxContent: 350_000, Now: func() time.Time { return now }}
	c := open(t, o)
	r := registry(t, c, "up.example")
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100_000) }
	held := func() (got []int) {
		for i := range 6 {
			if _, err := r.StatContent(warg.Sum(content(i))); err == nil {
				got = append(got, i)
			}
		}
		return got
	}
	put := func(i int) {
		t.Helper()
		now = now.Add(2 * useGranularity)
		if err := r.PutContent(t.Context(), warg.Sum(content(i)), bytes.NewReader(content(i)), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		put(i)
	}
	now = now.Add(2 * useGranularity)
	reader, err := r.OpenContent(warg.Sum(content(0)))
	if err != nil {
		t.Fatal(err)
	}
	put(3)
	if got := held(); !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("held %v", got)
	}
	put(4)
	put(5)
	if got := held(); !slices.Equal(got, []int{3, 4, 5}) {
		t.Errorf("held %v", got)
	}
	if b, err := io.ReadAll(reader); err != nil || !bytes.Equal(b, content(0)) {
		t.Errorf("a reader lost what it had open: %v", err)
	}
	reader.Close()
	now = now.Add(2 * useGranularity)
	if f, err := r.OpenContent(warg.Sum(content(3))); err != nil {
		t.Fatal(err)
	} else {
		f.Close()
	}
	closeCache(t, c)
	c = open(t, o)
	r = registry(t, c, "up.example")
	put(0)
	if got := held(); !slices.Equal(got, []int{0, 3, 5}) {
		t.Errorf("held after a restart %v", got)
	}
}

// TestStrays: content whose database is gone is deleted; nobody knows whose it was.
func TestStrays(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	r := registry(t, c, "up.example")
	content := bytes.Repeat([]byte{1}, 100_000)
	if err := r.PutContent(t.Context(), warg.Sum(content), bytes.NewReader(content), 1<<20); err != nil {
		t.Fatal(err)
	}
	file := c.filePath(warg.Sum(content))
	closeCache(t, c)
	c = open(t, Options{Dir: dir})
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("content that is accounted for: %v", err)
	}
	closeCache(t, c)
	if err := os.RemoveAll(filepath.Join(dir, databaseDir)); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir})
	if _, err := os.Stat(file); err == nil {
		t.Error("a stray file was kept")
	}
}

// TestDamagedDatabase: a cache that cannot be opened is made anew.
func TestDamagedDatabase(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	records(t, registry(t, c, "up.example"), "a", 1, 2)
	closeCache(t, c)
	if err := os.WriteFile(filepath.Join(dir, databaseDir, "MANIFEST"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = open(t, Options{Dir: dir})
	if n := registry(t, c, "up.example").Trees().LogLength; n != 0 {
		t.Errorf("length %d", n)
	}
	closeCache(t, c)
	// Attempts that ended the process.
	if err := os.WriteFile(filepath.Join(dir, openingFile), []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(dir, databaseDir, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir})
	if _, err := os.Stat(keep); err == nil {
		t.Error("a database that ended the process twice was opened again")
	}
	if _, err := os.Stat(filepath.Join(dir, openingFile)); err == nil {
		t.Error("attempts are still counted")
	}
}

// TestRecordCoding: what was encoded decodes to the same, and nothing that is cut or
// extended does.
func TestRecordCoding(t *testing.T) {
	content := []byte("content")
	rec := warg.Record{
		Envelope: warg.Envelope{Content: content, KeyID: "k", Signature: wargtest.Bob().SignPackageRecord(content)},
		Index:    7, Token: "t", JSON: []byte("{}"),
	}
	b := encodeRecord(rec)[0]
	got, err := decodeRecord(b)
	if err != nil || !sameRecord(got, rec) || string(got.JSON) != "{}" {
		t.Errorf("%+v %v", got, err)
	}
	for i := range b {
		if _, err := decodeRecord(b[:i]); !errors.Is(err, tree.ErrIndexCorrupt) {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
	}
}

// FuzzDecodeRecord: what decodes encodes to the same bytes.
func FuzzDecodeRecord(f *testing.F) {
	content := []byte("content")
	env := warg.Envelope{Content: content, KeyID: "k", Signature: wargtest.Bob().SignPackageRecord(content)}
	f.Add(encodeRecord(warg.Record{Envelope: env, Index: 7, Token: "t", JSON: []byte("{}")})[0])
	f.Add(encodeRecord(warg.Record{Envelope: env})[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := decodeRecord(bytes.Join(encodeRecord(rec), nil))
		if err != nil || !sameRecord(rec, again) || !bytes.Equal(rec.JSON, again.JSON) {
			t.Errorf("%+v is read back as %+v, %v", rec, again, err)
		}
	})
}

// door is a transport that can be closed for a while.
type door struct {
	upstream.Transport
	closed atomic.Pointer[chan struct{}]
}

func (d *door) close() (open func()) {
	shut := make(chan struct{})
	d.closed.Store(&shut)
	return func() { close(shut) }
}

// Checkpoint waits while the door is closed.
func (d *door) Checkpoint(ctx context.Context) (warg.View, error) {
	if shut := d.closed.Load(); shut != nil {
		<-*shut
	}
	return d.Transport.Checkpoint(ctx)
}

// TestHealsWhileRunning: damage that is found while a replica serves makes it fetch
// everything again, and until upstream answers it serves what can be read.
func TestHealsWhileRunning(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	p := wargtest.NewPackage("test:a")
	for i := range 3 {
		entries := []pkglog.Entry{}
		if i == 0 {
			entries = append(entries, wargtest.Init(wargtest.Bob()))
		}
		if _, err := m.Publish(t.Context(), p.Request(p.Next(wargtest.Bob(), entries...))); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	store := registry(t, open(t, Options{Dir: filepath.Join(dir, "cache")}), "up.example")
	door := &door{Transport: upstream.Adapt(m)}
	r, err := upstream.Open(t.Context(), upstream.Options{
		Domain: "up.example", Transport: door, Store: store,
		OperatorKey: wargtest.Alice().Public().ID(), Dir: filepath.Join(dir, "upstreams"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	req := warg.LogsRequest{LogLength: 4, Packages: []warg.LogCursor{{LogID: p.LogID()}}}
	if _, err := r.Logs(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	damage(t, store.c, store.now.Load().logKey(p.LogID()))
	store.now.Load().views.drop(p.LogID()) // as if it had not been read for a while
	open := door.close()
	var damaged *DamagedError
	if _, err := r.Logs(t.Context(), req); !errors.As(err, &damaged) {
		t.Errorf("damaged: %v", err)
	}
	if _, err := r.Inclusion(t.Context(), 4, []uint64{0}); err != nil {
		t.Errorf("what can still be read: %v", err)
	}
	open()
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if page, err := r.Logs(t.Context(), req); err != nil || len(page.Packages[0].Records) != 3 {
		t.Errorf("afterwards: %+v %v", page, err)
	}
}
