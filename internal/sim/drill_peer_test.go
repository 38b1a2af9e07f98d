package sim

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/memstore"
	"github.com/entrepot/entrepot/upstream/mirror"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// lineTo reaches a registry while there is one at the other end.
type lineTo struct {
	upstream.Transport
	far func() warg.Registry // nil = there is nobody
}

func (l lineTo) to() (upstream.Transport, error) {
	if far := l.far(); far != nil {
		return upstream.Adapt(far), nil
	}
	return nil, errUnreachable()
}

func (l lineTo) Checkpoint(ctx context.Context) (warg.View, error) {
	far, err := l.to()
	if err != nil {
		return warg.View{}, err
	}
	return far.Checkpoint(ctx)
}

func (l lineTo) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	far, err := l.to()
	if err != nil {
		return warg.LogsPage{}, err
	}
	return far.Logs(ctx, req)
}

func (l lineTo) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	far, err := l.to()
	if err != nil {
		return nil, err
	}
	return far.Names(ctx, ids)
}

func (l lineTo) Ledger(ctx context.Context, start uint64, limit int) ([]byte, error) {
	far, err := l.to()
	if err != nil {
		return nil, err
	}
	return far.Ledger(ctx, start, limit)
}

func (l lineTo) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	far, err := l.to()
	if err != nil {
		return nil, err
	}
	return far.Consistency(ctx, from, to)
}

// Fetch is that of a client which knows that a peer without content would ask us for it.
func (l lineTo) Fetch(ctx context.Context, d warg.Digest, keep func(io.Reader, int64) error) error {
	far, err := l.to()
	if err != nil {
		return err
	}
	if err = far.Fetch(ctx, d, keep); errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		return warg.NotFound(warg.KindContentNotFound, d)
	}
	return err
}

// openPeer opens the mirror.
func (d *drill) openPeer() {
	far := func() warg.Registry {
		if own := d.line.Load(); own != nil {
			return own
		}
		return nil
	}
	d.peer = d.replica(d.store, far)
}

func (d *drill) replica(s *memstore.Store, far func() warg.Registry) *upstream.Replica {
	r, err := upstream.Open(d.t.Context(), upstream.Options{
		Domain: ownDomain, Transport: lineTo{far: far}, Store: s, OperatorKey: wargtest.Alice().Public().ID(), MaxAge: time.Minute,
		Dir: "/replica", EvidenceDir: "/evidence", TempDir: d.t.TempDir(), FS: durable.NewMemory(), Now: d.clock, Log: slog.New(slog.DiscardHandler),
	})
	d.must(err)
	return r
}

// follow brings the mirror up to date.
func (d *drill) follow() {
	d.pass(time.Hour) // whatever went wrong before is tried again
	n, err := mirror.Sync(d.t.Context(), d.peer, mirror.Plan{Everything: true}, 0, func(mirror.Step) {})
	if err != nil {
		d.book.guilty("the mirror cannot follow: %v", err)
		return
	}
	d.complete = n
	d.tell("the peer has everything up to %d", n)
}

// headOnly lets the mirror see the head, and no more for now.
func (d *drill) headOnly() {
	d.pass(time.Hour)
	if err := d.peer.Refresh(d.t.Context()); err != nil {
		d.book.guilty("the mirror cannot see the head: %v", err)
	}
	d.tell("the peer has seen length %d", d.seen())
}

// seen is the length that the peer has seen of us.
func (d *drill) seen() uint64 {
	head, _ := d.peer.Held()
	return head.Unverified().LogLength
}

// copyOf is what was fetched from a peer. It implements [authority.PeerLog].
type copyOf struct {
	r *upstream.Replica
	s *memstore.Store
}

func (c copyOf) Head(context.Context) (warg.SignedCheckpoint, error) {
	head, ok := c.r.Held()
	if !ok {
		return head, errors.New("nothing was fetched")
	}
	return head, nil
}

func (c copyOf) Leaves(ctx context.Context, from, to uint64) iter.Seq2[authority.PeerLeaf, error] {
	return func(yield func(authority.PeerLeaf, error) bool) {
		for leaf, err := range c.r.HeldLeaves(ctx, from, to) {
			if !yield(authority.PeerLeaf(leaf), err) {
				return
			}
		}
	}
}

func (c copyOf) Content(_ context.Context, d warg.Digest) (io.ReadCloser, error) {
	return c.s.OpenContent(d)
}

// errIncomplete says that the peer has not everything that it has seen.
var errIncomplete = errors.New("fetching from the peer")

// heal fetches everything from the peer and takes it over, as `entrepot recover --from`
// does.
func (d *drill) heal(fsys durable.FS, word *authority.Word) (*authority.Healing, error) {
	store := memstore.New()
	r := d.replica(store, func() warg.Registry { return d.peer })
	defer r.Close()
	h := &authority.Healing{Word: word}
	if _, err := mirror.Sync(d.t.Context(), r, mirror.Plan{Everything: true}, 0, func(mirror.Step) {}); err != nil {
		return h, errors.Join(errIncomplete, err)
	}
	return h, authority.Heal(d.t.Context(), d.options(fsys), copyOf{r, store}, h)
}
