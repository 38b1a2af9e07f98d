package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/warg"
)

// Refresh asks upstream for its checkpoint now, or joins a refresh under way, and
// waits until it has been verified and is served. A back-off is not waited for.
func (r *Replica) Refresh(ctx context.Context) error {
	if r.o.Offline || r.trusted.current().Quarantine != nil {
		return r.mayAsk()
	}
	fl, _ := r.startRefresh(r.refreshed.Load())
	return wait(ctx, []*flight{fl})
}

// Renew waits for a refresh that began after the call. Refresh may join one that has
// seen upstream as it was before, which is not enough for somebody who just changed
// something there.
func (r *Replica) Renew(ctx context.Context) error {
	if r.o.Offline || r.trusted.current().Quarantine != nil {
		return r.mayAsk()
	}
	for begun := r.begun.Load(); ; {
		fl, _ := r.startRefresh(r.refreshed.Load())
		err := wait(ctx, []*flight{fl})
		if r.ended.Load() > begun || ctx.Err() != nil {
			return err
		}
	}
}

// startRefresh starts a refresh unless one is under way, or ended well since the
// reader looked and saw that many. It reports whether one was under way.
func (r *Replica) startRefresh(seen uint64) (fl *flight, joined bool) {
	mine, all := r.refreshes.join([]struct{}{{}})
	switch {
	case len(mine) == 0:
	case r.refreshed.Load() != seen:
		r.refreshes.land(struct{}{}, nil)
	default:
		r.detach(refreshTimeout, func(ctx context.Context) {
			nth := r.begun.Add(1)
			err := r.refresh(ctx)
			r.ended.Store(nth)
			if err == nil {
				r.refreshed.Add(1)
			}
			r.closeGate(err)
			r.note("refreshing", err)
			r.refreshes.land(struct{}{}, err)
		})
	}
	return all[0], len(mine) == 0
}

// closeGate keeps readers from starting a refresh for a while after one that failed.
// Where upstream did not answer, trying again was paid for already.
func (r *Replica) closeGate(err error) {
	if errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) || errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout}) {
		r.refreshGate.note(err, r.o.Now(), nil)
		return
	}
	r.refreshGate.report(err, r.o.Now())
}

