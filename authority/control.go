package authority

import (
	"context"
	"errors"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// control is something that an operator asks for and only the sequencer may do: it
// comes between two batches, also while the registry is fenced.
type control struct {
	do   func() error
	done chan error // buffered
}

// command has the sequencer do something, and waits until it is done.
func (a *Authority) command(ctx context.Context, do func() error) error {
	c := &control{do, make(chan error, 1)}
	a.jobsMu.Lock()
	if a.closed {
		a.jobsMu.Unlock()
		return unavailable("this registry is stopping")
	}
	a.controls = append(a.controls, c)
	a.jobsMu.Unlock()
	a.poke()
	select {
	case err := <-c.done:
		return err
	case <-a.done:
		return unavailable("this registry is stopping")
	case <-ctx.Done():
		return ctx.Err() // it may be done all the same
	}
}

// runControls does what operators asked for. An error that is not about the request is
// final.
func (a *Authority) runControls() error {
	a.jobsMu.Lock()
	list := a.controls
	a.controls = nil
	a.jobsMu.Unlock()
	for _, c := range list {
		err := c.do()
		c.done <- err
		if err != nil && !errors.As(err, new(*warg.Error)) {
			return err
		}
	}
	return nil
}

// AcceptClock takes the operator's word that the clock, which is far ahead of what it
// should be, is right: the fence [FenceJump] opens, and a checkpoint of that time is
// signed, so that the next start does not ask again.
//
//	KindConflict  there is nothing to accept
func (a *Authority) AcceptClock(ctx context.Context) error {
	return a.command(ctx, func() error {
		f := a.fence.Load()
		if f == nil || f.Kind != FenceJump {
			return warg.Errorf(warg.KindConflict, "the clock is not what fences this registry")
		}
		now := a.o.Now()
		a.lastSeen = now
		a.openFence(f, "an operator vouches for the clock")
		if err := a.finishOpening(); err != nil || a.view.Load() == nil {
			return err
		}
		return a.signAgain(now)
	})
}

// reasonFrozen is why records are rejected that wait when the registry is frozen.
const reasonFrozen = "the registry was frozen before the content was received"

// Freeze ends the registry for good: what is complete is published, what waits for
// content is rejected, and no checkpoint follows any more. Reading goes on. There is no
// way back. A registry that is frozen already stays so.
//
//	KindConflict  the registry is fenced for another reason
func (a *Authority) Freeze(ctx context.Context) error {
	return a.command(ctx, func() error {
		switch f := a.fence.Load(); {
		case a.anchor.Frozen:
			return nil
		case f != nil:
			return warg.Errorf(warg.KindConflict, "the registry is fenced (%s) and cannot sign its last checkpoint", f.Kind)
		}
		a.setFence(FenceFrozen, "the registry is being frozen") // nothing new is taken in
		if err := a.drain(ctx); err != nil {
			return err
		}
		next := a.anchor
		next.Frozen = true
		if err := a.anchors.Swap(next, nil); err != nil {
			return err
		}
		a.anchor = next
		a.setFence(FenceFrozen, "the registry was frozen at length %d", next.Length())
		return nil
	})
}

// drainPause is how long to wait for submissions that are being made durable.
const drainPause = 5 * time.Millisecond

// drain settles everything that was accepted.
func (a *Authority) drain(ctx context.Context) error {
	for {
		if err := a.sequenceAll(); err != nil {
			return err
		}
		if a.mustStop() {
			return unavailable("another fence was raised while the registry was being frozen")
		}
		for s, _ := a.pool.expired(endOfTime); s != nil; s, _ = a.pool.expired(endOfTime) {
			if err := a.noteRejected(EndExpired, rejection{s, reasonFrozen}); err != nil {
				return err
			}
			if err := a.reject(s, EndExpired, reasonFrozen); err != nil {
				return err
			}
		}
		if pending, _ := a.pool.count(); pending == 0 {
			return nil
		}
		timer := time.NewTimer(drainPause)
		select {
		case <-timer.C:
		case <-a.wake:
		case <-ctx.Done():
			timer.Stop()
			return warg.Errorf(warg.KindUnavailable, "freezing: %w", ctx.Err())
		case <-a.stop:
			timer.Stop()
			return unavailable("this registry is stopping")
		}
		timer.Stop()
	}
}

// endOfTime is later than any record was accepted.
var endOfTime = time.Unix(1<<40, 0)
