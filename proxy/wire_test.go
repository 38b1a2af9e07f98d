package proxy

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// overWire serves m, at the root or below a path, and returns a client of it.
func overWire(t *testing.T, m *wargtest.Memory, path, onBehalf string) *upstream.Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://%s%s", ln.Addr(), path)
	o := Options{Own: m, BaseURL: url}
	if onBehalf != "" {
		o.Own = wargtest.NewMemory(wargtest.Options{Domain: ownDomain})
		o.Upstreams = map[string]Upstream{onBehalf: known{m}}
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	client, err := upstream.NewClient(upstream.ClientOptions{
		Domain: m.Domain(), URL: url, OnBehalf: onBehalf, AllowPrivateAddresses: true, TempDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return client
}

// known is a memory registry in the place of a replica.
type known struct{ *wargtest.Memory }

func (known) NameOf(_ context.Context, log warg.LogID) (warg.PackageName, error) {
	return warg.PackageName{}, warg.NotFound(warg.KindLogNotFound, log)
}

// subjects are the ways to a registry through this server that must not make a
// difference.
func subjects() map[string]func(t *testing.T) wargtest.Subject {
	over := func(path, onBehalf string) func(t *testing.T) wargtest.Subject {
		return func(t *testing.T) wargtest.Subject {
			m := wargtest.NewMemory(wargtest.MemoryOptions())
			client := overWire(t, m, path, onBehalf)
			return wargtest.Subject{
				Registry: client, Publisher: client,
				OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(), Imports: true, Wasm: true, Hold: m.Hold,
			}
		}
	}
	return map[string]func(t *testing.T) wargtest.Subject{
		"at the root":  over("", ""),
		"below a path": over("/mount/point", ""),
	}
}

// TestWireIsARegistry: a client of this server over a registry is that registry.
func TestWireIsARegistry(t *testing.T) {
	for name, subject := range subjects() {
		t.Run(name, func(t *testing.T) { wargtest.TestRegistry(t, subject) })
	}
	t.Run("on behalf of another", func(t *testing.T) {
		wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
			m := wargtest.NewMemory(wargtest.MemoryOptions())
			return wargtest.Subject{
				Registry: overWire(t, m, "", m.Domain()), Publisher: m,
				OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(), Imports: true, Wasm: true, Hold: m.Hold,
			}
		})
	})
}

// TestWireIsAPublisher is the same for publishing.
func TestWireIsAPublisher(t *testing.T) {
	for name, subject := range subjects() {
		t.Run(name, func(t *testing.T) { wargtest.TestPublisher(t, subject) })
	}
}
