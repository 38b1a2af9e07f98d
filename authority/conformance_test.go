package authority

import (
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// gate lets a test hold batches back.
type gate struct {
	mu   sync.Mutex
	held chan struct{} // nil = open
}

func (g *gate) step(name string) error {
	g.mu.Lock()
	held := g.held
	g.mu.Unlock()
	if held != nil && name == "batchTaken" {
		<-held
	}
	return nil
}

func (g *gate) hold() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	held := make(chan struct{})
	g.held = held
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.held = nil
		close(held)
	}
}

func subject(o func(t *testing.T) Options) func(t *testing.T) wargtest.Subject {
	return func(t *testing.T) wargtest.Subject {
		g := new(gate)
		opt := o(t)
		opt.Step, opt.Now = g.step, time.Now
		a := open(t, opt)
		must(t, a.ImportNamespace(t.Context(), wargtest.ImportedNamespace, wargtest.ImportedRegistry))
		return wargtest.Subject{
			Registry: a, Publisher: a, OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
			Imports: true, Wasm: true, Hold: g.hold,
		}
	}
}

func TestConformance(t *testing.T) {
	kinds := map[string]func(t *testing.T) Options{
		"memory": func(*testing.T) Options { return memoryOptions(durable.NewMemory(), newClock()) },
		"disk":   func(t *testing.T) Options { return diskOptions(t.TempDir(), newClock()) },
	}
	for name, o := range kinds {
		t.Run(name+"/registry", func(t *testing.T) { wargtest.TestRegistry(t, subject(o)) })
		t.Run(name+"/publisher", func(t *testing.T) { wargtest.TestPublisher(t, subject(o)) })
	}
}
