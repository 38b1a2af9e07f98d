package upstream

import (
	"context"
	"io"

	"github.com/entrepot/entrepot/warg"
)

// Transport is where a replica gets what it verifies: a remote registry, or an
// archive that carries the same answers. Nothing it returns is believed.
//
// Errors are as of [warg.Registry] and [Client]. KindUnavailable and
// KindUpstreamTimeout mean that asking again later may help.
type Transport interface {
	// Checkpoint returns the latest signed checkpoint; only View.Signed counts.
	Checkpoint(ctx context.Context) (warg.View, error)
	// Logs returns records of the operator log and of the logs asked for.
	Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error)
	// Names returns package names, the zero name for what has none.
	Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error)
	// Ledger returns up to max packed entries from index start on.
	Ledger(ctx context.Context, start uint64, max int) ([]byte, error)
	// Consistency returns an encoded proof; it is asked for only to prove a fork.
	Consistency(ctx context.Context, from, to uint64) ([]byte, error)
	// Fetch opens the sources of content one after another until keep, which reads
	// body to its end, returns nil, and returns keep's last error if none does. size
	// is what the source announces, or -1.
	Fetch(ctx context.Context, digest warg.Digest, keep func(body io.Reader, size int64) error) error
}

// Store keeps what a replica verified of one registry. It may lose everything at
// any time, and then reports that it holds nothing; it never returns anything
// else than what was put. All methods are safe for concurrent use, but leaves and
// records of one log are put by one goroutine at a time.
//
// The trees of a store may be longer than the replica's head, after a crash
// between the two; readers are given lengths and cut off what is beyond.
type Store interface {
	// Trees returns the length and the roots of the trees. The timestamp is zero.
	Trees() warg.Checkpoint
	// Extend appends leaves to both trees and to the logs they name. accept, if not
	// nil, is told the roots before anything is written, and its error ends Extend
	// without effect. Map proofs exist for every length at which an Extend ended.
	Extend(ctx context.Context, leaves []warg.Leaf, accept func(warg.Checkpoint) error) error
	// HasLength reports whether an Extend ended at this length.
	HasLength(length uint64) (bool, error)
	// Ledger returns up to max packed entries from index start on.
	Ledger(start uint64, max int) ([]byte, error)
	// ProveInclusion and ProveConsistency are those of [warg.Registry].
	ProveInclusion(length uint64, leaves []uint64) (warg.InclusionProof, error)
	ProveConsistency(from, to uint64) ([]byte, error)

	// Log returns how many leaves a log has in the trees, and how many of its
	// records are held, counted from its first.
	Log(log warg.LogID) (leaves, held uint64, err error)
	// Position returns the registry index and the record id of the n-th leaf of a
	// log, from 0. ok is false beyond its end.
	Position(log warg.LogID, n uint64) (index uint64, id warg.RecordID, ok bool, err error)
	// Find returns which leaf of a log a record is.
	Find(log warg.LogID, id warg.RecordID) (n, index uint64, ok bool, err error)
	// FindToken returns which record of a log has a fetch token.
	FindToken(log warg.LogID, token string) (n uint64, ok bool, err error)
	// Records returns up to max held records of a log from the n-th on.
	Records(log warg.LogID, n uint64, max int) ([]warg.Record, error)
	// PutRecords stores verified records; the first is the log's n-th. Those before
	// it are held.
	PutRecords(log warg.LogID, n uint64, records []warg.Record) error
	// PutLogs is PutRecords for several logs at a time, which costs a store less:
	// the first of the records of logs[i] is that log's first[i]-th.
	PutLogs(first []uint64, logs []warg.LogRecords) error

	// Name returns the verified name of a log.
	Name(log warg.LogID) (name warg.PackageName, ok bool, err error)
	// PutName stores a verified name.
	PutName(log warg.LogID, name warg.PackageName) error
	// PutNames is PutName for several names, each of the log with its own id.
	PutNames(names []warg.PackageName) error

	// StatContent and OpenContent fail with KindContentNotFound for content that
	// this registry was not seen to have.
	StatContent(digest warg.Digest) (warg.ContentInfo, error)
	OpenContent(digest warg.Digest) (warg.Content, error)
	// PutContent reads body to its end and keeps it if it has the digest and at most
	// limit bytes. Else it keeps nothing and fails: with KindBadRequest if the digest
	// is another one, with KindTooLarge beyond the limit, with what the body failed
	// with, or with KindNoSpace.
	PutContent(ctx context.Context, digest warg.Digest, body io.Reader, limit int64) error

	// Sync makes what was put so far survive a power cut, as far as the store can.
	Sync() error
	// Reset forgets leaves, trees, records and names. Content stays.
	Reset() error
}

// Adapt turns a registry in the same process into a transport.
func Adapt(r warg.Registry) Transport { return adapted{r} }

type adapted struct{ warg.Registry }

// Fetch implements [Transport].
func (a adapted) Fetch(ctx context.Context, digest warg.Digest, keep func(io.Reader, int64) error) error {
	stat, err := a.Stat(ctx, digest)
	if err != nil {
		return err
	}
	content, err := a.Open(ctx, digest)
	if err != nil {
		return err
	}
	defer content.Close()
	return keep(content, stat.Size)
}
