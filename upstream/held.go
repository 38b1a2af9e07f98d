package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// Held returns the newest checkpoint of the registry that was ever accepted here,
// without asking anybody: also while nothing can be served, and of a registry that
// is quarantined the last that was believed. It is not ok if there is none.
func (r *Replica) Held() (warg.SignedCheckpoint, bool) {
	h := r.trusted.current()
	return h.signed, h.Format != 0
}

// Sighting is what a checkpoint that somebody else was shown is to a replica.
type Sighting uint8

// The sightings.
const (
	SightingKnown   Sighting = iota // of the history that is held, not beyond its end
	SightingNewer                   // beyond it; a refresh has begun, if upstream may be asked
	SightingUnknown                 // nothing is held that it could be compared with
	SightingForged                  // the registry did not sign it
	sightings
)

var sightingText = [sightings]string{"known", "newer", "unknown", "forged"}

// String returns the name of the sighting.
func (s Sighting) String() string { return sightingText[min(s, sightings-1)] }

// Prove asks whoever showed a checkpoint for proof that its log extends a shorter
// one. The proof is not believed.
type Prove func(ctx context.Context, from, to uint64) ([]byte, error)

// Witness judges a checkpoint that the registry has shown to somebody else. Whoever
// brings it need not be believed: if it cannot be true together with what was
// accepted here, and the registry signed it, then the registry is quarantined, and
// the error is KindUpstreamInvalid with the evidence. prove may be nil; then a longer
// log that does not extend ours is not noticed before ours has grown.
func (r *Replica) Witness(ctx context.Context, s warg.SignedCheckpoint, prove Prove) (Sighting, error) {
	v := r.view.Load()
	if err := plausibleClaims(s.Unverified(), r.o.MaxLength, r.o.Now()); err != nil {
		return SightingForged, nil
	}
	if v == nil || r.trusted.quarantined() != nil {
		return SightingUnknown, nil
	}
	if s == v.signed {
		return SightingKnown, nil
	}
	cp, err := v.op.open(s)
	longer := s.Unverified().LogLength > v.cp.LogLength
	switch {
	case err != nil && longer && ClassOf(err) == ClassKey:
		r.news(s) // a record beyond our view may have granted the key
		return SightingNewer, nil
	case err != nil:
		return SightingForged, nil
	case !longer:
		err = r.weigh(s)
	case prove != nil:
		err = r.extends(ctx, v, s, cp, prove)
	}
	if c := (*contradiction)(nil); errors.As(err, &c) {
		return SightingKnown, r.convict(ctx, c)
	}
	if err != nil {
		return SightingUnknown, err
	}
	if longer {
		r.news(s)
		return SightingNewer, nil
	}
	return SightingKnown, nil
}

// extends returns a contradiction if it is proven that a longer log is not a
// continuation of ours. That it is one need not be proven: the refresh finds out.
func (r *Replica) extends(ctx context.Context, v *view, s warg.SignedCheckpoint, cp warg.Checkpoint, prove Prove) error {
	from, to := vlog.Point{Length: v.cp.LogLength, Root: v.cp.LogRoot}, vlog.Point{Length: cp.LogLength, Root: cp.LogRoot}
	proof, err := prove(ctx, from.Length, to.Length)
	if err != nil || !provesFork(proof, from, to) {
		return nil //nolint:nilerr // no proof is no news
	}
	return &contradiction{
		class:    ClassEquivocation,
		reason:   fmt.Sprintf("the log of length %d does not extend the log of length %d", cp.LogLength, v.cp.LogLength),
		believed: v.signed, refused: s, op: v.op, consistency: proof,
	}
}

// convict quarantines the registry, in the place of a refresh: only one of the two
// may write the head at a time.
func (r *Replica) convict(ctx context.Context, c *contradiction) error {
	for {
		mine, all := r.refreshes.join([]struct{}{{}})
		if len(mine) == 0 {
			_ = wait(ctx, all)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		var err error
		if q := r.trusted.quarantined(); q == nil {
			err = r.quarantine(c, r.o.Now())
			r.note("comparing checkpoints", err)
		}
		r.refreshes.land(struct{}{}, err)
		return err
	}
}

// newsPause is how soon after a refresh that was begun because of a sighting the next
// such may begin: whoever holds a newer checkpoint than the registry shows must not
// make us ask it all the time.
const newsPause = 10 * time.Second

// news begins a refresh because somebody has seen a longer log.
func (r *Replica) news(s warg.SignedCheckpoint) {
	now := r.o.Now()
	last := r.newsAt.Load()
	if now.UnixNano()-last < int64(newsPause) && last <= now.UnixNano() && last != 0 || !r.mayRefresh() || !r.newsAt.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	r.o.Log.Debug("somebody has seen a longer log", "upstream", r.o.Domain, "length", s.Unverified().LogLength)
	r.startRefresh(r.refreshed.Load())
}
