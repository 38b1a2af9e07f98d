package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// adopted is a record that an author signed for another registry.
type adopted struct {
	name   warg.PackageName
	env    warg.Envelope
	record pkglog.Record
}

// size is what a job counts towards the bytes of a batch.
func (j *job) size() int64 {
	if j.adopted == nil {
		return 0
	}
	return int64(len(j.adopted.env.Content))
}

// adoptChunk is how many records of one log wait for the sequencer at a time, so that
// a log of any length is adopted in little memory.
const adoptChunk = maxJobs

// Adopt appends records to the log of a package in an adopted namespace, byte for byte
// as its authors signed them, and returns when a checkpoint covers them. They are in
// the order of the log; those up to the head of our own are passed over. The rules of
// the protocol hold, signatures included; policies do not. What content the records
// release need not be here.
//
//	KindBadRequest   the namespace is not adopted, or a record does not decode
//	KindConflict     a record does not follow the head: our log and theirs have parted
//	KindUnavailable  a record's time is too far ahead of our clock; RetryAfter says
//	                 when it will not be. The records before it are adopted.
func (a *Authority) Adopt(ctx context.Context, name warg.PackageName, records []warg.Envelope) error {
	if err := a.writable(); err != nil {
		return err
	}
	if err := a.adopting(ctx, name); err != nil {
		return err
	}
	jobs, stop := a.judgeAdopted(name, records)
	for len(jobs) > 0 {
		n := min(len(jobs), adoptChunk)
		if err := a.queue(jobs[:n]...); err != nil {
			return err
		}
		for _, j := range jobs[:n] {
			if err := a.wait(ctx, j); err != nil {
				return err
			}
		}
		jobs = jobs[n:]
	}
	return stop
}

// adopting fails unless records of a package can be adopted. The namespace is defined
// if it could not be when the registry was opened.
func (a *Authority) adopting(ctx context.Context, name warg.PackageName) error {
	ns := name.Namespace()
	if _, ok := a.adopts[ns]; !ok {
		return warg.Errorf(warg.KindBadRequest, "namespace `%s` is not adopted from another registry", ns)
	}
	if n := len(name.String()); n > warg.MaxNameBytes {
		return warg.Errorf(warg.KindBadRequest, "package name has %d characters; at most %d are allowed", n, warg.MaxNameBytes)
	}
	err := a.ops.check(ns)
	if errors.Is(err, &warg.Error{Kind: warg.KindNamespaceNotFound}) {
		err = a.submit(ctx, oplog.DefineNamespace{Namespace: ns})
		if errors.Is(err, &warg.Error{Kind: warg.KindConflict}) {
			err = a.ops.check(ns) // somebody was faster
		}
	}
	return err
}

// judgeAdopted verifies records against a copy of their log's state, and returns jobs
// for those that can be appended, and why not for all.
func (a *Authority) judgeAdopted(name warg.PackageName, records []warg.Envelope) (jobs []*job, stop error) {
	l, err := a.states.acquire(name.LogID())
	if err != nil {
		return nil, a.internal("judging record", err)
	}
	defer a.states.release(l)
	l.mu.RLock()
	state := l.state.Clone()
	l.mu.RUnlock()
	if records, err = a.unknownYet(state, name.LogID(), records); err != nil {
		return nil, err
	}
	now := a.o.Now()
	for _, env := range records {
		rec, err := judgeAdopted(state, env, now)
		if err != nil {
			return jobs, fmt.Errorf("adopting record `%s` of `%s`: %w", env.PackageRecordID(), name, err)
		}
		jobs = append(jobs, &job{adopted: &adopted{name, env, rec}, done: make(chan error, 1)})
	}
	return jobs, nil
}

