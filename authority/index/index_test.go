package index

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func onDisk(dir string) Options {
	log := slog.New(slog.DiscardHandler)
	return Options{
		FS: durable.OS{}, Database: Badger(databaseIn(dir), log), Counter: filepath.Join(dir, "index.opening"),
		Registry: warg.Sum([]byte("registry")), Log: log,
	}
}

func databaseIn(dir string) string { return filepath.Join(dir, "index") }

func inMemory(t testing.TB) *Index {
	t.Helper()
	return open2(t, Options{
		FS: durable.NewMemory(), Database: InMemory(new(kv.Memory)), Counter: "/index.opening", Registry: warg.Sum([]byte("registry")), Log: slog.New(slog.DiscardHandler),
	})
}

func open2(t testing.TB, o Options) *Index {
	t.Helper()
	x, err := Open(o)
	must(t, err)
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// entry is the record at a registry index: every third stands in the operator log,
// the others in five packages.
func entry(t testing.TB, i uint64) Entry {
	t.Helper()
	e := Entry{
		Index: i, Position: segment.Position{Segment: 1 + i/10, Offset: uint32(100 * i), Size: uint32(50 + i)},
		Leaf: warg.Leaf{LogID: warg.OperatorLogID, RecordID: record(i)},
	}
	if i%3 > 0 {
		name, err := warg.ParsePackageName(fmt.Sprintf("test:p%d", i%5))
		must(t, err)
		e.Name, e.Leaf.LogID = name, name.LogID()
		e.Contents = []warg.Digest{content(i / 4), content(99), content(i / 4)}
	}
	return e
}

func record(i uint64) warg.RecordID { return warg.RecordID(warg.Sum(fmt.Appendf(nil, "record %d", i))) }

func content(i uint64) warg.Digest { return warg.Sum(fmt.Appendf(nil, "content %d", i)) }

func batch(t testing.TB, from, to uint64) (list []Entry) {
	for i := from; i < to; i++ {
		list = append(list, entry(t, i))
	}
	return list
}

func commit(t testing.TB, x *Index, from, to uint64) {
	t.Helper()
	list := batch(t, from, to)
	leaves := make([]warg.Leaf, len(list))
	for i, e := range list {
		leaves[i] = e.Leaf
	}
	u, err := x.Tree().Prepare(leaves)
	must(t, err)
	must(t, x.Commit(u, list))
}

// check compares everything with what a plain replay of the entries says.
func check(t *testing.T, x *Index, length uint64) {
	t.Helper()
	if h := x.Head(); h.Length != length {
		t.Fatalf("length is %d, want %d", h.Length, length)
	}
	places := map[warg.LogID][]Place{}
	names := map[warg.LogID]warg.PackageName{}
	released := map[warg.Digest]uint64{}
	for _, e := range batch(t, 0, length) {
		r, ok, err := x.Record(e.Leaf.RecordID)
		want := Record{Log: e.Leaf.LogID, State: warg.StatePublished, Index: e.Index, Place: uint32(len(places[e.Leaf.LogID]))}
		if !ok || err != nil || r != want {
			t.Errorf("record %d is %+v (%v), want %+v", e.Index, r, err, want)
		}
		names[e.Leaf.LogID] = e.Name
		places[e.Leaf.LogID] = append(places[e.Leaf.LogID], Place{e.Index, e.Leaf.RecordID, e.Position})
		for _, d := range e.Contents {
			if _, ok := released[d]; !ok {
				released[d] = e.Index
			}
		}
	}
	for id, want := range places {
		for below := uint64(0); below <= length; below++ {
			n := uint32(0)
			for n < uint32(len(want)) && want[n].Index < below {
				n++
			}
			l, ok, err := x.Log(id, below)
			if ok != (n > 0) || err != nil || ok && (l.Count != n || l.Name != names[id]) {
				t.Errorf("log %s below %d is %+v, %v, %v; want %d records", names[id], below, l, ok, err, n)
			}
		}
		got, err := x.Places(id, 0, uint32(len(want)))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("places of %s are %+v (%v)", names[id], got, err)
		}
	}
	for d, want := range released {
		if i, ok, err := x.Released(d); !ok || err != nil || i != want {
			t.Errorf("content released at %d: %d, %v, %v", want, i, ok, err)
		}
	}
	for _, d := range []warg.Digest{content(1000), {}} {
		if _, ok, err := x.Released(d); ok || err != nil {
			t.Errorf("content that nobody released: %v, %v", ok, err)
		}
	}
	if _, ok, err := x.Record(record(length)); ok || err != nil {
		t.Errorf("a record that is not there: %v, %v", ok, err)
	}
}

