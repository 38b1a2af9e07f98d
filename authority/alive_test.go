package authority

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

// TestAlive: a registry is alive while its sequencer comes round, however busy it is, and
// while its anchor can be read.
func TestAlive(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	a := open(t, memoryOptions(m, c))
	must(t, a.Alive(t.Context()))
	must(t, m.Remove("/data/authority/anchor"))
	if err := a.Alive(t.Context()); err == nil {
		t.Error("without its anchor it is alive")
	}
	must(t, a.Close())
	if err := a.Alive(t.Context()); err == nil {
		t.Error("closed it is alive")
	}

	o := memoryOptions(durable.NewMemory(), c)
	o.byHand = true
	a = open(t, o)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := a.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a sequencer that does not come round: %v", err)
	}
	before := a.turns.Load()
	_, r := first("test:busy", nil)
	publish(t, a, r)
	turn(t, a)
	if a.turns.Load() == before {
		t.Error("a batch within a turn is no sign of life")
	}
}
