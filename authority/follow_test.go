package authority

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// editIndex changes the database of a registry that is closed.
func editIndex(t *testing.T, dir string, edit func(txn *badger.Txn) error) {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "authority", indexDir)).WithLogger(nil).
		WithValueThreshold(1 << 20).WithCompression(options.None))
	must(t, err)
	must(t, db.Update(edit))
	must(t, db.Close())
}

// entriesOfLog returns what the index has about the length of a log.
func entriesOfLog(txn *badger.Txn, log warg.LogID) map[string][]byte {
	all := map[string][]byte{}
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		value, err := it.Item().ValueCopy(nil)
		if err == nil && (key[0] == 'L' || key[0] == 'P') && bytes.Contains(key, log[:]) {
			all[string(key)] = value
		}
	}
	return all
}

// TestWhoEditsTheIndex takes entries away from the index, or puts back older ones, so
// that a record which may not follow looks as if it might. It is taken in; nothing is
// signed for it, and the next start knows better.
func TestWhoEditsTheIndex(t *testing.T) {
	mallory := wargtest.Alice()
	cases := map[string]struct {
		older bool // the index of a time when the log was shorter, instead of none of it
		bad   func(p *wargtest.Package) warg.Envelope
	}{
		"a log is begun a second time": {false, func(*wargtest.Package) warg.Envelope {
			return wargtest.NewPackage("test:victim").Next(mallory, wargtest.Init(mallory))
		}},
		"a log is continued in two ways": {true, func(p *wargtest.Package) warg.Envelope {
			return p.Next(wargtest.Bob(), wargtest.Yank("1.0.0"))
		}},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := diskOptions(dir, newClock())
			a := open(t, o)
			c := wargtest.Component("victim")
			p, begin := first("test:victim", c)
			publish(t, a, begin)
			upload(t, a, begin, c)
			settled(t, a, begin)
			must(t, a.Close())
			old := map[string][]byte{}
			if tt.older {
				editIndex(t, dir, func(txn *badger.Txn) error { old = entriesOfLog(txn, begin.LogID); return nil })
			}
			forked := p.Fork()
			a = open(t, o)
			second := p.Request(p.Next(wargtest.Bob(), wargtest.Release("2.0.0", c)))
			publish(t, a, second)
			settled(t, a, second)
			before, err := a.Checkpoint(t.Context())
			must(t, err)
			must(t, a.Close())
			editIndex(t, dir, func(txn *badger.Txn) error {
				for key := range entriesOfLog(txn, begin.LogID) {
					if _, keep := old[key]; !keep {
						must(t, txn.Delete([]byte(key)))
					}
				}
				for key, value := range old {
					must(t, txn.Set([]byte(key), value))
				}
				return nil
			})

			a = open(t, o)
			req := p.Request(tt.bad(forked))
			publish(t, a, req) // it looks right
			if st, err := a.Settled(t.Context(), req.LogID, req.Record.PackageRecordID()); err == nil {
				t.Fatalf("it ends as %+v", st)
			}
			if !isCorrupt(a.Err()) {
				t.Errorf("it ends with %v", a.Err())
			}
			if v, err := a.Checkpoint(t.Context()); err != nil || v.Signed != before.Signed {
				t.Errorf("a checkpoint was signed: %+v, %v", v, err)
			}
			must(t, a.Close())

			a = open(t, o)
			if st := settled(t, a, req); st.State != warg.StateRejected {
				t.Errorf("the record ends up %+v", st)
			}
			for _, good := range []warg.PublishRequest{begin, second} {
				if st, err := a.Record(t.Context(), good.LogID, good.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
					t.Errorf("a published record is %+v, %v", st, err)
				}
			}
			if v, err := a.VerifyCheckpoint(t.Context(), before.Signed); err != nil || v.Checkpoint != warg.Verified {
				t.Errorf("the checkpoint that was shown: %+v, %v", v, err)
			}
			audit(t, a)
		})
	}
}