// refresh asks for the checkpoint, judges it, and makes it the head if it is newer.
func (r *Replica) refresh(ctx context.Context) error {
	doing := fmt.Sprintf("refreshing registry `%s`", r.o.Domain)
	got, err := r.o.Transport.Checkpoint(ctx)
	if err := r.asked(ctx, doing, err); err != nil {
		return err
	}
	if err := r.heal(); err != nil {
		return err
	}
	now := r.o.Now()
	r.watch.start()
	err = r.judge(ctx, got.Signed, now)
	r.counts.verified[HoldingCheckpoint].observe(r.watch.take())
	var c *contradiction
	if errors.As(err, &c) {
		err = r.quarantine(c, now)
	}
	var theirs *transportError
	if errors.As(err, &theirs) && ClassOf(err) == ClassNone {
		return r.asked(ctx, doing, err)
	}
	if err != nil {
		r.noteDamage(err)
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// transportError is an error of the transport, as opposed to one of our own store.
type transportError struct{ error }

// Unwrap returns the error.
func (e *transportError) Unwrap() error { return e.error }

// judge decides what a checkpoint is worth: nothing, what is known already, or a
// new head.
func (r *Replica) judge(ctx context.Context, s warg.SignedCheckpoint, now time.Time) error {
	if err := plausibleClaims(s.Unverified(), r.o.MaxLength, now); err != nil {
		return err
	}
	h, served := r.trusted.current(), r.view.Load()
	if served != nil && served.cp.LogLength != h.view.LogLength {
		served = nil // the head was written, but not all that belongs to it
	}
	order := cmp.Compare(s.Unverified().LogLength, h.view.LogLength)
	switch {
	case h.Format == 0 || order > 0:
		return r.grow(ctx, s, now)
	case served == nil && order == 0:
		return r.grow(ctx, s, now) // the cache is gone: fetch it all again, up to the same head
	case served == nil:
		return r.judgeWithoutTrees(s)
	case order == 0:
		return r.judgeSame(served, s, now)
	}
	return r.judgeShorter(served, s)
}

// plausibleClaims refuses claims that no honest registry makes.
func plausibleClaims(c warg.CheckpointClaims, maxLength uint64, now time.Time) error {
	_, logErr := c.LogRoot.Digest()
	_, mapErr := c.MapRoot.Digest()
	latest := now.Add(maxSkew).Unix()
	switch {
	case c.LogLength == 0 || c.LogLength > warg.MaxRegistryLength:
		return refuse(ClassClaims, "checkpoint claims a length of %d", c.LogLength)
	case c.LogLength > maxLength:
		return refuse(ClassEndless, "checkpoint claims a length of %d; at most %d are replicated", c.LogLength, maxLength)
	case logErr != nil || mapErr != nil:
		return refuse(ClassClaims, "checkpoint has a root that is not a digest")
	case latest > 0 && c.Timestamp > uint64(latest):
		return refuse(ClassClaims, "checkpoint claims to be signed at %s, more than %s ahead of our clock",
			time.Unix(int64(min(c.Timestamp, math.MaxInt32*2)), 0).UTC().Format(time.RFC3339), maxSkew)
	}
	return nil
}

// judgeSame judges a checkpoint of the served length.
func (r *Replica) judgeSame(served *view, s warg.SignedCheckpoint, now time.Time) error {
	view, err := served.op.open(s)
	if err != nil {
		return err
	}
	if !view.SameView(served.cp) {
		return &contradiction{
			class:    ClassEquivocation,
			reason:   fmt.Sprintf("two checkpoints of length %d have different roots", view.LogLength),
			believed: served.signed, refused: s, op: served.op,
		}
	}
	if view.Timestamp < served.cp.Timestamp {
		return refuse(ClassRollback, "checkpoint of length %d was signed at %d, before the one that is known", view.LogLength, view.Timestamp)
	}
	return r.accept(s, view, served.op, now)
}

// accept makes a verified checkpoint the head, durably, and then serves it.
func (r *Replica) accept(s warg.SignedCheckpoint, cp warg.Checkpoint, op *operator, now time.Time) error {
	served := r.view.Load()
	if served == nil || served.cp != cp {
		pinned := pinnedByConfiguration
		if r.o.OperatorKey == "" {
			pinned = pinnedOnFirstUse
		}
		if err := r.trusted.accept(s, cp, op, pinned, now); err != nil {
			return err
		}
		r.view.Store(&view{s, cp, op, r.epoch.Load()})
		r.heldBack = time.Time{}
	}
	r.checked.Store(now.UnixNano())
	r.noteFrozen()
	return nil
}

// quarantine keeps the proof of a contradiction and believes nothing more. It
// returns the refusal.
func (r *Replica) quarantine(c *contradiction, now time.Time) error {
	refusal := c.refusal(r.o.Domain, now)
	name, err := writeEvidence(r.o.FS, r.o.EvidenceDir, r.o.Domain, c, EvidenceOf(refusal))
	if err != nil {
		r.o.Log.Error("evidence could not be written", "upstream", r.o.Domain, "error", err)
	}
	r.o.Log.Error("upstream is quarantined", "upstream", r.o.Domain, "class", c.class.String(), "reason", c.reason, "evidence", name)
	r.audit(audit.Event{Kind: audit.Quarantined, Class: c.class.String(), Reason: c.reason, Evidence: name})
	r.counts.quarantines.Add(1)
	q := Quarantine{Class: c.class.String(), Reason: c.reason, Since: now.UTC(), Evidence: name}
	if err := r.trusted.quarantine(q); err != nil {
		return errors.Join(refusal, err)
	}
	return refusal
}
