package peering

import (
	"context"
	"time"
)

// backOff is how long to wait for a peer that does not answer. The zero value is one
// that was not asked yet.
type backOff struct {
	pause time.Duration // the last one, before its spread
	until time.Time     // when it may be asked again, for those who do not sleep meanwhile
}

// next returns the next pause: twice the last, up to [longestPause].
func (b *backOff) next(chance func(time.Duration) time.Duration) time.Duration {
	b.pause = max(firstPause, min(2*b.pause, longestPause))
	return spread(b.pause, chance)
}

// spread makes a pause up to a quarter shorter or longer, so that peers that were
// started together do not ask together for ever.
func spread(d time.Duration, chance func(time.Duration) time.Duration) time.Duration {
	return d*3/4 + chance(d/2)
}

// sooner makes a pause up to a quarter shorter, for the same reason, and never longer,
// because it is a promise.
func sooner(d time.Duration, chance func(time.Duration) time.Duration) time.Duration {
	return d - chance(max(d/4, 1))
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
