package upstream

import (
	"context"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// age returns how long ago the view was known to be the newest.
func (r *Replica) age() time.Duration {
	return r.o.Now().Sub(time.Unix(0, r.checked.Load()))
}

// current returns the view to answer from, without waiting if there is one.
func (r *Replica) current(ctx context.Context) (*view, error) {
	if v := r.view.Load(); v != nil {
		return v, nil
	}
	return r.cold(ctx)
}

// fresh returns a view that is at most MaxAge old, or, if that cannot be had within
// joinWait, the one there is. Past half of MaxAge a reader starts a refresh without
// waiting for it, so that where readers are frequent nobody waits.
func (r *Replica) fresh(ctx context.Context) (*view, error) {
	seen := r.refreshed.Load()
	v := r.view.Load()
	if v == nil {
		r.counts.looked(HoldingCheckpoint, false)
		return r.cold(ctx)
	}
	age := r.age()
	r.counts.looked(HoldingCheckpoint, age <= r.o.MaxAge)
	if age <= r.o.MaxAge/2 || !r.mayRefresh() {
		return v, nil
	}
	fl, joined := r.startRefresh(seen)
	if age <= r.o.MaxAge {
		return v, nil
	}
	r.counts.wait(HoldingCheckpoint, joined)
	limit := time.NewTimer(joinWait)
	defer limit.Stop()
	select {
	case <-fl.done:
	case <-limit.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return r.view.Load(), nil
}

// cold waits for the first view.
func (r *Replica) cold(ctx context.Context) (*view, error) {
	seen := r.refreshed.Load()
	if v := r.view.Load(); v != nil {
		return v, nil
	}
	if err := r.refreshGate.closed(r.o.Now()); err != nil {
		return nil, err
	}
	if err := r.mayAsk(); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, coldWait)
	defer cancel()
	fl, joined := r.startRefresh(seen)
	r.counts.wait(HoldingCheckpoint, joined)
	err := wait(waiting, []*flight{fl})
	switch v := r.view.Load(); {
	case v != nil:
		return v, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		const soon = 10 // seconds
		return nil, &warg.Error{Kind: warg.KindUnavailable, RetryAfter: soon, Message: fmt.Sprintf("registry `%s` is being copied for the first time", r.o.Domain)}
	case err != nil:
		return nil, err
	}
	return nil, r.emptied() // by a reset that came between
}

// mayRefresh reports whether it makes sense to ask for a checkpoint now; the caller
// then does.
func (r *Replica) mayRefresh() bool {
	return r.refreshGate.closed(r.o.Now()) == nil && r.mayAsk() == nil
}

// warning says why an answer may be out of date, or "".
func (r *Replica) warning() string {
	q := r.trusted.quarantined()
	old := r.age() > r.o.MaxAge
	if q == nil && !old && r.frozen() == 0 {
		return ""
	}
	since := time.Unix(0, r.checked.Load()).UTC().Format(time.RFC3339)
	switch {
	case q != nil:
		return fmt.Sprintf("registry `%s` contradicted itself and is not believed any more (%s); this is its state as of %s", r.o.Domain, q.Class, since)
	case r.o.Offline:
		return fmt.Sprintf("registry `%s` is offline here; this is its state as of %s", r.o.Domain, since)
	case !old:
		return fmt.Sprintf("registry `%s` has signed nothing since %s: it has no news, or somebody keeps them back", r.o.Domain, r.signed())
	}
	return fmt.Sprintf("registry `%s` could not be asked for news; this is its state as of %s", r.o.Domain, since)
}

// tooStale fails if the operator wants no answer rather than such an old one.
func (r *Replica) tooStale() error {
	if !r.o.RefuseStale || r.o.MaxStale <= 0 || r.staleness() <= r.o.MaxStale {
		return nil
	}
	return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: int(longestBackoff / time.Second), Message: r.warning()}
}

// Checkpoint implements [warg.Registry].
func (r *Replica) Checkpoint(ctx context.Context) (warg.View, error) {
	v, err := r.fresh(ctx)
	if err != nil {
		return warg.View{}, err
	}
	if err := r.tooStale(); err != nil {
		return warg.View{}, err
	}
	warning := r.warning()
	r.counts.answered(warning)
	return warg.View{
		Signed:     v.signed,
		Checkpoint: v.cp,
		VerifiedAt: time.Unix(0, r.checked.Load()),
		Warning:    warning,
	}, nil
}
