package archive

import (
	"context"
	"iter"
	"sync"

	"github.com/entrepot/entrepot/warg"
)

// History returns the checkpoints of a registry beyond a length, by ascending length,
// one of each.
type History func(ctx context.Context, after uint64) iter.Seq2[warg.SignedCheckpoint, error]

// FromRegistry makes a source of a registry that has everything at hand, like the
// authority. history may be nil; then clients that know an older length have proofs
// of the log, but none of the map at that length. Reads of one log should follow each
// other: from another place on its records are read from the start.
func FromRegistry(r warg.Registry, history History) Source {
	return &registrySource{Registry: r, history: history}
}

type registrySource struct {
	warg.Registry
	history History

	mu   sync.Mutex
	last cursor
}

// cursor is where reading of a log has come to.
type cursor struct {
	log   warg.LogID
	n     uint64
	token string
}

// Head implements [Source].
func (s *registrySource) Head(ctx context.Context) (warg.SignedCheckpoint, error) {
	view, err := s.Checkpoint(ctx)
	return view.Signed, err
}

// Checkpoints implements [Source].
func (s *registrySource) Checkpoints(ctx context.Context, after uint64) iter.Seq2[warg.SignedCheckpoint, error] {
	if s.history == nil {
		return func(func(warg.SignedCheckpoint, error) bool) {}
	}
	return s.history(ctx, after)
}

// Records implements [Source].
func (s *registrySource) Records(ctx context.Context, log warg.LogID, n uint64, max int) ([]warg.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	view, err := s.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	at := s.last
	if at.log != log || at.n > n {
		at = cursor{log: log}
	}
	for {
		want := min(uint64(max), warg.MaxFetchLimit)
		if at.n < n {
			want = min(n-at.n, warg.MaxFetchLimit)
		}
		page, err := s.page(ctx, view.Checkpoint.LogLength, at, int(want))
		if err != nil || len(page) == 0 {
			return nil, err
		}
		found := at.n == n
		at.n, at.token = at.n+uint64(len(page)), page[len(page)-1].Token
		if found {
			s.last = at
			return page, nil
		}
	}
}

// page reads records of a log after a token.
func (s *registrySource) page(ctx context.Context, length uint64, at cursor, limit int) ([]warg.Record, error) {
	req := warg.LogsRequest{LogLength: length, Limit: limit}
	if at.log == warg.OperatorLogID {
		req.Operator = at.token
		page, err := s.Logs(ctx, req)
		return page.Operator, err
	}
	req.Packages = []warg.LogCursor{{LogID: at.log, Token: at.token}}
	page, err := s.Logs(ctx, req)
	if err != nil || len(page.Packages) != 1 {
		return nil, err
	}
	return page.Packages[0].Records, nil
}

// Name implements [Source].
func (s *registrySource) Name(ctx context.Context, log warg.LogID) (warg.PackageName, bool, error) {
	names, err := s.Names(ctx, []warg.LogID{log})
	if err != nil || len(names) != 1 {
		return warg.PackageName{}, false, err
	}
	return names[0], !names[0].IsZero(), nil
}

// Content implements [Source].
func (s *registrySource) Content(ctx context.Context, digest warg.Digest) (warg.Content, int64, error) {
	stat, err := s.Stat(ctx, digest)
	if err != nil {
		return nil, 0, err
	}
	content, err := s.Open(ctx, digest)
	return content, stat.Size, err
}
