package monitor

import (
	"context"
	"fmt"
	"time"
)

const (
	// maxPause is the longest pause after failures, unless the interval is longer.
	maxPause = time.Hour
	// spread is by which part a pause is longer or shorter at random, so that many
	// monitors do not ask at the same time.
	spread = 0.1
)

// ForkError says that the registry was convicted.
type ForkError struct {
	Registry string
	Evidence string // path of the file
	Reason   string
}

// Error names the file.
func (e *ForkError) Error() string {
	return fmt.Sprintf("registry %s contradicts itself: %s; evidence: %s", e.Registry, e.Reason, e.Evidence)
}

// Watch looks at the registry again and again until ctx ends, which is no error, or
// the registry was convicted, which is a [*ForkError]. Show is called for the first
// look and for every one that shows another checkpoint or comes to something else
// than the one before it.
func (w *Watcher) Watch(ctx context.Context, show func(Report)) error {
	var last Report
	for failures := 0; ; {
		r, err := w.Look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if news(last, r) {
			show(r)
		}
		if last = r; r.Evidence != "" {
			return &ForkError{r.Registry, r.Evidence, r.Message}
		}
		if failures++; r.Status != StatusRefused && r.Status != StatusUnreachable {
			failures = 0
		}
		if w.o.Sleep(ctx, w.pause(failures)); ctx.Err() != nil {
			return nil
		}
	}
}

// news reports whether a report says something that the one before did not: another
// checkpoint, or another end of the same story.
func news(before, now Report) bool {
	return before.fine() != now.fine() || !now.fine() && (before.Status != now.Status || before.Message != now.Message) ||
		before.LogLength != now.LogLength || before.LogRoot != now.LogRoot || before.MapRoot != now.MapRoot ||
		before.Timestamp != now.Timestamp || before.KeyID != now.KeyID || before.Evidence != now.Evidence
}

// fine reports whether the checkpoint fits.
func (r Report) fine() bool {
	return r.Status == StatusConsistent || r.Status == StatusUnchanged || r.Status == StatusOld
}

// pause is how long to wait: about the interval, and twice as long after each failure.
func (w *Watcher) pause(failures int) time.Duration {
	longest := max(maxPause, w.o.Interval)
	d := w.o.Interval
	for ; failures > 1 && d < longest; failures-- {
		d *= 2
	}
	jitter := 1 + spread*(2*w.o.Random()-1)
	return time.Duration(float64(min(d, longest)) * jitter)
}
