package wargtest

import (
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func namesChecks() []check {
	return []check{
		{"names", checkNames},
		{"names/unknown", checkUnknownNames},
	}
}

func (w *world) logIDs() []warg.LogID {
	var ids []warg.LogID
	for _, p := range w.packages {
		ids = append(ids, p.LogID())
	}
	return ids
}

// checkNames: names come in the order asked; the operator log has none.
func checkNames(t testing.TB, s *scene) {
	ids := append([]warg.LogID{warg.OperatorLogID}, s.world.logIDs()...)
	slices.Reverse(ids)
	names, err := s.Registry.Names(t.Context(), ids)
	if err != nil || len(names) != len(ids) {
		t.Fatalf("got %v, %v", names, err)
	}
	for i, n := range names {
		switch {
		case ids[i] == warg.OperatorLogID && !n.IsZero():
			t.Errorf("the operator log is named %s", n)
		case ids[i] != warg.OperatorLogID && (n.IsZero() || n.LogID() != ids[i]):
			t.Errorf("log %s is named %q", ids[i], n)
		}
	}
	if names, err := s.Registry.Names(t.Context(), nil); err != nil || len(names) != 0 {
		t.Errorf("no ids: got %v, %v", names, err)
	}
}

func checkUnknownNames(t testing.TB, s *scene) {
	for _, id := range []warg.LogID{strangerLog(), s.world.pending.LogID()} {
		_, err := s.Registry.Names(t.Context(), append(s.world.logIDs(), id))
		refused(t, "naming an unknown log", err, warg.NotFound(warg.KindLogNotFound, id))
	}
}
