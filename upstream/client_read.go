package upstream

import (
	"context"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// malformed is the error for a body that does not parse as the answer of x.
func (x exchange) malformed(err error) error {
	return refuse(ClassAnswer, "reading answer of %s: %w", x.path, err)
}

// Checkpoint implements [warg.Registry]. View.Checkpoint is what the checkpoint
// claims; it is zero if no verified checkpoint could look like that.
func (c *Client) Checkpoint(ctx context.Context) (warg.View, error) {
	x := exchange{op: api.OpCheckpoint, path: api.PathCheckpoint, limit: maxCheckpointBody}
	body, err := c.do(ctx, x)
	if err != nil {
		return warg.View{}, err
	}
	s, err := api.ParseCheckpoint(body)
	if err != nil {
		return warg.View{}, x.malformed(err)
	}
	return warg.View{Signed: s, Checkpoint: claimed(s)}, nil
}

// claimed converts what a checkpoint claims, without a signature having been looked at.
func claimed(s warg.SignedCheckpoint) warg.Checkpoint {
	u := s.Unverified()
	logRoot, logErr := u.LogRoot.Digest()
	mapRoot, mapErr := u.MapRoot.Digest()
	if logErr != nil || mapErr != nil {
		return warg.Checkpoint{}
	}
	return warg.Checkpoint{LogLength: u.LogLength, LogRoot: logRoot, MapRoot: mapRoot, Timestamp: u.Timestamp}
}

// Logs implements [warg.Registry]. The answer has exactly the logs asked for, in
// that order.
func (c *Client) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	if req.Limit < 0 || req.Limit > warg.MaxFetchLimit {
		return warg.LogsPage{}, api.LimitError(req.Limit) // it may not even fit the request
	}
	x := exchange{
		op: api.OpLogs, path: api.PathLogs,
		body:  api.AppendLogsRequest(nil, req),
		limit: maxLogsBody,
	}
	body, err := c.do(ctx, x)
	if err != nil {
		return warg.LogsPage{}, err
	}
	page, err := api.ParseLogsPage(body)
	if err != nil {
		return warg.LogsPage{}, x.malformed(err)
	}
	if err := orderAsAsked(&page, req.Packages); err != nil {
		return warg.LogsPage{}, x.malformed(err)
	}
	return page, nil
}

// orderAsAsked puts the logs of an answer into the order of the request. One that
// is missing counts as having no further records.
func orderAsAsked(page *warg.LogsPage, asked []warg.LogCursor) error {
	got := make(map[warg.LogID]warg.LogRecords, len(page.Packages))
	for _, l := range page.Packages {
		got[l.LogID] = l
	}
	ordered := make([]warg.LogRecords, 0, len(asked))
	for _, a := range asked {
		l, ok := got[a.LogID]
		if !ok {
			l = warg.LogRecords{LogID: a.LogID}
		}
		delete(got, a.LogID)
		ordered = append(ordered, l)
	}
	for id := range got {
		return fmt.Errorf("log `%s` was not asked for", id)
	}
	page.Packages = ordered
	return nil
}

// Names implements [warg.Registry]. More than [warg.MaxNames] ids are asked for in
// several requests. A name the registry left out is zero.
func (c *Client) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	names := make([]warg.PackageName, 0, len(ids))
	for len(names) < len(ids) {
		part := ids[len(names):min(len(names)+warg.MaxNames, len(ids))]
		x := exchange{
			op: api.OpNames, path: api.PathNames,
			body:  api.AppendNamesRequest(nil, part),
			limit: maxNamesBody,
		}
		body, err := c.do(ctx, x)
		if err != nil {
			return nil, err
		}
		got, err := api.ParseNames(body)
		if err != nil {
			return nil, x.malformed(err)
		}
		for _, id := range part {
			names = append(names, got[id])
		}
	}
	return names, nil
}

// Inclusion implements [warg.Registry].
func (c *Client) Inclusion(ctx context.Context, length uint64, leaves []uint64) (warg.InclusionProof, error) {
	x := exchange{
		op: api.OpInclusion, path: api.PathInclusion,
		body:  api.AppendInclusionRequest(nil, length, leaves),
		limit: maxProofBody,
	}
	body, err := c.do(ctx, x)
	if err != nil {
		return warg.InclusionProof{}, err
	}
	proof, err := api.ParseInclusion(body)
	if err != nil {
		return warg.InclusionProof{}, x.malformed(err)
	}
	return proof, nil
}

// Consistency implements [warg.Registry].
func (c *Client) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	x := exchange{
		op: api.OpConsistency, path: api.PathConsistency,
		body:  api.AppendConsistencyRequest(nil, from, to),
		limit: maxProofBody,
	}
	body, err := c.do(ctx, x)
	if err != nil {
		return nil, err
	}
	bundle, err := api.ParseConsistency(body)
	if err != nil {
		return nil, x.malformed(err)
	}
	return bundle, nil
}

// Record implements [warg.Registry].
func (c *Client) Record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	return c.recordStatus(ctx, id, exchange{op: api.OpRecord, path: api.PathRecord(log, id), limit: maxRecordBody})
}

// recordStatus performs an exchange that answers with the state of a record.
func (c *Client) recordStatus(ctx context.Context, id warg.RecordID, x exchange) (warg.RecordStatus, error) {
	body, err := c.do(ctx, x)
	if err != nil {
		return warg.RecordStatus{}, err
	}
	status, err := api.ParseRecordStatus(body)
	if err == nil && status.RecordID != id {
		err = fmt.Errorf("it is about record `%s`", status.RecordID)
	}
	if err != nil {
		return warg.RecordStatus{}, x.malformed(err)
	}
	return status, nil
}

// VerifyCheckpoint implements [warg.Registry].
func (c *Client) VerifyCheckpoint(ctx context.Context, s warg.SignedCheckpoint) (warg.Verification, error) {
	x := exchange{
		op: api.OpVerify, path: api.PathVerify,
		body:  api.AppendCheckpoint(nil, s),
		limit: maxCheckpointBody,
	}
	body, err := c.do(ctx, x)
	if err != nil {
		return warg.Verification{}, err
	}
	v, err := api.ParseVerification(body)
	if err != nil {
		return warg.Verification{}, x.malformed(err)
	}
	return v, nil
}
