package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// answers is everything a reader can get from a registry with one package.
type answers struct {
	checkpoint warg.SignedCheckpoint
	records    [][]byte
	name       string
	content    []byte
	ledger     []byte
}

// readAll asks a registry for everything. What fails is left out.
func readAll(t *testing.T, r warg.Registry, digest warg.Digest) (a answers, failed error) {
	t.Helper()
	view, err := r.Checkpoint(t.Context())
	if err != nil {
		return a, err
	}
	a.checkpoint = view.Signed
	id := wargtest.Name("test:a").LogID()
	page, logsErr := r.Logs(t.Context(), warg.LogsRequest{LogLength: view.Checkpoint.LogLength, Packages: []warg.LogCursor{{LogID: id}}})
	for _, l := range page.Packages {
		for _, rec := range l.Records {
			a.records = append(a.records, api.AppendRecord(nil, warg.Record{Envelope: rec.Envelope, Index: rec.Index, Token: rec.Token}))
		}
	}
	names, namesErr := r.Names(t.Context(), []warg.LogID{id})
	if len(names) == 1 {
		a.name = names[0].String()
	}
	c, contentErr := r.Open(t.Context(), digest)
	if contentErr == nil {
		a.content, contentErr = io.ReadAll(c)
		c.Close()
	}
	var ledgerErr error
	a.ledger, ledgerErr = r.Ledger(t.Context(), 0, 100)
	return a, errors.Join(logsErr, namesErr, contentErr, ledgerErr)
}

// differs says what an answer has that the honest one has not.
func (a answers) differs(honest answers) error {
	switch {
	case !a.checkpoint.IsZero() && a.checkpoint != honest.checkpoint:
		return fmt.Errorf("checkpoint %+v", a.checkpoint)
	case a.name != "" && a.name != honest.name:
		return fmt.Errorf("name %q", a.name)
	case a.content != nil && !bytes.Equal(a.content, honest.content):
		return fmt.Errorf("content of %d bytes", len(a.content))
	case a.ledger != nil && !bytes.Equal(a.ledger, honest.ledger):
		return fmt.Errorf("ledger of %d bytes", len(a.ledger))
	case a.records != nil && len(a.records) != len(honest.records):
		return fmt.Errorf("%d records", len(a.records))
	}
	for i := range a.records {
		// The token is upstream's own affair: it is not signed.
		got, want := withoutToken(a.records[i]), withoutToken(honest.records[i])
		if !bytes.Equal(got, want) {
			return fmt.Errorf("record %s instead of %s", got, want)
		}
	}
	return nil
}

func withoutToken(record []byte) []byte {
	before, _, _ := bytes.Cut(record, []byte(`,"fetchToken"`))
	return before
}