func TestCommitAndReopen(t *testing.T) {
	o := onDisk(t.TempDir())
	x := open2(t, o)
	check(t, x, 0)
	for _, to := range []uint64{1, 2, 13, 40} {
		commit(t, x, x.Head().Length, to)
		check(t, x, to)
	}
	must(t, x.Reject(warg.OperatorLogID, record(500), "because"))
	must(t, x.SetSegment(7))
	must(t, x.Close())
	x = open2(t, o)
	check(t, x, 40)
	if r, ok, err := x.Record(record(500)); !ok || err != nil || r.State != warg.StateRejected || r.Reason != "because" || x.Segment() != 7 {
		t.Errorf("rejected record is %+v, %v, %v; segment %d", r, ok, err, x.Segment())
	}
	commit(t, x, 40, 55)
	check(t, x, 55)
}

// TestPublishedStaysPublished: a late rejection changes nothing.
func TestPublishedStaysPublished(t *testing.T) {
	x := inMemory(t)
	commit(t, x, 0, 5)
	must(t, x.Reject(entry(t, 2).Leaf.LogID, record(2), "too late"))
	check(t, x, 5)
}

// TestEntriesWithoutAHead: what a crash left of a batch before its last transaction
// is not seen, and the batch can be written again.
func TestEntriesWithoutAHead(t *testing.T) {
	x := inMemory(t)
	commit(t, x, 0, 20)
	list := batch(t, 20, 30)
	must(t, x.put(func(put putFunc) error { return x.putBatch(put, list, map[warg.LogID]*Log{}) }))
	check(t, x, 20)
	commit(t, x, 20, 25) // another batch than the one that was lost
	check(t, x, 25)
	commit(t, x, 25, 41)
	check(t, x, 41)
}

// TestLargeBatch needs more than one transaction.
func TestLargeBatch(t *testing.T) {
	x := inMemory(t)
	commit(t, x, 0, 1)
	const n = 1 << 14
	list := batch(t, 1, n)
	leaves := make([]warg.Leaf, len(list))
	for i, e := range list {
		leaves[i] = e.Leaf
	}
	u, err := x.Tree().Prepare(leaves)
	must(t, err)
	must(t, x.Commit(u, list))
	if r, ok, err := x.Record(record(n - 1)); !ok || err != nil || r.Index != n-1 {
		t.Errorf("last record is %+v, %v, %v", r, ok, err)
	}
	l, ok, err := x.Log(warg.OperatorLogID, n)
	if !ok || err != nil || l.Count != (n+2)/3 {
		t.Errorf("operator log is %+v, %v, %v", l, ok, err)
	}
}

// panicky panics the first times that it is opened.
type panicky struct {
	Database
	times int
}

func (p *panicky) Open() (kv.Store, error) {
	if p.times--; p.times >= 0 {
		panic("damaged table")
	}
	return p.Database.Open()
}

func TestBegunAnew(t *testing.T) {
	fill := func(t *testing.T) Options {
		o := onDisk(t.TempDir())
		x := open2(t, o)
		commit(t, x, 0, 10)
		must(t, x.Close())
		return o
	}
	counter := func(t *testing.T, o Options, text string) {
		must(t, os.WriteFile(o.Counter, []byte(text), 0o600))
	}
	cases := map[string]struct {
		prepare func(t *testing.T, o *Options)
		want    uint64 // length
	}{
		"nothing happened":         {func(*testing.T, *Options) {}, 10},
		"one opening did not end":  {func(t *testing.T, o *Options) { counter(t, *o, "1\n") }, 10},
		"two openings did not end": {func(t *testing.T, o *Options) { counter(t, *o, "2\n") }, 0},
		"counter is damaged":       {func(t *testing.T, o *Options) { counter(t, *o, "x") }, 0},
		"opening panics":           {func(_ *testing.T, o *Options) { o.Database = &panicky{o.Database, 1} }, 0},
		"another registry":         {func(_ *testing.T, o *Options) { o.Registry = warg.Sum(nil) }, 0},
		"manifest is damaged": {func(t *testing.T, o *Options) {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(o.Counter), "index", "MANIFEST"), []byte("no manifest"), 0o600))
		}, 0},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			o := fill(t)
			tt.prepare(t, &o)
			x := open2(t, o)
			check(t, x, tt.want)
			if _, err := os.Stat(o.Counter); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the counter of openings is still there: %v", err)
			}
			commit(t, x, tt.want, 12)
			check(t, x, 12)
			must(t, x.Reset())
			check(t, x, 0)
			commit(t, x, 0, 4)
			must(t, x.Distrust())
			must(t, x.Close())
			check(t, open2(t, o), 0)
		})
	}
}