// unknownYet leaves out the records that a log has already.
func (a *Authority) unknownYet(state *pkglog.State, log warg.LogID, records []warg.Envelope) ([]warg.Envelope, error) {
	head, _, begun := state.Head()
	if !begun || len(records) == 0 {
		return records, nil
	}
	for i, env := range slices.Backward(records) {
		if env.PackageRecordID() == head {
			return records[i+1:], nil
		}
	}
	r, ok, err := a.index.RecordOf(log, records[len(records)-1].PackageRecordID())
	switch {
	case err != nil:
		return nil, a.internal("looking up record", err)
	case ok && r.State == warg.StatePublished: // all of them are before the head
		return nil, nil
	}
	return records, nil
}

// judgeAdopted verifies the next record of a log.
func judgeAdopted(state *pkglog.State, env warg.Envelope, now time.Time) (pkglog.Record, error) {
	if n := len(env.Content); n > warg.MaxRecordBytes {
		return pkglog.Record{}, warg.Errorf(warg.KindBadRequest, "it has %d bytes; at most %d are allowed", n, warg.MaxRecordBytes)
	}
	rec, err := pkglog.Decode(env.Content)
	if err != nil {
		return rec, warg.Errorf(warg.KindBadRequest, "%w", err)
	}
	if ahead := rec.Time.Time().Sub(now); ahead > maxAhead {
		e := warg.Errorf(warg.KindUnavailable, "its time %s is ahead of this registry's clock", rec.Time.Time().UTC().Format(time.RFC3339))
		e.RetryAfter = int((ahead-maxAhead)/time.Second) + 1
		return rec, e
	}
	if err := state.Apply(rec, env, pkglog.CheckSignature); err != nil {
		return rec, warg.Errorf(warg.KindConflict, "%w", err)
	}
	return rec, nil
}

// validateAdopted adds an adopted record to the batch, or answers why not. Its
// signature was verified.
func (a *Authority) validateAdopted(b *batch, j *job) error {
	l, err := a.states.acquire(j.adopted.name.LogID())
	if err != nil {
		return err
	}
	b.held = append(b.held, l)
	switch err := a.states.apply(l, j.adopted.record, j.adopted.env, pkglog.SignatureVerified); {
	case isRejection(err):
		j.done <- warg.Errorf(warg.KindConflict, "adopting record `%s` of `%s`: %w", j.adopted.env.PackageRecordID(), j.adopted.name, err)
		return nil
	case err != nil:
		return fmt.Errorf("validating adopted record: %w", err)
	}
	f := journal.NewFrame(a.length(b), j.adopted.name, j.adopted.env)
	b.items = append(b.items, item{frame: f, job: j, time: j.adopted.record.Time, contents: released(j.adopted.record)})
	return nil
}

// Head returns the last record of a log; ok is false if it has none.
func (a *Authority) Head(log warg.LogID) (id warg.RecordID, ok bool, err error) {
	if a.index == nil {
		return id, false, unavailable("this registry cannot say at present what is published")
	}
	l, err := a.states.acquire(log)
	if err != nil {
		return id, false, a.internal("looking for the head of a log", err)
	}
	defer a.states.release(l)
	l.mu.RLock()
	defer l.mu.RUnlock()
	id, _, ok = l.state.Head()
	return id, ok, nil
}

// HasContent reports whether content is here, released or not.
func (a *Authority) HasContent(d warg.Digest) (bool, error) {
	has, err := a.content.Has(d)
	if err != nil {
		return false, a.internal("looking for content", err)
	}
	return has, nil
}

// KeepContent stores content that adopted records release. It is served as soon as one
// of them is published. No policy is asked.
//
//	KindBadRequest  the bytes have another digest, or cannot be read
//	KindTooLarge    there are more than limit
//	KindNoSpace
func (a *Authority) KeepContent(d warg.Digest, body io.Reader, limit int64) error {
	if err := a.writable(); err != nil {
		return err
	}
	_, err := a.content.Put(d, body, cas.Checks{MaxSize: limit})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cas.ErrTooLarge):
		return warg.Errorf(warg.KindTooLarge, "content has more than %d bytes", limit)
	}
	return a.uploadFailed(nil, d, err)
}
