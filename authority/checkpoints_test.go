package authority

import (
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func TestCheckpointsOfTheHistory(t *testing.T) {
	a, _ := memory(t, nil)
	for _, ns := range []string{"one", "two", "three"} {
		if err := a.DefineNamespace(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	head, err := a.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The history has a checkpoint that was signed again.
	again := warg.Checkpoint{
		LogLength: head.Checkpoint.LogLength, LogRoot: head.Checkpoint.LogRoot, MapRoot: head.Checkpoint.MapRoot,
		Timestamp: head.Checkpoint.Timestamp + 1,
	}.Sign(a.o.Key)
	if err := a.history.Append(again, nil); err != nil {
		t.Fatal(err)
	}
	for after := range head.Checkpoint.LogLength + 2 {
		want := after + 1
		for s, err := range a.Checkpoints(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Unverified().LogLength; got != want {
				t.Fatalf("after %d: length %d, want %d", after, got, want)
			}
			if want == head.Checkpoint.LogLength && s != again {
				t.Error("of one length not the last is returned")
			}
			want++
		}
		if want <= head.Checkpoint.LogLength {
			t.Errorf("after %d: it ends before length %d", after, want)
		}
	}
}
