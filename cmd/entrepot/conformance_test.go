package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/uploads"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
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
	return servedOn(t, l, proxy.Options{Own: own, Upstreams: upstreams})
}

func servedOn(t *testing.T, l net.Listener, o proxy.Options) string {
	t.Helper()
	base := "http://" + l.Addr().String()
	o.BaseURL, o.Log = base, slog.New(slog.DiscardHandler)
	s, err := proxy.New(o)
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
	return openReplica(t, upstream.Options{Transport: c, Domain: c.Domain()})
}

// openReplica opens a replica with what the options do not say.
func openReplica(t *testing.T, o upstream.Options) *upstream.Replica {
	t.Helper()
	folder := t.TempDir()
	store, err := cache.Open(cache.Options{Dir: filepath.Join(folder, cacheDir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, store) })
	part, err := store.Registry(o.Domain)
	if err != nil {
		t.Fatal(err)
	}
	o.Store, o.OperatorKey, o.TempDir = part, wargtest.Alice().Public().ID(), folder
	o.Dir, o.EvidenceDir = filepath.Join(folder, upstreamsDir), filepath.Join(folder, evidenceDir)
	o.MaxAge = cmp.Or(o.MaxAge, time.Millisecond)
	r, err := upstream.Open(t.Context(), o)
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
	// Nobody tells the server in front to look for news: what was published through it
	// is there.
	through := func(t *testing.T) wargtest.Subject {
		a := newAuthority(t)
		c := clientOf(t, served(t, a, nil), "own.example", "")
		folder := t.TempDir()
		book, err := uploads.Open(uploads.Options{KeyFile: filepath.Join(folder, capabilityFile), File: filepath.Join(folder, uploadsFile)})
		if err != nil {
			t.Fatal(err)
		}
		r := openReplica(t, upstream.Options{Domain: "own.example", Transport: c, Publishing: c, Offers: book, MaxAge: time.Hour})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := servedOn(t, l, proxy.Options{
			Own:       wargtest.NewMemory(wargtest.Options{Domain: "front.example", Key: wargtest.Bob()}),
			Upstreams: map[string]proxy.Upstream{"own.example": r},
			Uploads:   uploadDesk{book, map[string]*upstream.Replica{"own.example": r}},
		})
		front := clientOf(t, base, "own.example", "own.example")
		return wargtest.Subject{
			Registry: front, Publisher: siteClient{front, base}, OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
			Imports: true, Restarts: true, Wasm: true,
		}
	}
	t.Run("client of proxy that publishes through to an authority/registry", func(t *testing.T) { wargtest.TestRegistry(t, through) })
	t.Run("client of proxy that publishes through to an authority/publisher", func(t *testing.T) { wargtest.TestPublisher(t, through) })
}

// siteClient uploads where the state of a record says, as real clients do.
type siteClient struct {
	*upstream.Client
	base string
}

func (c siteClient) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, d warg.Digest, body io.Reader) error {
	status, err := c.Record(ctx, log, id)
	if err != nil {
		return err
	}
	if sites := status.Uploads[d]; len(sites) > 0 {
		return c.UploadTo(ctx, sites[0], body)
	}
	// Nothing was offered for it. Who names the registry can try all the same.
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+api.PathUpload(log, id, d), body)
	if err != nil {
		return err
	}
	r.Header.Set(api.HeaderRegistry, c.Domain())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode == http.StatusCreated {
		return err
	}
	return api.ParseError(api.FamilyPackage, answer.StatusCode, text)
}
