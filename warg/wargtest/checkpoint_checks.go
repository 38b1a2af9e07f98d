package wargtest

import (
	"sync"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

func checkpointChecks() []check {
	return []check{
		{"domain", checkDomain},
		{"checkpoint", checkCheckpoint},
	}
}

func checkDomain(t testing.TB, s *scene) {
	if _, err := api.ParseDomain(s.Registry.Domain()); err != nil {
		t.Error(err)
	}
}

// checkCheckpoint: the checkpoint is the one of the last publish, and what its length
// says does not change.
func checkCheckpoint(t testing.TB, s *scene) {
	last := s.world.latest()
	first, second := s.view(t), s.view(t)
	for _, v := range []warg.View{first, second} {
		if !v.Checkpoint.SameView(last) || v.Checkpoint.Timestamp < last.Timestamp {
			t.Errorf("got %+v, want %+v or signed later", v.Checkpoint, last)
		}
		if v.Signed.KeyID() != s.OperatorKey.ID() {
			t.Errorf("signed by %s, want %s", v.Signed.KeyID(), s.OperatorKey.ID())
		}
	}
	if second.Checkpoint.Timestamp < first.Checkpoint.Timestamp {
		t.Errorf("timestamp went from %d to %d", first.Checkpoint.Timestamp, second.Checkpoint.Timestamp)
	}
}

// checkConcurrent runs reads of all kinds at the same time, for the race detector.
func checkConcurrent(t testing.TB, s *scene) {
	w := s.world
	length := w.latest().LogLength
	reads := []func() error{
		func() error { _, err := s.Registry.Checkpoint(t.Context()); return err },
		func() error { _, err := s.Registry.Logs(t.Context(), w.request(length)); return err },
		func() error { _, err := s.Registry.Names(t.Context(), w.logIDs()); return err },
		func() error { _, err := s.Registry.Inclusion(t.Context(), length, w.heads(length)); return err },
		func() error { _, err := s.Registry.Consistency(t.Context(), 1, length); return err },
		func() error { _, err := s.Registry.Ledger(t.Context(), 0, warg.LedgerPageEntries); return err },
		func() error { _, err := s.read(t, warg.Sum(w.contents[0])); return err },
		func() error {
			p := w.packages[0]
			_, err := s.Registry.Record(t.Context(), p.LogID(), p.records[0].env.PackageRecordID())
			return err
		},
		func() error { _, err := s.Registry.VerifyCheckpoint(t.Context(), w.views[0].Signed); return err },
	}
	const rounds = 8
	var wg sync.WaitGroup
	for range rounds {
		for i, read := range reads {
			wg.Go(func() {
				if err := read(); err != nil {
					t.Errorf("read %d: %v", i, err)
				}
			})
		}
	}
	wg.Wait()
}
