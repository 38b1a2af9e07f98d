package wargtest

import (
	"bytes"
	"context"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
)

// Domain implements [warg.Registry].
func (m *Memory) Domain() string { return m.opt.Domain }

// Checkpoint implements [warg.Registry].
func (m *Memory) Checkpoint(context.Context) (warg.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.views[m.tree.Len()], nil
}

// Logs implements [warg.Registry]. Fetch tokens are record ids.
func (m *Memory) Logs(_ context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if req.Limit < 0 || req.Limit > warg.MaxFetchLimit {
		return warg.LogsPage{}, api.LimitError(req.Limit)
	}
	if req.Limit == 0 {
		req.Limit = warg.DefaultFetchLimit
	}
	if _, ok := m.views[req.LogLength]; !ok {
		return warg.LogsPage{}, &warg.Error{Kind: warg.KindLengthNotFound, Number: req.LogLength}
	}
	var page warg.LogsPage
	var err error
	if page.Operator, err = cut(m.operator, req, req.Operator); err != nil {
		return warg.LogsPage{}, err
	}
	page.More = len(page.Operator) == req.Limit
	for _, c := range req.Packages {
		log := m.logs[c.LogID]
		if log == nil || len(log.records) == 0 || log.records[0].Index >= req.LogLength {
			return warg.LogsPage{}, warg.NotFound(warg.KindLogNotFound, c.LogID)
		}
		records, err := cut(log.records, req, c.Token)
		if err != nil {
			return warg.LogsPage{}, err
		}
		page.More = page.More || len(records) == req.Limit
		page.Packages = append(page.Packages, warg.LogRecords{LogID: c.LogID, Records: records})
	}
	return page, nil
}

// cut returns the records after the token that a request may see.
func cut(records []warg.Record, req warg.LogsRequest, token string) ([]warg.Record, error) {
	start := 0
	if token != "" {
		start = 1 + slices.IndexFunc(records, func(r warg.Record) bool { return r.Token == token })
		if start == 0 {
			return nil, &warg.Error{Kind: warg.KindFetchTokenUnknown, ID: token}
		}
	}
	out := []warg.Record{}
	for _, r := range records[start:] {
		if r.Index < req.LogLength && len(out) < req.Limit {
			out = append(out, r)
		}
	}
	return out, nil
}

// Names implements [warg.Registry].
func (m *Memory) Names(_ context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]warg.PackageName, len(ids))
	for i, id := range ids {
		if id == warg.OperatorLogID {
			continue
		}
		log := m.logs[id]
		if log == nil || len(log.records) == 0 {
			return nil, warg.NotFound(warg.KindLogNotFound, id)
		}
		names[i] = log.name
	}
	return names, nil
}

// Stat implements [warg.Registry].
func (m *Memory) Stat(_ context.Context, digest warg.Digest) (warg.ContentInfo, error) {
	b, err := m.content(digest)
	return warg.ContentInfo{Digest: digest, Size: int64(len(b))}, err
}

// Open implements [warg.Registry].
func (m *Memory) Open(_ context.Context, digest warg.Digest) (warg.Content, error) {
	b, err := m.content(digest)
	if err != nil {
		return nil, err
	}
	return openBytes{bytes.NewReader(b)}, nil
}

// content returns content that a published record released.
func (m *Memory) content(digest warg.Digest) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.known[digest]
	if _, released := m.released[digest]; !ok || !released {
		return nil, warg.NotFound(warg.KindContentNotFound, digest)
	}
	return b, nil
}

// openBytes is content in memory.
type openBytes struct{ *bytes.Reader }

// Close does nothing.
func (openBytes) Close() error { return nil }

// Ledger implements [warg.Registry].
func (m *Memory) Ledger(_ context.Context, start uint64, limit int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b []byte
	for i := start; i < uint64(len(m.leaves)) && i-start < uint64(max(limit, 0)); i++ {
		b = append(append(b, m.leaves[i].LogID[:]...), m.leaves[i].RecordID[:]...)
	}
	return b, nil
}

// VerifyCheckpoint implements [warg.Registry].
func (m *Memory) VerifyCheckpoint(_ context.Context, s warg.SignedCheckpoint) (warg.Verification, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := warg.Verification{Checkpoint: warg.Invalid, Signature: warg.Invalid}
	claims := s.Unverified()
	if view, ok := m.views[claims.LogLength]; ok {
		claims.Timestamp = view.Checkpoint.Timestamp
		if claims == view.Checkpoint.Claims() {
			v.Checkpoint = warg.Verified
		}
	}
	if key, ok := m.opState.Key(s.KeyID()); ok && m.opState.Can(s.KeyID(), oplog.PermissionCommit) {
		if _, err := s.Open(key); err == nil {
			v.Signature = warg.Verified
		}
	}
	return v, nil
}
