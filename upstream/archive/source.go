package archive

import (
	"context"
	"iter"

	"github.com/entrepot/entrepot/warg"
)

// Source is a registry of which an archive is made: a replica, as far as it is
// filled, or the authority. What it returns was verified before. It may grow while
// it is read.
//
// A source returns what it holds and fetches nothing.
type Source interface {
	// Domain returns the registry's name.
	Domain() string
	// Head returns the newest checkpoint.
	Head(ctx context.Context) (warg.SignedCheckpoint, error)
	// Checkpoints returns accepted checkpoints beyond a length, by ascending length,
	// one of each. It may end anywhere beyond the head.
	Checkpoints(ctx context.Context, after uint64) iter.Seq2[warg.SignedCheckpoint, error]
	// Ledger returns up to max packed entries from index start on.
	Ledger(ctx context.Context, start uint64, max int) ([]byte, error)
	// Records returns up to max held records of a log from its n-th on. None means
	// that the n-th is not held.
	Records(ctx context.Context, log warg.LogID, n uint64, max int) ([]warg.Record, error)
	// Name returns the name of a log if it is known.
	Name(ctx context.Context, log warg.LogID) (name warg.PackageName, ok bool, err error)
	// Content opens content and tells its size, or fails with KindContentNotFound.
	Content(ctx context.Context, digest warg.Digest) (body warg.Content, size int64, err error)
}
