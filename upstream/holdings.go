package upstream

import (
	"context"
	"fmt"
	"iter"

	"github.com/entrepot/entrepot/warg"
)

// Holdings are what a replica holds, as something to make an archive of. Reading
// them fetches nothing.
type Holdings struct{ r *Replica }

// Holdings returns what the replica holds.
func (r *Replica) Holdings() Holdings { return Holdings{r} }

// Domain returns the registry's name.
func (h Holdings) Domain() string { return h.r.o.Domain }

// Head returns the checkpoint that is served, or fails with KindUnavailable if
// nothing can be.
func (h Holdings) Head(context.Context) (warg.SignedCheckpoint, error) {
	v := h.r.view.Load()
	if v == nil {
		return warg.SignedCheckpoint{}, &warg.Error{Kind: warg.KindUnavailable, RetryAfter: retryOffline, Message: fmt.Sprintf("nothing of registry `%s` is held here", h.r.o.Domain)}
	}
	return v.signed, nil
}

// Checkpoints returns the accepted checkpoints beyond a length.
func (h Holdings) Checkpoints(_ context.Context, after uint64) iter.Seq2[warg.SignedCheckpoint, error] {
	return h.r.trusted.signedBeyond(after)
}

// Ledger returns up to max packed entries from index start on.
func (h Holdings) Ledger(_ context.Context, start uint64, max int) ([]byte, error) {
	return h.r.o.Store.Ledger(start, max)
}

// Records returns up to max held records of a log from its n-th on.
func (h Holdings) Records(_ context.Context, log warg.LogID, n uint64, max int) ([]warg.Record, error) {
	return h.r.o.Store.Records(log, n, max)
}

// Name returns the name of a log if it is known.
func (h Holdings) Name(_ context.Context, log warg.LogID) (warg.PackageName, bool, error) {
	return h.r.o.Store.Name(log)
}

// Content opens content, or fails with KindContentNotFound.
func (h Holdings) Content(_ context.Context, digest warg.Digest) (warg.Content, int64, error) {
	stat, err := h.r.o.Store.StatContent(digest)
	if err != nil {
		return nil, 0, err
	}
	content, err := h.r.o.Store.OpenContent(digest)
	return content, stat.Size, err
}

// signedBeyond returns the accepted checkpoints that are longer than a length, as
// they were signed, by ascending length. One that cannot be read back is left out,
// as it would be after a restart.
func (t *trusted) signedBeyond(length uint64) iter.Seq2[warg.SignedCheckpoint, error] {
	return func(yield func(warg.SignedCheckpoint, error) bool) {
		for _, view := range t.beyond(length) {
			a, ok := t.at(view.LogLength)
			if !ok {
				continue
			}
			s, err := t.signedAt(a)
			if err != nil {
				t.log.Warn("accepted checkpoint is damaged", "upstream", t.domain, "length", view.LogLength, "error", err)
				continue
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// longest returns the longest accepted length.
func (t *trusted) longest() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.accepted) == 0 {
		return 0
	}
	return t.accepted[len(t.accepted)-1].view.LogLength
}
