package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

const (
	operatorPage = 1000 // records asked for at a time
	// maxOperatorRecords bounds the operator log of one registry. It gets a record
	// when a namespace or a key is added.
	maxOperatorRecords = 100_000
)

// operator is an operator log replayed from its first record. It does not change.
type operator struct {
	state   *oplog.State
	commits *oplog.CommitHistory
	signer  warg.KeyID // of the first record
	records []warg.Record
}

// replayOperator replays a whole operator log and checks every signature. Operator
// logs are short.
func replayOperator(records []warg.Record) (*operator, error) {
	op := &operator{state: new(oplog.State), commits: new(oplog.CommitHistory), records: records}
	for i, r := range records {
		if err := op.state.Validate(r.Envelope); err != nil {
			return nil, refuse(recordClass(err), "replaying operator record %d: %w", i, err)
		}
		if err := op.commits.Observe(r.Index, op.state); err != nil {
			return nil, refuse(ClassRecord, "replaying operator record %d: %w", i, err)
		}
	}
	if len(records) == 0 {
		return nil, refuse(ClassAbsence, "the operator log is empty")
	}
	op.signer = records[0].KeyID
	return op, nil
}

// recordClass tells a record that is signed badly from one that may not follow.
func recordClass(err error) Class {
	var r *warg.RecordError
	if errors.As(err, &r) && r.Label == warg.LabelSignatureError {
		return ClassSignature
	}
	return ClassRecord
}

// open verifies a checkpoint: the signature, and that the key held commit at that
// length. The operator log must have been replayed at least up to it.
func (op *operator) open(s warg.SignedCheckpoint) (warg.Checkpoint, error) {
	key, ok := op.state.Key(s.KeyID())
	if !ok {
		return warg.Checkpoint{}, refuse(ClassKey, "checkpoint is signed by key `%s`, which the operator log does not know", s.KeyID())
	}
	view, err := s.Open(key)
	if err != nil {
		return warg.Checkpoint{}, refuse(ClassSignature, "verifying checkpoint: %w", err)
	}
	if !op.commits.Holds(s.KeyID(), view.LogLength) {
		return warg.Checkpoint{}, refuse(ClassKey, "checkpoint of length %d is signed by key `%s`, which may not sign checkpoints at that length", view.LogLength, s.KeyID())
	}
	return view, nil
}

// hangsOn reports whether a checkpoint is vouched for by the pinned key: it signed
// the operator log's first record, from which every other key has its permission,
// or the checkpoint itself, which covers that log.
//
// It is the signature that counts and not the key which the first record names:
// anybody could name the pinned key there.
func (op *operator) hangsOn(pin warg.KeyID, s warg.SignedCheckpoint) bool {
	return op.signer == pin || s.KeyID() == pin
}

// fetchOperator fetches the operator records after the ones known, up to a registry
// length.
func fetchOperator(ctx context.Context, t Transport, known []warg.Record, length uint64) ([]warg.Record, error) {
	records := known
	token, next := "", uint64(0)
	if n := len(known); n > 0 {
		token, next = known[n-1].Token, known[n-1].Index+1
	}
	again := false
	for idle := 0; idle <= len(known)+1; {
		page, err := t.Logs(ctx, warg.LogsRequest{LogLength: length, Limit: operatorPage, Operator: token})
		if unknownToken(err) && token != "" && !again {
			token, again = "", true // upstream has other tokens now; what we know is skipped below
			continue
		}
		if errors.Is(err, &warg.Error{Kind: warg.KindLengthNotFound}) {
			return nil, refuse(ClassAbsence, "upstream has signed a checkpoint of length %d and does not know that length", length)
		}
		if err != nil {
			return nil, fmt.Errorf("fetching operator log: %w", &transportError{err})
		}
		before := len(records)
		for _, r := range page.Operator {
			if r.Index < next {
				continue
			}
			if r.Index >= length || len(records) == maxOperatorRecords {
				return nil, refuse(ClassEndless, "operator log has a record at %d beyond the checkpoint, or more than %d", r.Index, maxOperatorRecords)
			}
			records, next = append(records, r), r.Index+1
		}
		if !page.More || len(page.Operator) == 0 {
			return records, nil
		}
		token = page.Operator[len(page.Operator)-1].Token
		if len(records) == before {
			idle++ // nothing new on this page
		}
	}
	return nil, refuse(ClassEndless, "the pages of the operator log bring nothing new")
}

// unknownToken reports whether an error can mean that upstream does not know a
// fetch token. The reference registry, if it keeps its log in memory, drops the
// connection then: one that forgot its history looks unreachable, and would never
// be caught telling another one.
func unknownToken(err error) bool {
	return errors.Is(err, &warg.Error{Kind: warg.KindFetchTokenUnknown}) || errors.Is(err, &warg.Error{Kind: warg.KindUnavailable})
}
