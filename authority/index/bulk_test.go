package index

import (
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
)

// TestBulk: what is added while the index is open for much is there at once and after it
// was settled or closed, whether the index was empty or not.
func TestBulk(t *testing.T) {
	dir := t.TempDir()
	for name, o := range map[string]Options{
		"disk":   onDisk(dir),
		"memory": {FS: durable.NewMemory(), Database: InMemory(new(kv.Memory)), Counter: "/c", Registry: warg.Sum([]byte("registry")), Log: onDisk(dir).Log},
	} {
		t.Run(name, func(t *testing.T) {
			x := open2(t, o)
			must(t, x.Bulk(40))
			commit(t, x, 0, 7)
			commit(t, x, 7, 20)
			check(t, x, 20)
			must(t, x.Settle())
			check(t, x, 20)
			commit(t, x, 20, 25)
			must(t, x.Bulk(10)) // not empty any more
			commit(t, x, 25, 30)
			check(t, x, 30)
			must(t, x.Close())
			x = open2(t, o)
			check(t, x, 30)
			must(t, x.Reject(entry(t, 3).Leaf.LogID, record(1000), "no"))
			must(t, x.SetSegment(2))
			must(t, x.Reset())
			must(t, x.Bulk(10))
			commit(t, x, 0, 10)
			check(t, x, 10)
			must(t, x.Settle())
			check(t, x, 10)
		})
	}
}

// TestBulkFails: an error of writing late is not lost.
func TestBulkFails(t *testing.T) {
	m := new(kv.Memory)
	x := open2(t, Options{FS: durable.NewMemory(), Database: InMemory(m), Counter: "/c", Registry: warg.Sum([]byte("registry")), Log: onDisk("").Log})
	must(t, x.Bulk(10))
	m.SetQuirks(kv.Quirks{FailCommit: func() (bool, bool) { return true, false }})
	commit(t, x, 0, 10)
	if err := x.Settle(); err == nil {
		t.Error("what was never written is settled")
	}
}
