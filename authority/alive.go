package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// alivePoll is how often Alive looks whether the sequencer has come round.
const alivePoll = 10 * time.Millisecond

// maxAnchor bounds what is read of the anchor's file, in bytes.
const maxAnchor = 64 << 10

// Alive fails unless the sequencer comes round before ctx ends, the index answers, and
// the anchor can be read. A fenced registry is alive.
func (a *Authority) Alive(ctx context.Context) error {
	if err := a.Err(); err != nil {
		return fmt.Errorf("the authority stopped: %w", err)
	}
	if err := a.comesRound(ctx); err != nil {
		return err
	}
	if a.index != nil {
		if _, _, err := a.index.Record(warg.RecordID{}); err != nil {
			return a.internal("asking the index", err)
		}
	}
	if a.noAnchor {
		return nil // fenced for want of an anchor
	}
	if _, err := durable.ReadFile(a.fs, a.anchors.Path(), maxAnchor); err != nil {
		return fmt.Errorf("reading the anchor: %w", err)
	}
	return nil
}

// comesRound waits until the sequencer has ended a turn, or something within one.
func (a *Authority) comesRound(ctx context.Context) error {
	tick := time.NewTicker(alivePoll)
	defer tick.Stop()
	for turns := a.turns.Load(); a.turns.Load() == turns; {
		a.poke()
		select {
		case <-tick.C:
		case <-a.done:
			return fmt.Errorf("the authority stopped: %w", a.err)
		case <-a.stop:
			return errors.New("the authority is closed")
		case <-ctx.Done():
			return fmt.Errorf("the sequencer does not come round: %w", ctx.Err())
		}
	}
	return nil
}
