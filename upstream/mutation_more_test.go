package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// eachMutation runs try for changed bytes of the answers to an operation, see mutations.
func eachMutation(t *testing.T, s *served, op api.Op, try func(t *testing.T, where string)) {
	t.Helper()
	stride, masks, rnd := mutations(t)
	changed, longest := 0, stride // until it is seen
	for at := rnd.IntN(stride); at < longest; at += stride {
		for _, mask := range masks(at) {
			s.mu.Lock()
			s.change = func(got api.Op, body []byte) []byte {
				if got != op {
					return body
				}
				if longest = max(longest, len(body)); at >= len(body) {
					return body
				}
				changed++
				return mutated(body, at, mask)
			}
			s.mu.Unlock()
			try(t, fmt.Sprintf("byte %d of %s, mask %x", at, op, mask))
		}
	}
	s.mu.Lock()
	s.change = nil
	s.mu.Unlock()
	if changed == 0 {
		t.Error("nothing was changed")
	}
	t.Logf("%d answers were changed", changed)
}

// TestEveryByteOfASessionsProof changes bytes of the proofs that a session believes a
// registry by. What it says of packages is the truth, or nothing.
func TestEveryByteOfASessionsProof(t *testing.T) {
	m, pkgs := upstreamOf(t)
	s := serve(t, m)
	client := s.client(t, nil)
	old := filepath.Join(t.TempDir(), "memory")
	a, b := wargtest.Name("test:a"), wargtest.Name("test:b")
	if _, err := newSession(t, client, FileMemory(old)).Fetch(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	publishTo(t, m, pkgs, "test:b", "1.1.0")
	fetch := func() (*Snapshot, []byte, error) {
		file := filepath.Join(t.TempDir(), "memory")
		if err := os.WriteFile(file, before, 0o600); err != nil {
			t.Fatal(err)
		}
		snap, err := newSession(t, client, FileMemory(file)).Fetch(t.Context(), a, b)
		after, readErr := os.ReadFile(file)
		if readErr != nil {
			t.Fatal(readErr)
		}
		return snap, after, err
	}
	honest, learned, err := fetch()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []api.Op{api.OpInclusion, api.OpConsistency} {
		t.Run(op.String(), func(t *testing.T) {
			refused := 0
			eachMutation(t, s, op, func(t *testing.T, where string) {
				snap, after, err := fetch()
				switch {
				case err != nil && ClassOf(err) == ClassNone:
					t.Errorf("%s: an error of no class: %v", where, err)
				case err != nil && !bytes.Equal(after, before):
					t.Errorf("%s: refused, and remembered: %v", where, err)
				case err != nil:
					refused++
				case snap.Checkpoint != honest.Checkpoint || len(snap.Packages) != 2 || !bytes.Equal(after, learned):
					t.Errorf("%s: %+v", where, snap)
				}
			})
			if refused == 0 {
				t.Error("nothing was refused")
			}
		})
	}
}

// TestEveryByteOfAVerdict changes bytes of what a registry says of a checkpoint. No word
// becomes another one.
func TestEveryByteOfAVerdict(t *testing.T) {
	s, _ := filled(t)
	client := s.client(t, nil)
	view, err := s.reg.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stranger := view.Checkpoint.Sign(wargtest.Stranger("nobody"))
	ahead := view.Checkpoint
	ahead.LogLength += 1000
	for name, signed := range map[string]warg.SignedCheckpoint{"verified": view.Signed, "invalid": stranger, "unverified": ahead.Sign(wargtest.Alice())} {
		t.Run(name, func(t *testing.T) {
			honest, err := client.VerifyCheckpoint(t.Context(), signed)
			if err != nil {
				t.Fatal(err)
			}
			eachMutation(t, s, api.OpVerify, func(t *testing.T, where string) {
				got, err := client.VerifyCheckpoint(t.Context(), signed)
				switch {
				case err != nil && ClassOf(err) != ClassAnswer:
					t.Errorf("%s: %v", where, err)
				case err == nil && (got.Checkpoint != honest.Checkpoint || got.Signature != honest.Signature || got.RetryAfter < 0):
					t.Errorf("%s: %+v instead of %+v", where, got, honest)
				}
			})
		})
	}
}

// errorsOf are errors that a registry may answer an operation with, true or not.
func errorsOf(digest warg.Digest) map[api.Op][]*warg.Error {
	log := wargtest.Name("test:a").LogID()
	always := []*warg.Error{warg.Errorf(warg.KindUnavailable, "down"), warg.Errorf(warg.KindNotFound, "no such page")}
	and := func(e ...*warg.Error) []*warg.Error { return slices.Concat(always, e) }
	return map[api.Op][]*warg.Error{
		api.OpCheckpoint: always,
		api.OpLogs: and(warg.NotFound(warg.KindLogNotFound, log), &warg.Error{Kind: warg.KindFetchTokenUnknown, ID: digest.String()},
			&warg.Error{Kind: warg.KindLengthNotFound, Number: 2}),
		api.OpNames:         and(warg.NotFound(warg.KindLogNotFound, log)),
		api.OpSources:       and(warg.NotFound(warg.KindContentNotFound, digest)),
		api.OpContent:       and(warg.NotFound(warg.KindContentNotFound, digest)),
		api.OpLedger:        always,
		api.OpLedgerRecords: always,
	}
}

// TestEveryByteOfAnError has an upstream that was well until its checkpoint was known
// answer with errors, and changes bytes of those. Readers get the truth or an error,
// and that is never that something is not there.
func TestEveryByteOfAnError(t *testing.T) {
	s, content := filled(t)
	digest := warg.Sum(content)
	honest, err := readAll(t, replicaOf(t, s, newMemStore()), digest)
	if err != nil {
		t.Fatal(err)
	}
	stride, masks, rnd := mutations(t)
	all := errorsOf(digest)
	for _, op := range slices.Sorted(maps.Keys(all)) {
		t.Run(op.String(), func(t *testing.T) {
			told := 0
			for _, e := range all[op] {
				whole := api.AppendError(nil, e)
				for at := rnd.IntN(stride); at < len(whole); at += stride {
					for _, mask := range masks(at) {
						s.setAttack(jsonAnswer(op, api.Status(e.Kind), api.ContentTypeJSON, string(mutated(whole, at, mask))))
						r := replicaOf(t, s, newMemStore())
						got, failed := readAll(t, r, digest)
						where := fmt.Sprintf("byte %d of %s, mask %x", at, whole, mask)
						if err := got.differs(honest); err != nil {
							t.Errorf("%s: served %v (%v)", where, err, failed)
						}
						if err := needed(failed); err != nil {
							t.Errorf("%s: %v", where, err)
						}
						if q := r.Status().Quarantine; q != nil {
							t.Errorf("%s: quarantined for %s", where, q.Reason)
						}
						if failed != nil {
							told++
						}
						r.Close()
					}
				}
			}
			if told == 0 {
				t.Error("no error was told")
			}
		})
	}
	s.setAttack(nil)
	if got, err := readAll(t, replicaOf(t, s, newMemStore()), digest); err != nil || got.differs(honest) != nil {
		t.Errorf("honest again: %v %v", got.differs(honest), err)
	}
}

// needed returns those of several errors that are not of the kinds that readers may be
// told about what is needed, not held, and cannot be had.
func needed(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var wrong []error
		for _, err := range all.Unwrap() {
			wrong = append(wrong, needed(err))
		}
		return errors.Join(wrong...)
	}
	if err == nil {
		return nil
	}
	e, ok := asWarg(err)
	if ok && (e.Kind == warg.KindUnavailable || e.Kind == warg.KindUpstreamTimeout || e.Kind == warg.KindUpstreamInvalid) && api.Status(e.Kind) >= http.StatusInternalServerError {
		return nil
	}
	return err
}