// mutations says which bytes are changed, and how: every so manieth from one drawn at
// random on, and one bit. With MUTATIONS=all it is every byte, and every bit of it in
// turn with MUTATIONS=bits. MUTATION_SEED draws others.
func mutations(t *testing.T) (stride int, masks func(at int) []byte, rnd *rand.Rand) {
	t.Helper()
	seed := uint64(1)
	if text := os.Getenv("MUTATION_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	rnd = rand.New(rand.NewPCG(seed, 0))
	one := func(int) []byte { return []byte{1 << rnd.IntN(8)} }
	switch os.Getenv("MUTATIONS") {
	case "all":
		return 1, one, rnd
	case "bits":
		return 1, func(int) []byte { return []byte{1, 2, 4, 8, 16, 32, 64, 128} }, rnd
	}
	stride = 7
	if testing.Short() {
		stride = 41
	}
	return stride, one, rnd
}

// mutated returns b with some bits of a byte changed.
func mutated(b []byte, at int, mask byte) []byte {
	b = bytes.Clone(b)
	b[at] ^= mask
	return b
}

// TestEveryByteOfEveryAnswer changes bytes of each answer of an upstream, one at a
// time. Whatever comes of it, a reader gets the truth or an error.
func TestEveryByteOfEveryAnswer(t *testing.T) {
	s, content := filled(t)
	digest := warg.Sum(content)
	honest, err := readAll(t, replicaOf(t, s, newMemStore()), digest)
	if err != nil {
		t.Fatal(err)
	}
	here := []byte("http://127.0.0.1:")
	stride, masks, rnd := mutations(t)
	ops := []api.Op{api.OpCheckpoint, api.OpLogs, api.OpNames, api.OpSources, api.OpContent, api.OpLedger, api.OpLedgerRecords}
	for _, op := range ops {
		t.Run(op.String(), func(t *testing.T) {
			changed, longest := 0, stride // until it is seen
			for at := rnd.IntN(stride); at < longest; at += stride {
				for _, mask := range masks(at) {
					s.mu.Lock()
					s.change = func(got api.Op, body []byte) []byte {
						if got != op {
							return body
						}
						longest = max(longest, len(body))
						where := at
						if at >= len(body) && changed == 0 { // it is shorter than a stride
							where %= len(body)
						}
						if where >= len(body) {
							return body
						}
						bad := mutated(body, where, mask)
						if bytes.Contains(body, here) && !bytes.Contains(bad, here) {
							return body // nothing may be sent to another machine
						}
						changed++
						return bad
					}
					s.mu.Unlock()
					r := replicaOf(t, s, newMemStore())
					got, failed := readAll(t, r, digest)
					if err := got.differs(honest); err != nil {
						t.Errorf("byte %d of %s, mask %x: served %v (%v)", at, op, mask, err, failed)
					}
					if q := r.Status().Quarantine; q != nil {
						t.Errorf("byte %d of %s, mask %x: quarantined for %s", at, op, mask, q.Reason)
					}
					r.Close()
				}
			}
			if changed == 0 {
				t.Error("nothing was changed")
			}
			t.Logf("%d answers were changed", changed)
		})
	}
	s.mu.Lock()
	s.change = nil
	s.mu.Unlock()
	if got, err := readAll(t, replicaOf(t, s, newMemStore()), digest); err != nil || got.differs(honest) != nil {
		t.Errorf("honest again: %v %v", got.differs(honest), err)
	}
}

// TestEveryByteOfAProof changes bytes of the proof that convicts a registry of a fork.
// It is convicted by evidence that proves it, or not at all.
func TestEveryByteOfAProof(t *testing.T) {
	stride, masks, rnd := mutations(t)
	convicted, longest := 0, stride
	for at := rnd.IntN(stride); at < longest; at += stride {
		for _, mask := range masks(at) {
			w := newWorld(t)
			w.publish("test:a", "1.0.0")
			w.publish("test:b", "1.0.0")
			w.refresh()
			before := w.replica.view.Load()
			forked(2, 3)(w)
			w.tap.consistency = func(proof []byte) []byte {
				if longest = max(longest, len(proof)); at >= len(proof) {
					return proof
				}
				return mutated(proof, at, mask)
			}
			err := w.replica.Refresh(t.Context())
			switch class := ClassOf(err); {
			case class == ClassEquivocation:
				convicted++
				if err := checkEvidence(EvidenceOf(err), wargtest.Alice().Public()); err != nil {
					t.Errorf("byte %d, mask %x: convicted without a proof: %v", at, mask, err)
				}
			case class == ClassNone || w.replica.Status().Quarantine != nil:
				t.Errorf("byte %d, mask %x: %v, %+v", at, mask, err, w.replica.Status().Quarantine)
			}
			if w.replica.view.Load() != before {
				t.Errorf("byte %d, mask %x: the view changed", at, mask)
			}
			w.replica.Close()
		}
	}
	t.Logf("%d proofs still proved it", convicted)
}

// TestEveryByteOfAStatus changes bytes of what a registry says of records that are
// published through us. What is told as published is what the verified ledger has.
func TestEveryByteOfAStatus(t *testing.T) {
	stride, masks, rnd := mutations(t)
	for _, op := range []api.Op{api.OpPublish, api.OpRecord} {
		t.Run(op.String(), func(t *testing.T) {
			longest := stride
			for at := rnd.IntN(stride); at < longest; at += stride {
				for _, mask := range masks(at) {
					y := newRelay(t)
					y.http.mu.Lock()
					y.http.change = func(got api.Op, body []byte) []byte {
						if got != op {
							return body
						}
						if longest = max(longest, len(body)); at >= len(body) {
							return body
						}
						return mutated(body, at, mask)
					}
					y.http.mu.Unlock()
					if err := y.publishMutated(t); err != nil {
						t.Errorf("byte %d of %s, mask %x: %v", at, op, mask, err)
					}
					y.replica.Close()
					y.http.http.Close()
				}
			}
		})
	}
}

// publishMutated publishes a release through us and says what was told wrongly. That
// the registry's own lies about a record that is on its way are passed on cannot be
// helped; that it is published is another matter.
func (y *relay) publishMutated(t *testing.T) error {
	content := wargtest.Component("mutated")
	req := begin("test:mutated", content)
	id := req.Record.PackageRecordID()
	told := func(status warg.RecordStatus, err error) error {
		if err != nil || status.State != warg.StatePublished {
			return nil
		}
		truth, err := y.up.Record(t.Context(), req.LogID, id)
		if err != nil || truth.State != warg.StatePublished || truth.Index != status.Index || status.RecordID != id {
			return fmt.Errorf("told %+v, the truth is %+v: %w", status, truth, errors.Join(err, errors.New("they differ")))
		}
		return nil
	}
	status, err := y.replica.Publish(t.Context(), req)
	if wrong := told(status, err); wrong != nil {
		return wrong
	}
	if wrong := told(y.replica.Record(t.Context(), req.LogID, id)); wrong != nil {
		return wrong
	}
	if err := y.up.Upload(t.Context(), req.LogID, id, warg.Sum(content), bytes.NewReader(content)); err != nil && !errors.Is(err, &warg.Error{Kind: warg.KindNotSourcing}) {
		return err
	}
	return told(y.replica.Record(t.Context(), req.LogID, id))
}
