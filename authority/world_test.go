package authority

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a clock that stands still until it is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// memoryOptions are the options of a registry in a file system in memory.
func memoryOptions(fsys durable.FS, c *clock) Options {
	return Options{
		Dir: "/data/authority", ContentDir: "/data/content",
		Domain: "registry.example", Key: wargtest.Alice(), Namespaces: []string{wargtest.DefinedNamespace},
		FS: fsys, Index: index.InMemory(new(kv.Memory)), Now: c.Now,
		segments: segment.Dir{Grow: 4 << 10, Max: 16 << 10},
	}
}

// diskOptions are the options of a registry on disk.
func diskOptions(dir string, c *clock) Options {
	o := memoryOptions(durable.OS{}, c)
	o.Dir, o.ContentDir, o.Index = dir+"/authority", dir+"/content", nil
	return o
}

func open(t testing.TB, o Options) *Authority {
	t.Helper()
	a, err := Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { _ = a.Close() })
	if s := a.Status(); s.State != "ok" {
		t.Fatalf("opened as %+v, %+v", s, s.Fence)
	}
	return a
}

// first returns the request for the first record of a package, with a release of
// content if there is any.
func first(name string, content []byte) (*wargtest.Package, warg.PublishRequest) {
	p := wargtest.NewPackage(name)
	return p, p.Request(firstRecord(p, content))
}

func firstRecord(p *wargtest.Package, content []byte) warg.Envelope {
	entries := []pkglog.Entry{wargtest.Init(wargtest.Bob())}
	if content != nil {
		entries = append(entries, wargtest.Release("1.0.0", content))
	}
	return p.Next(wargtest.Bob(), entries...)
}

func publish(t testing.TB, a *Authority, req warg.PublishRequest) warg.RecordStatus {
	t.Helper()
	st, err := a.Publish(t.Context(), req)
	must(t, err)
	return st
}

func upload(t testing.TB, a *Authority, req warg.PublishRequest, content []byte) {
	t.Helper()
	must(t, a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum(content), strings.NewReader(string(content))))
}

func settled(t testing.TB, a *Authority, req warg.PublishRequest) warg.RecordStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := a.Settled(ctx, req.LogID, req.Record.PackageRecordID())
	must(t, err)
	return st
}

func isKind(err error, k warg.Kind) bool { return errors.Is(err, &warg.Error{Kind: k}) }

func length(t testing.TB, a *Authority) uint64 {
	t.Helper()
	v, err := a.Checkpoint(t.Context())
	must(t, err)
	return v.Checkpoint.LogLength
}
