package upstream

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/upstream/memstore"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

type memStore = memstore.Store

func newMemStore() *memStore { return memstore.New() }

// clock is a clock that moves when it is told to. It begins after the checkpoints
// of a wargtest.Memory.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1_700_100_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// tap stands between a replica and an honest transport. It counts calls and lets a
// test change or refuse any answer.
type tap struct {
	Transport
	mu    sync.Mutex
	calls map[string]int
	down  error // every call fails with it

	checkpoint  func(warg.View) warg.View
	logs        func(warg.LogsRequest, *warg.LogsPage)
	names       func([]warg.LogID, []warg.PackageName)
	ledger      func(start uint64, page []byte) []byte
	consistency func([]byte) []byte
	content     func([]byte) []byte
	before      func(ctx context.Context, call string) error
}

func newTap(t Transport) *tap { return &tap{Transport: t, calls: map[string]int{}} }

func (t *tap) enter(ctx context.Context, call string) error {
	t.mu.Lock()
	t.calls[call]++
	down, before := t.down, t.before
	t.mu.Unlock()
	if before != nil {
		if err := before(ctx, call); err != nil {
			return err
		}
	}
	return down
}

func (t *tap) setDown(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = err
}

func (t *tap) count(call string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls[call]
}

func (t *tap) total() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, c := range t.calls {
		n += c
	}
	return n
}

func (t *tap) Checkpoint(ctx context.Context) (warg.View, error) {
	if err := t.enter(ctx, "checkpoint"); err != nil {
		return warg.View{}, err
	}
	v, err := t.Transport.Checkpoint(ctx)
	if err == nil && t.checkpoint != nil {
		v = t.checkpoint(v)
	}
	return v, err
}

func (t *tap) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	if err := t.enter(ctx, "logs"); err != nil {
		return warg.LogsPage{}, err
	}
	page, err := t.Transport.Logs(ctx, req)
	if err == nil && t.logs != nil {
		t.logs(req, &page)
	}
	return page, err
}

func (t *tap) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	if err := t.enter(ctx, "names"); err != nil {
		return nil, err
	}
	names, err := t.Transport.Names(ctx, ids)
	if err == nil && t.names != nil {
		t.names(ids, names)
	}
	return names, err
}

func (t *tap) Ledger(ctx context.Context, start uint64, max int) ([]byte, error) {
	if err := t.enter(ctx, "ledger"); err != nil {
		return nil, err
	}
	page, err := t.Transport.Ledger(ctx, start, max)
	if err == nil && t.ledger != nil {
		page = t.ledger(start, page)
	}
	return page, err
}

func (t *tap) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	if err := t.enter(ctx, "consistency"); err != nil {
		return nil, err
	}
	proof, err := t.Transport.Consistency(ctx, from, to)
	if err == nil && t.consistency != nil {
		proof = t.consistency(proof)
	}
	return proof, err
}

func (t *tap) Fetch(ctx context.Context, d warg.Digest, keep func(io.Reader, int64) error) error {
	if err := t.enter(ctx, "content"); err != nil {
		return err
	}
	return t.Transport.Fetch(ctx, d, func(body io.Reader, size int64) error {
		if t.content == nil {
			return keep(body, size)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		return keep(strings.NewReader(string(t.content(b))), size)
	})
}

// world is an upstream registry, a replica of it, and everything around.
type world struct {
	t       *testing.T
	up      *wargtest.Memory
	tap     *tap
	store   Store
	clock   *clock
	dir     string
	options Options
	replica *Replica
	pkgs    map[string]*wargtest.Package
}

// newWorld makes a registry with the namespace test and a replica of it, which has
// not asked for anything yet.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}}))
}

func newWorldOf(t *testing.T, up *wargtest.Memory) *world {
	t.Helper()
	w := &world{t: t, up: up, store: newMemStore(), clock: newClock(), dir: t.TempDir(), pkgs: map[string]*wargtest.Package{}}
	w.tap = newTap(Adapt(up))
	w.options = Options{
		Domain: "up.example", Transport: w.tap, Store: w.store,
		OperatorKey: wargtest.Alice().Public().ID(),
		Dir:         filepath.Join(w.dir, "upstreams", "up.example"),
		EvidenceDir: filepath.Join(w.dir, "evidence"),
		TempDir:     w.dir,
		Now:         w.clock.now,
	}
	w.open()
	t.Cleanup(func() { w.replica.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	r, err := Open(w.t.Context(), w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.replica = r
}

// restart closes the replica and opens it again.
func (w *world) restart() {
	w.t.Helper()
	w.replica.Close()
	w.open()
}

// publish publishes a release, or the first records of a package, upstream.
func (w *world) publish(name, version string) []byte {
	w.t.Helper()
	return publishTo(w.t, w.up, w.pkgs, name, version)
}

func publishTo(t *testing.T, up *wargtest.Memory, pkgs map[string]*wargtest.Package, name, version string) []byte {
	t.Helper()
	content := wargtest.Component(name + " " + version)
	entries := []pkglog.Entry{wargtest.Release(version, content)}
	p, ok := pkgs[name]
	if !ok {
		p = wargtest.NewPackage(name)
		pkgs[name] = p
		entries = append([]pkglog.Entry{wargtest.Init(wargtest.Bob())}, entries...)
	}
	submit(t, up, p.Request(p.Next(wargtest.Bob(), entries...)), content)
	return content
}

func submit(t *testing.T, up *wargtest.Memory, req warg.PublishRequest, content []byte) {
	t.Helper()
	status, err := up.Publish(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range status.Missing {
		if err := up.Upload(t.Context(), req.LogID, status.RecordID, d, strings.NewReader(string(content))); err != nil {
			t.Fatal(err)
		}
	}
	if status, err = up.Record(t.Context(), req.LogID, status.RecordID); err != nil || status.State != warg.StatePublished {
		t.Fatalf("published: %v %v", status, err)
	}
}

// refresh refreshes and demands that it works.
func (w *world) refresh() {
	w.t.Helper()
	if err := w.replica.Refresh(w.t.Context()); err != nil {
		w.t.Fatalf("refresh: %v", err)
	}
}

// length returns the length that is served, or 0.
func (w *world) length() uint64 {
	if v := w.replica.view.Load(); v != nil {
		return v.cp.LogLength
	}
	return 0
}

// fetch asks the replica for a package's records at the served length.
func (w *world) fetch(name string) ([]warg.Record, error) {
	page, err := w.replica.Logs(w.t.Context(), warg.LogsRequest{
		LogLength: w.length(),
		Packages:  []warg.LogCursor{{LogID: wargtest.Name(name).LogID()}},
	})
	if err != nil {
		return nil, err
	}
	return page.Packages[0].Records, nil
}
