package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// TestEveryByteOfEveryAnswer changes each byte of each answer of an upstream, one at
// a time. Whatever comes of it, a reader gets the truth or an error.
func TestEveryByteOfEveryAnswer(t *testing.T) {
	s, content := filled(t)
	digest := warg.Sum(content)
	honest, err := readAll(t, replicaOf(t, s, newMemStore()), digest)
	if err != nil {
		t.Fatal(err)
	}
	here := []byte("http://127.0.0.1:")
	stride := 5
	if testing.Short() {
		stride = 41
	}
	ops := []api.Op{api.OpCheckpoint, api.OpLogs, api.OpNames, api.OpSources, api.OpContent, api.OpLedger, api.OpLedgerRecords}
	for n, op := range ops {
		t.Run(op.String(), func(t *testing.T) {
			changed := 0
			for at := n % stride; ; at += stride {
				longest := 0
				s.mu.Lock()
				s.change = func(got api.Op, body []byte) []byte {
					if got != op {
						return body
					}
					longest = max(longest, len(body))
					if at >= len(body) {
						return body
					}
					bad := flip(body, at)
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
					t.Errorf("byte %d of %s: served %v (%v)", at, op, err, failed)
				}
				if q := r.Status().Quarantine; q != nil {
					t.Errorf("byte %d of %s: quarantined for %s", at, op, q.Reason)
				}
				r.Close()
				if at >= longest {
					break
				}
			}
			if changed == 0 {
				t.Error("nothing was changed")
			}
		})
	}
	s.mu.Lock()
	s.change = nil
	s.mu.Unlock()
	if got, err := readAll(t, replicaOf(t, s, newMemStore()), digest); err != nil || got.differs(honest) != nil {
		t.Errorf("honest again: %v %v", got.differs(honest), err)
	}
}
