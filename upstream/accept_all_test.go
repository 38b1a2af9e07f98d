package upstream

import (
	"log/slog"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// signedHistory returns a checkpoint of every length from 1 to n.
func signedHistory(n uint64) (all []warg.SignedCheckpoint) {
	for length := uint64(1); length <= n; length++ {
		root := warg.Sum([]byte{byte(length)})
		cp := warg.Checkpoint{LogLength: length, LogRoot: root, MapRoot: root, Timestamp: 1_700_000_000 + length}
		all = append(all, cp.Sign(wargtest.Alice()))
	}
	return all
}

// acceptHistory makes the last checkpoint of a history the head of a replica, the
// others accepted lengths.
func acceptHistory(fsys durable.FS, history []warg.SignedCheckpoint) (*Replica, error) {
	t, err := openTrusted(fsys, "/up", "up.example", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	r := &Replica{trusted: t, o: Options{OperatorKey: wargtest.Alice().Public().ID()}}
	older := func(yield func(warg.SignedCheckpoint, error) bool) {
		for _, s := range history[:len(history)-1] {
			if !yield(s, nil) {
				return
			}
		}
	}
	head := history[len(history)-1]
	op := &operator{signer: wargtest.Alice().Public().ID()}
	return r, r.acceptAll(older, &view{signed: head, cp: claimed(head), op: op})
}

// TestAcceptAllSurvives lets every call to the disk fail, in every way, or the process
// end there. Afterwards the head is one of the checkpoints, never behind the one from
// before, and accepting again leaves all lengths accepted.
func TestAcceptAllSurvives(t *testing.T) {
	history := signedHistory(7)
	for name, had := range map[string]int{"new": 0, "grown": 3} {
		for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed} {
			for at := 1; ; at++ {
				disk := durable.NewMemory()
				if had > 0 {
					if _, err := acceptHistory(disk, history[:had]); err != nil {
						t.Fatal(err)
					}
				}
				fault := durable.NewFault(disk)
				fault.SetPlan(durable.Plan{At: at, Outcome: outcome, Err: syscall.EIO})
				_, err := acceptHistory(fault, history)
				if !fault.Reached() {
					if err != nil || at < 10 {
						t.Errorf("%s: %d calls, %v", name, at-1, err)
					}
					break
				}
				after, err := openTrusted(disk.Crash(nil), "/up", "up.example", slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatalf("%s, call %d, outcome %d: %v", name, at, outcome, err)
				}
				if got := after.current().view.LogLength; got < uint64(had) || got > 7 {
					t.Errorf("%s, call %d, outcome %d: head of length %d", name, at, outcome, got)
				}
				r, err := acceptHistory(disk, history)
				if err != nil {
					t.Fatalf("%s, call %d, outcome %d: accepting again: %v", name, at, outcome, err)
				}
				for _, s := range history {
					length := s.Unverified().LogLength
					a, ok := r.trusted.at(length)
					if !ok {
						t.Fatalf("%s, call %d, outcome %d: length %d is not accepted", name, at, outcome, length)
					}
					if got, err := r.trusted.signedAt(a); err != nil || got != s {
						t.Fatalf("%s, call %d, outcome %d: length %d reads back as %+v, %v", name, at, outcome, length, got, err)
					}
				}
			}
		}
	}
}

// TestAcceptMany: more lengths than are written at a time.
func TestAcceptMany(t *testing.T) {
	history := signedHistory(2500)
	disk := durable.NewMemory()
	if _, err := acceptHistory(disk, history); err != nil {
		t.Fatal(err)
	}
	after, err := openTrusted(disk, "/up", "up.example", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for s, err := range after.signedBeyond(0) {
		if err != nil || s != history[n] {
			t.Fatalf("length %d: %+v, %v", n+1, s, err)
		}
		n++
	}
	if n != len(history) {
		t.Errorf("%d lengths are accepted", n)
	}
}
