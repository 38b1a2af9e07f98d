package wargtest

import (
	"bytes"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

func ledgerChecks() []check {
	return []check{
		{"ledger", checkLedger},
		{"ledger/pages", checkLedgerPages},
	}
}

// ledger reads the whole ledger.
func (s *scene) ledger(t testing.TB) []warg.Leaf {
	t.Helper()
	b, err := s.Registry.Ledger(t.Context(), 0, warg.LedgerPageEntries)
	if err != nil || len(b)%warg.LedgerEntrySize != 0 {
		t.Fatalf("reading the ledger: %d bytes, %v", len(b), err)
	}
	return unpack(b)
}

// unpack splits packed ledger entries.
func unpack(b []byte) []warg.Leaf {
	var leaves []warg.Leaf
	for ; len(b) >= warg.LedgerEntrySize; b = b[warg.LedgerEntrySize:] {
		var l warg.Leaf
		copy(l.LogID[:], b)
		copy(l.RecordID[:], b[warg.DigestSize:])
		leaves = append(leaves, l)
	}
	return leaves
}

// checkLedger: the ledger has exactly the leaves of the latest checkpoint. Both trees
// built from it have the signed roots, at every checkpoint there was.
func checkLedger(t testing.TB, s *scene) {
	leaves := s.ledger(t)
	if uint64(len(leaves)) != s.world.latest().LogLength {
		t.Fatalf("%d entries, the log has %d", len(leaves), s.world.latest().LogLength)
	}
	var log vlog.Log
	var heads vmap.Map
	views := s.world.views
	for i, l := range leaves {
		log.Append(vlog.LeafHash(l.LogValue()))
		heads = heads.Update([]vmap.Entry{{Key: l.MapKey(), Value: l.MapValue()}})
		if c := views[0].Checkpoint; c.LogLength == uint64(i+1) {
			if log.Root() != c.LogRoot || heads.Root() != c.MapRoot {
				t.Fatalf("at length %d the ledger leads to roots %s and %s, signed are %s and %s", i+1, log.Root(), heads.Root(), c.LogRoot, c.MapRoot)
			}
			if views = views[1:]; len(views) == 0 {
				break
			}
		}
	}
	for _, p := range s.world.packages {
		for _, r := range p.records {
			if leaves[r.index] != s.world.leaf(r.index) {
				t.Errorf("entry %d is not the record of %s published there", r.index, p.Name())
			}
		}
	}
}

// checkLedgerPages: any part can be read, and nothing beyond the end.
func checkLedgerPages(t testing.TB, s *scene) {
	length := s.world.latest().LogLength
	all, err := s.Registry.Ledger(t.Context(), 0, warg.LedgerPageEntries)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		start uint64
		max   int
	}{{0, 1}, {1, 2}, {0, int(length)}, {length - 1, 5}, {length, 5}, {length + 1, 5}, {1 << 40, 5}, {1<<64 - 1, warg.LedgerPageEntries}, {0, 0}} {
		from := min(part.start, length)
		to := min(from+uint64(part.max), length)
		got, err := s.Registry.Ledger(t.Context(), part.start, part.max)
		if err != nil || !bytes.Equal(got, all[from*warg.LedgerEntrySize:to*warg.LedgerEntrySize]) {
			t.Errorf("%d entries from %d: got %d bytes, %v", part.max, part.start, len(got), err)
		}
	}
}
