package upstream

import (
	"context"
	"io"

	"github.com/entrepot/entrepot/warg"
)

// counted is a transport whose requests are counted.
type counted struct {
	Transport
	c       *counts
	retries *retryBudget
}

// countedPublishing is a way to publish whose requests are counted.
type countedPublishing struct {
	Publishing
	c       *counts
	retries *retryBudget
}

// request counts how a request ended.
func (c *counts) request(k RequestKind, err error) {
	c.requests[k][outcomeOf(err)].Add(1)
}

// outcomeOf says how a request ended.
func outcomeOf(err error) Outcome {
	e, ok := asWarg(err)
	switch {
	case err == nil:
		return OutcomeOK
	case !ok, e.Kind == warg.KindUnavailable:
		return OutcomeUnreachable
	case e.Kind == warg.KindUpstreamTimeout:
		return OutcomeTimeout
	case e.Kind == warg.KindUpstreamInvalid:
		return OutcomeRefused
	}
	return OutcomeDenied
}

// Checkpoint implements [Transport].
func (t counted) Checkpoint(ctx context.Context) (warg.View, error) {
	t.retries.earn()
	v, err := t.Transport.Checkpoint(ctx)
	t.c.request(RequestCheckpoint, err)
	return v, err
}

// Logs implements [Transport].
func (t counted) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	t.retries.earn()
	page, err := t.Transport.Logs(ctx, req)
	t.c.request(RequestLogs, err)
	return page, err
}

// Names implements [Transport].
func (t counted) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	t.retries.earn()
	names, err := t.Transport.Names(ctx, ids)
	t.c.request(RequestNames, err)
	return names, err
}

// Ledger implements [Transport].
func (t counted) Ledger(ctx context.Context, start uint64, max int) ([]byte, error) {
	t.retries.earn()
	page, err := t.Transport.Ledger(ctx, start, max)
	t.c.request(RequestLedger, err)
	return page, err
}

// Consistency implements [Transport].
func (t counted) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	t.retries.earn()
	proof, err := t.Transport.Consistency(ctx, from, to)
	t.c.request(RequestConsistency, err)
	return proof, err
}

// Fetch implements [Transport].
func (t counted) Fetch(ctx context.Context, digest warg.Digest, keep func(io.Reader, int64) error) error {
	t.retries.earn()
	err := t.Transport.Fetch(ctx, digest, keep)
	t.c.request(RequestContent, err)
	return err
}

// Publish implements [warg.Publisher].
func (p countedPublishing) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	p.retries.earn()
	status, err := p.Publishing.Publish(ctx, req)
	p.c.request(RequestPublish, err)
	return status, err
}

// Record implements [Publishing].
func (p countedPublishing) Record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	p.retries.earn()
	status, err := p.Publishing.Record(ctx, log, id)
	p.c.request(RequestRecord, err)
	return status, err
}

// UploadTo implements [Publishing].
func (p countedPublishing) UploadTo(ctx context.Context, site warg.UploadSite, body io.Reader) error {
	p.retries.earn()
	err := p.Publishing.UploadTo(ctx, site, body)
	p.c.request(RequestUpload, err)
	return err
}
