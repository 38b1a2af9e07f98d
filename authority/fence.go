package authority

import (
	"errors"
	"fmt"
	"time"

	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/warg"
)

// FenceKind says why an authority does not sign.
type FenceKind string

// The kinds of fences.
const (
	// FenceClock: the clock is behind the last checkpoint. Ends by itself when it
	// has caught up. Reading goes on.
	FenceClock FenceKind = "clock"
	// FenceJump: the clock is far ahead of what it should be. Reading goes on.
	FenceJump FenceKind = "clock jump"
	// FenceFrozen: the registry is frozen for good. Reading goes on.
	FenceFrozen FenceKind = "frozen"
	// FencePeers: a peer that may have seen more than we know was not heard yet. Only
	// records and content are served. Ends by itself when all were heard.
	FencePeers FenceKind = "peers"
	// FenceBehind: it is not certain that nothing newer was ever issued. Only
	// records and content are served.
	FenceBehind FenceKind = "behind"
)

// Fence says that an authority does not sign, and why.
type Fence struct {
	Kind   FenceKind
	Reason string // for the operator
}

// reading reports whether checkpoints, logs and proofs are served.
func (f *Fence) reading() bool {
	return f == nil || f.Kind != FenceBehind && f.Kind != FencePeers
}

// rank orders fences: one never takes the place of one of a higher rank.
func (k FenceKind) rank() int {
	switch k {
	case FenceBehind:
		return 3
	case FenceFrozen:
		return 2
	case FencePeers:
		return 1
	}
	return 0
}

// setFence raises a fence, unless there is one that says more: that the clock is behind
// must not open what is closed because the registry may be.
func (a *Authority) setFence(kind FenceKind, format string, args ...any) {
	f := &Fence{kind, fmt.Sprintf(format, args...)}
	for old := a.fence.Load(); ; old = a.fence.Load() {
		if old != nil && old.Kind.rank() > kind.rank() {
			return
		}
		if a.fence.CompareAndSwap(old, f) {
			break
		}
	}
	a.counts.fences.Add(1)
	a.o.Log.Error("authority is fenced", "kind", string(kind), "reason", f.Reason)
	_ = a.note(trail.Event{Kind: trail.Fenced, Fence: string(kind), Reason: f.Reason}) // who opened the log sees that it failed
}

// openFence lets a registry go on, unless another fence was raised meanwhile.
func (a *Authority) openFence(f *Fence, why string) {
	if !a.fence.CompareAndSwap(f, nil) {
		return
	}
	a.o.Log.Info("authority is no longer fenced", "kind", string(f.Kind), "reason", why)
	_ = a.note(trail.Event{Kind: trail.Unfenced, Fence: string(f.Kind), Reason: why})
}

// checkClock raises and clears the fences that have to do with the clock.
func (a *Authority) checkClock(now time.Time) {
	v := a.view.Load()
	if v == nil {
		return
	}
	head := time.Unix(int64(v.Checkpoint.Timestamp), 0)
	f := a.fence.Load()
	behind := now.Before(head.Add(-maxBehind))
	switch {
	case behind && f == nil:
		a.setFence(FenceClock, "the clock says %s, the last checkpoint was signed at %s",
			now.UTC().Format(time.RFC3339), head.UTC().Format(time.RFC3339))
	case !behind && f != nil && f.Kind == FenceClock:
		a.openFence(f, "the clock has caught up")
	}
}

// checkJump raises a fence if the wall clock has left the monotonic one by so much
// that a timestamp signed now could lock the registry out of its own future. last
// is an earlier reading.
func (a *Authority) checkJump(last, now time.Time) {
	wall, real := now.Round(0).Sub(last.Round(0)), now.Sub(last)
	if jump := wall - real; jump > maxJump && a.fence.Load() == nil {
		a.setFence(FenceJump, "the clock jumped ahead by %s", jump.Round(time.Second))
	}
}

// writable returns an error unless records and content can be taken in now.
func (a *Authority) writable() error {
	now := a.o.Now()
	a.checkClock(now)
	if f := a.fence.Load(); f != nil {
		return unavailable("this registry does not accept records at present: it is fenced (%s)", f.Kind)
	}
	if a.failed() {
		return unavailable("this registry is stopping")
	}
	if !a.space.Enough(now) || !a.room(admissionRoom) || a.o.Audit.Behind() {
		return &warg.Error{Kind: warg.KindNoSpace, Message: "no space left on this registry", RetryAfter: retryAfter}
	}
	return nil
}

// roomForBatch reports whether a batch would meet the end of no disk: a lack of space in
// the middle of one is final.
func (a *Authority) roomForBatch() bool { return a.room(batchRoom) }

// room reports whether there is room for so many bytes, and for what the index needs.
func (a *Authority) room(bytes uint64) bool {
	if !a.space.Room(bytes) {
		return false
	}
	err := a.index.Room()
	if err != nil {
		a.o.Log.Debug("no room for a batch", "error", err)
	}
	return err == nil
}

// readable returns the view that readers see, or an error if they must not.
func (a *Authority) readable() (*warg.View, error) {
	v := a.view.Load()
	if f := a.fence.Load(); v == nil || !f.reading() {
		return nil, unavailable("this registry cannot say at present what its newest checkpoint is")
	}
	return v, nil
}

// orBehind returns what is answered instead of "not found" where more may have been
// published than is known here: nothing that can be relied on.
func (a *Authority) orBehind(err error) error {
	if a.fence.Load().reading() {
		return err
	}
	for _, k := range []warg.Kind{warg.KindLogNotFound, warg.KindRecordNotFound, warg.KindContentNotFound} {
		if errors.Is(err, &warg.Error{Kind: k}) {
			return unavailable("this registry may not know at present all that it published: %w", err)
		}
	}
	return err
}

func unavailable(format string, args ...any) error {
	e := warg.Errorf(warg.KindUnavailable, format, args...)
	e.RetryAfter = retryAfter
	return e
}