// TestDamagedValuesAreNoticed: no value is believed that is not the one written
// under its key.
func TestDamagedValuesAreNoticed(t *testing.T) {
	x := inMemory(t)
	commit(t, x, 0, 10)
	e := entry(t, 4)
	keys := [][]byte{recordKey(e.Leaf.RecordID), logKey(e.Leaf.LogID), placeKey(e.Leaf.LogID, 0), contentKey(e.Contents[0])}
	ask := func() []error {
		_, _, rerr := x.Record(e.Leaf.RecordID)
		_, _, lerr := x.Log(e.Leaf.LogID, 10)
		_, perr := x.Places(e.Leaf.LogID, 0, 1)
		_, _, cerr := x.Released(e.Contents[0])
		return []error{rerr, lerr, perr, cerr}
	}
	var values [][]byte
	for _, key := range keys {
		must(t, x.db.View(func(r kv.Reader) error {
			return r.Read(key, func(v []byte) error {
				values = append(values, slices.Clone(v))
				return nil
			})
		}))
	}
	write := func(key, value []byte) { must(t, x.put(func(put putFunc) error { return put(key, value) })) }
	for i, key := range keys {
		for _, bad := range [][]byte{nil, values[(i+1)%len(keys)], append(slices.Clone(values[i]), 0), values[i][:len(values[i])-1]} {
			write(key, bad)
			if err := ask()[i]; !errors.Is(err, ErrCorrupt) {
				t.Errorf("value %d replaced by %d bytes: %v", i, len(bad), err)
			}
		}
		write(key, values[i])
		if err := errors.Join(ask()...); err != nil {
			t.Errorf("restored: %v", err)
		}
	}
}

// TestSameRecordInTwoLogs: bytes that were signed once can be a record of several
// logs; each log has its own.
func TestSameRecordInTwoLogs(t *testing.T) {
	for _, batches := range [][]int{{3}, {1, 1, 1}} {
		x := inMemory(t)
		id := record(0)
		name := func(text string) warg.PackageName {
			n, err := warg.ParsePackageName(text)
			must(t, err)
			return n
		}
		logs := []warg.PackageName{name("test:a"), name("test:b"), name("test:c")}
		next := 0
		for _, n := range batches {
			var list []Entry
			var leaves []warg.Leaf
			for range n {
				e := Entry{Name: logs[next], Leaf: warg.Leaf{LogID: logs[next].LogID(), RecordID: id}, Index: uint64(next)}
				list, leaves = append(list, e), append(leaves, e.Leaf)
				next++
			}
			u, err := x.Tree().Prepare(leaves)
			must(t, err)
			must(t, x.Commit(u, list))
		}
		for i, n := range logs {
			r, ok, err := x.RecordOf(n.LogID(), id)
			if want := (Record{Log: n.LogID(), State: warg.StatePublished, Index: uint64(i)}); !ok || err != nil || r != want {
				t.Errorf("%s: %+v, %v, %v", n, r, ok, err)
			}
		}
		if r, ok, err := x.Record(id); !ok || err != nil || r.Index != 0 {
			t.Errorf("the first: %+v, %v, %v", r, ok, err)
		}
		stranger := name("test:d").LogID()
		if r, ok, err := x.RecordOf(stranger, id); ok || err != nil {
			t.Errorf("a log that has it not: %+v, %v", r, err)
		}
		must(t, x.Reject(stranger, id, "no"))
		must(t, x.Reject(logs[1].LogID(), id, "no")) // is published
		if r, ok, err := x.RecordOf(stranger, id); !ok || err != nil || r.State != warg.StateRejected {
			t.Errorf("rejected: %+v, %v", r, err)
		}
		if r, ok, err := x.RecordOf(logs[1].LogID(), id); !ok || err != nil || r.State != warg.StatePublished {
			t.Errorf("published: %+v, %v", r, err)
		}
		must(t, x.Close())
	}
}
