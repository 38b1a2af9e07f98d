package authority

import (
	"context"
	"fmt"
	"iter"

	"github.com/entrepot/entrepot/warg"
)

// Checkpoints returns the checkpoints that were issued, beyond a length, by ascending
// length: of each length the one that was signed last. Where the history cannot be
// read there are none.
func (a *Authority) Checkpoints(ctx context.Context, after uint64) iter.Seq2[warg.SignedCheckpoint, error] {
	return func(yield func(warg.SignedCheckpoint, error) bool) {
		if a.history == nil {
			return
		}
		_, place, ok, err := a.history.Find(after)
		if err != nil {
			yield(warg.SignedCheckpoint{}, fmt.Errorf("reading the history of checkpoints: %w", err))
			return
		}
		if ok {
			place++
		}
		var last warg.SignedCheckpoint
		for ; place < a.history.Len(); place++ {
			next, err := a.history.At(place)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(warg.SignedCheckpoint{}, fmt.Errorf("reading the history of checkpoints: %w", err))
				return
			}
			if !last.IsZero() && last.Unverified().LogLength != next.Unverified().LogLength && !yield(last, nil) {
				return
			}
			last = next
		}
		if !last.IsZero() {
			yield(last, nil)
		}
	}
}
