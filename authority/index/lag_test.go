package index

import (
	"errors"
	"testing"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
)

// TestLagIsBounded: a power cut takes no more from the index than it may, whatever was
// committed, and nobody syncs for nothing.
func TestLagIsBounded(t *testing.T) {
	m, syncs := new(kv.Memory), 0
	o := inMemory(t).o
	o.Database, o.Lag = counted{InMemory(m), &syncs}, 10
	x := open2(t, o)
	length := uint64(0)
	for _, n := range []uint64{1, 1, 3, 1, 9, 1, 2, 5, 5, 5, 1, 1} {
		commit(t, x, length, length+n)
		length += n
		m.Crash(nil)
		x = open2(t, o)
		if h := x.Head().Length; h+10 < length {
			t.Fatalf("after a power cut at %d the index is at %d", length, h)
		} else if h < length {
			commit(t, x, h, length) // as a start does
		}
	}
	for range 50 {
		commit(t, x, length, length+1)
		length++
	}
	if syncs == 0 || syncs > 20 {
		t.Errorf("%d syncs", syncs)
	}
}

// TestFailedSyncEndsCommits: an index that cannot be synced takes nothing more.
func TestFailedSyncEndsCommits(t *testing.T) {
	o := inMemory(t).o
	syncs := -1
	o.Database, o.Lag = counted{InMemory(new(kv.Memory)), &syncs}, 1
	x := open2(t, o)
	list := batch(t, 0, 2)
	u, err := x.Tree().Prepare([]warg.Leaf{list[0].Leaf, list[1].Leaf})
	must(t, err)
	if err := x.Commit(u, list); !errors.Is(err, errSync) {
		t.Errorf("committing: %v", err)
	}
}

var errSync = errors.New("sync failed")

// counted is a database that counts syncs; below zero they fail.
type counted struct {
	Database
	syncs *int
}

func (c counted) Open() (kv.Store, error) {
	s, err := c.Database.Open()
	return countedStore{s, c.syncs}, err
}

type countedStore struct {
	kv.Store
	syncs *int
}

func (c countedStore) Sync() error {
	if *c.syncs < 0 {
		return errSync
	}
	*c.syncs++
	return c.Store.Sync()
}

// TestBulkWithoutRoom: on a full disk much is added as little is, and nothing is closed or
// opened.
func TestBulkWithoutRoom(t *testing.T) {
	full := false
	m := new(kv.Memory)
	m.SetQuirks(kv.Quirks{NoRoom: func() bool { return full }})
	o := inMemory(t).o
	o.Database = InMemory(m)
	x := open2(t, o)
	full = true
	before := x.db
	must(t, x.Bulk(100))
	if x.db != before || x.Room() == nil {
		t.Error("another database was opened")
	}
	commit(t, x, 0, 10)
	must(t, x.Settle())
	check(t, x, 10)
	full = false
	must(t, x.Bulk(100))
	if x.db == before {
		t.Error("with room nothing is different")
	}
	commit(t, x, 10, 20)
	must(t, x.Settle())
	check(t, x, 20)
}
