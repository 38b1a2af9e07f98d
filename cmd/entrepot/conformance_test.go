package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// newAuthority opens an authority that the suites can fill.
func newAuthority(t *testing.T) *authority.Authority {
	t.Helper()
	folder := t.TempDir()
	a, err := authority.Open(t.Context(), authority.Options{
		Dir: filepath.Join(folder, authorityDir), ContentDir: filepath.Join(folder, contentDir),
		Domain: "own.example", Key: wargtest.Alice(), Namespaces: []string{wargtest.DefinedNamespace},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, a) })
	if err := a.ImportNamespace(t.Context(), wargtest.ImportedNamespace, wargtest.ImportedRegistry); err != nil {
		t.Fatal(err)
	}
	return a
}

func closed(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// served serves registries on loopback and returns the base URL.
func served(t *testing.T, own proxy.Own, upstreams map[string]proxy.Upstream) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	s, err := proxy.New(proxy.Options{Own: own, Upstreams: upstreams, BaseURL: base, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return base
}

func clientOf(t *testing.T, base, domain, onBehalf string) *upstream.Client {
	t.Helper()
	c, err := upstream.NewClient(upstream.ClientOptions{
		Domain: domain, URL: base, OnBehalf: onBehalf, AllowPrivateAddresses: true, TempDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func replicaOf(t *testing.T, c *upstream.Client) *upstream.Replica {
	t.Helper()
	folder := t.TempDir()
	store, err := cache.Open(cache.Options{Dir: filepath.Join(folder, cacheDir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, store) })
	part, err := store.Registry(c.Domain())
	if err != nil {
		t.Fatal(err)
	}
	r, err := upstream.Open(t.Context(), upstream.Options{
		Domain: c.Domain(), Transport: c, Store: part, OperatorKey: wargtest.Alice().Public().ID(),
		MaxAge: time.Millisecond, Dir: filepath.Join(folder, upstreamsDir), EvidenceDir: filepath.Join(folder, evidenceDir),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, r) })
	return r
}

// The whole way there and back: what an authority promises holds for a client that
// reaches it over HTTP, for a replica of it, and for a client that asks another
// server to answer on its behalf.
func TestConformance(t *testing.T) {
	direct := func(t *testing.T) wargtest.Subject {
		a := newAuthority(t)
		c := clientOf(t, served(t, a, nil), "own.example", "")
		return wargtest.Subject{
			Registry: c, Publisher: c, OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
			Imports: true, Wasm: true,
		}
	}
	t.Run("client of proxy of authority/registry", func(t *testing.T) { wargtest.TestRegistry(t, direct) })
	t.Run("client of proxy of authority/publisher", func(t *testing.T) { wargtest.TestPublisher(t, direct) })

	t.Run("replica of proxy of authority", func(t *testing.T) {
		wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
			a := newAuthority(t)
			r := replicaOf(t, clientOf(t, served(t, a, nil), "own.example", ""))
			return wargtest.Subject{
				Registry: r, Publisher: a, Sync: r.Refresh, OperatorKey: wargtest.Alice().Public(),
				OperatorSecret: wargtest.Alice(), Restarts: true, Wasm: true,
			}
		})
	})
	t.Run("client of proxy of replica of proxy of authority", func(t *testing.T) {
		wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
			a := newAuthority(t)
			r := replicaOf(t, clientOf(t, served(t, a, nil), "own.example", ""))
			other := wargtest.NewMemory(wargtest.Options{Domain: "front.example", Key: wargtest.Bob()})
			front := served(t, other, map[string]proxy.Upstream{"own.example": r})
			return wargtest.Subject{
				Registry: clientOf(t, front, "own.example", "own.example"), Publisher: a, Sync: r.Refresh,
				OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(), Restarts: true, Wasm: true,
			}
		})
	})
}
