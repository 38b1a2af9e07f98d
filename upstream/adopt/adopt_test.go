package adopt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// source is a registry in memory that stands for a replica. Anything can be made to
// fail.
type source struct {
	*wargtest.Memory
	mu      sync.Mutex
	down    error                 // of Refresh
	names   map[warg.LogID]error  // of Names, for requests with that log
	logs    map[warg.LogID]error  // of Logs, for requests with that log
	content map[warg.Digest]error // of Stat
	calls   map[string]int
}

func (s *source) count(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call]++
}

func (s *source) Refresh(context.Context) error {
	s.count("refresh")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *source) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *source) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	s.count("names")
	for _, id := range ids {
		if err := s.names[id]; err != nil {
			return nil, err
		}
	}
	return s.Memory.Names(ctx, ids)
}

func (s *source) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	s.count("logs")
	for _, c := range req.Packages {
		if err := s.logs[c.LogID]; err != nil {
			return warg.LogsPage{}, err
		}
	}
	return s.Memory.Logs(ctx, req)
}

func (s *source) Stat(ctx context.Context, d warg.Digest) (warg.ContentInfo, error) {
	s.count("content")
	if err := s.content[d]; err != nil {
		return warg.ContentInfo{}, err
	}
	return s.Memory.Stat(ctx, d)
}

// world is a registry with packages, ours that adopts some of them, and what keeps the
// two in step.
type world struct {
	t      *testing.T
	up     *source
	own    *authority.Authority
	keeper *Keeper
	pkgs   map[string]*wargtest.Package
	later  atomic.Int64 // what has been added to the clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, pkgs: map[string]*wargtest.Package{},
		up: &source{
			Memory: wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"one", "two", "other"}}),
			names:  map[warg.LogID]error{}, logs: map[warg.LogID]error{}, content: map[warg.Digest]error{}, calls: map[string]int{},
		},
	}
	own, err := authority.Open(t.Context(), authority.Options{
		Dir: "/data/authority", ContentDir: "/data/content", Domain: "own.example", Key: wargtest.Alice(),
		Adopt: map[string]string{"one": "up.example", "two": "up.example"}, Policy: &authority.Policy{},
		FS: durable.NewMemory(), Index: index.InMemory(new(kv.Memory)), Now: w.now,
	})
	must(t, err)
	t.Cleanup(func() { must(t, own.Close()) })
	w.own = own
	w.restart()
	return w
}

func (w *world) now() time.Time {
	return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Add(time.Duration(w.later.Load()))
}

// restart begins with a keeper that remembers nothing.
func (w *world) restart() {
	w.keeper = New(Options{Source: w.up, Own: w.own, Namespaces: []string{"one", "two"}, Now: w.now})
}

func content(name, version string) []byte { return wargtest.Component(name + " " + version) }

// publish publishes a release, or other entries, upstream.
func (w *world) publish(name string, entries ...pkglog.Entry) {
	w.t.Helper()
	p, ok := w.pkgs[name]
	if !ok {
		p = wargtest.NewPackage(name)
		w.pkgs[name] = p
		entries = append([]pkglog.Entry{wargtest.Init(wargtest.Bob())}, entries...)
	}
	req := p.Request(p.Next(wargtest.Bob(), entries...))
	status, err := w.up.Publish(w.t.Context(), req)
	must(w.t, err)
	for _, e := range entries {
		release, ok := e.(pkglog.Release)
		if !ok {
			continue
		}
		must(w.t, w.up.Upload(w.t.Context(), req.LogID, status.RecordID, status.Missing[0], bytes.NewReader(content(name, release.Version.String()))))
	}
}

func (w *world) release(name, version string) {
	w.t.Helper()
	w.publish(name, wargtest.Release(version, content(name, version)))
}

func (w *world) pass() {
	w.t.Helper()
	must(w.t, w.keeper.Pass(w.t.Context()))
}

func fetch(t *testing.T, r warg.Registry, name string) []warg.Record {
	t.Helper()
	v, err := r.Checkpoint(t.Context())
	must(t, err)
	page, err := r.Logs(t.Context(), warg.LogsRequest{LogLength: v.Checkpoint.LogLength, Limit: warg.MaxFetchLimit, Packages: []warg.LogCursor{{LogID: wargtest.Name(name).LogID()}}})
	if errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		return nil
	}
	must(t, err)
	return page.Packages[0].Records
}

// inStep fails unless our log of a package is the first n records of upstream's, byte
// for byte.
func (w *world) inStep(name string, n int) {
	w.t.Helper()
	ours, theirs := fetch(w.t, w.own, name), fetch(w.t, w.up.Memory, name)
	if len(ours) != n || len(theirs) < n {
		w.t.Errorf("%s: %d of %d records are here, want %d", name, len(ours), len(theirs), n)
		return
	}
	for i, r := range ours {
		if !bytes.Equal(r.Content, theirs[i].Content) || r.KeyID != theirs[i].KeyID || r.Signature != theirs[i].Signature {
			w.t.Errorf("%s: record %d is another one", name, i)
		}
	}
}

func (w *world) has(name, version string) bool {
	c, err := w.own.Open(w.t.Context(), warg.Sum(content(name, version)))
	if errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		return false
	}
	must(w.t, err)
	b, err := io.ReadAll(c)
	must(w.t, errors.Join(err, c.Close()))
	return bytes.Equal(b, content(name, version))
}

func TestKeepInStep(t *testing.T) {
	w := newWorld(t)
	w.pass() // nothing there yet
	w.release("one:a", "1.0.0")
	w.release("two:b", "1.0.0")
	w.release("other:c", "1.0.0")
	w.release("one:a", "1.1.0")
	w.pass()
	w.inStep("one:a", 2)
	w.inStep("two:b", 1)
	if got := fetch(t, w.own, "other:c"); got != nil || w.has("other:c", "1.0.0") {
		t.Error("a package of another namespace was adopted")
	}
	for _, v := range []string{"1.0.0", "1.1.0"} {
		if !w.has("one:a", v) {
			t.Errorf("the content of %s is not here", v)
		}
	}
	w.publish("one:a", wargtest.Yank("1.0.0"))
	w.publish("two:b", wargtest.Grant(wargtest.Alice().Public(), pkglog.PermissionRelease))
	w.release("one:new", "0.1.0")
	w.pass()
	w.inStep("one:a", 3)
	w.inStep("two:b", 2)
	w.inStep("one:new", 1)

	calls := w.up.calls["logs"] + w.up.calls["names"] + w.up.calls["content"]
	length, err := w.own.Checkpoint(t.Context())
	must(t, err)
	w.pass()
	if n := w.up.calls["logs"] + w.up.calls["names"] + w.up.calls["content"]; n != calls {
		t.Errorf("%d calls although nothing is new", n-calls)
	}
	w.restart()
	w.pass()
	w.inStep("one:a", 3)
	if again, err := w.own.Checkpoint(t.Context()); err != nil || again.Checkpoint.LogLength != length.Checkpoint.LogLength {
		t.Errorf("something was adopted twice: %+v, %v", again.Checkpoint, err)
	}
	view, err := w.up.Checkpoint(t.Context())
	must(t, err)
	if s := w.keeper.Status(); s != (Status{Length: view.Checkpoint.LogLength}) {
		t.Errorf("status %+v", s)
	}
}

// TestLongLog: more records than are read at a time.
func TestLongLog(t *testing.T) {
	w := newWorld(t)
	w.release("one:long", "1.0.0")
	key := wargtest.Alice().Public()
	for range warg.MaxFetchLimit / 2 {
		w.publish("one:long", wargtest.Grant(key, pkglog.PermissionYank))
		w.publish("one:long", wargtest.Revoke(key.ID(), pkglog.PermissionYank))
	}
	w.pass()
	if w.own.Status().Length != w.up.length(t)+1 { // both namespaces are defined in one record, and upstream's three in one
		t.Errorf("%d records are here, %d there", w.own.Status().Length, w.up.length(t))
	}
}

func (s *source) length(t *testing.T) uint64 {
	v, err := s.Checkpoint(t.Context())
	must(t, err)
	return v.Checkpoint.LogLength
}

// TestAbsentContent: what upstream does not have blocks nothing, and comes later.
func TestAbsentContent(t *testing.T) {
	w := newWorld(t)
	w.release("one:a", "1.0.0")
	w.release("one:a", "1.1.0")
	gone := warg.Sum(content("one:a", "1.0.0"))
	w.up.content[gone] = warg.NotFound(warg.KindContentNotFound, gone)
	w.pass()
	w.inStep("one:a", 2)
	if w.has("one:a", "1.0.0") || !w.has("one:a", "1.1.0") {
		t.Error("the wrong content is here")
	}
	if s := w.keeper.Status(); s.Absent != 1 || s.Open != 0 {
		t.Errorf("status %+v", s)
	}
	delete(w.up.content, gone)
	w.pass()
	if w.has("one:a", "1.0.0") {
		t.Error("it was asked for again at once")
	}
	w.later.Add(int64(retryAbsent))
	w.pass()
	if s := w.keeper.Status(); !w.has("one:a", "1.0.0") || s.Absent != 0 {
		t.Errorf("it is there now: %+v", s)
	}

	// What was not there when the process ended is looked for by the next one.
	w.release("one:b", "1.0.0")
	lost := warg.Sum(content("one:b", "1.0.0"))
	w.up.content[lost] = warg.NotFound(warg.KindContentNotFound, lost)
	w.pass()
	delete(w.up.content, lost)
	w.restart()
	w.pass()
	if !w.has("one:b", "1.0.0") {
		t.Error("a start does not look for content that is missing")
	}
}

// TestTroubleIsContained: what cannot be had keeps only its own log back, and that
// only from there on.
func TestTroubleIsContained(t *testing.T) {
	w := newWorld(t)
	w.release("one:a", "1.0.0")
	w.release("one:a", "1.1.0")
	w.release("one:a", "1.2.0")
	w.release("one:bad", "1.0.0")
	w.release("two:b", "1.0.0")
	slow := warg.Sum(content("one:a", "1.1.0"))
	w.up.content[slow] = &warg.Error{Kind: warg.KindUnavailable, Message: "line is down"}
	w.up.logs[wargtest.Name("one:bad").LogID()] = &warg.Error{Kind: warg.KindUpstreamInvalid, Message: "a lie"}
	err := w.keeper.Pass(t.Context())
	if err == nil || !strings.Contains(err.Error(), "one:a: content of release 1.1.0: line is down") || !strings.Contains(err.Error(), "one:bad: a lie") {
		t.Errorf("got %v", err)
	}
	w.inStep("one:a", 1)
	w.inStep("one:bad", 0)
	w.inStep("two:b", 1)
	if s := w.keeper.Status(); s.Open != 2 || s.Err == nil || s.Length != 0 {
		t.Errorf("status %+v", s)
	}
	clear(w.up.content)
	clear(w.up.logs)
	w.pass()
	w.inStep("one:a", 3)
	w.inStep("one:bad", 1)
	if s := w.keeper.Status(); s.Open != 0 || s.Err != nil || s.Length != 6 {
		t.Errorf("status %+v", s)
	}
}

// TestWithoutNews: what is held is adopted while the registry is away, and where it is
// never asked.
func TestWithoutNews(t *testing.T) {
	w := newWorld(t)
	w.release("one:a", "1.0.0")
	w.up.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "away"})
	if err := w.keeper.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("got %v", err)
	}
	w.inStep("one:a", 1)
	asked := w.up.calls["refresh"]
	w.keeper = New(Options{Source: w.up, Own: w.own, Namespaces: []string{"one"}, Offline: true, Now: w.now})
	w.release("one:a", "1.1.0")
	w.pass()
	w.inStep("one:a", 2)
	if w.up.calls["refresh"] != asked {
		t.Error("a registry that is offline was asked")
	}
}

// TestNamesThatAreNotThere: logs whose name cannot be had are looked at again; those
// whose name can are not kept from being adopted.
func TestNamesThatAreNotThere(t *testing.T) {
	for _, kind := range []warg.Kind{warg.KindUnavailable, warg.KindUpstreamInvalid} {
		w := newWorld(t)
		for i := range 5 {
			w.release(fmt.Sprintf("one:p%d", i), "1.0.0")
		}
		w.up.names[wargtest.Name("one:p3").LogID()] = &warg.Error{Kind: kind, Message: "no name"}
		w.pass()
		apart := kind == warg.KindUpstreamInvalid
		for i := range 5 {
			w.inStep(fmt.Sprintf("one:p%d", i), map[bool]int{true: 1}[apart && i != 3])
		}
		if s := w.keeper.Status(); s.Length != 0 {
			t.Errorf("in step up to %d", s.Length)
		}
		clear(w.up.names)
		w.later.Add(int64(retryAbsent))
		w.pass()
		for i := range 5 {
			w.inStep(fmt.Sprintf("one:p%d", i), 1)
		}
		if s := w.keeper.Status(); s.Length != 6 {
			t.Errorf("in step up to %d", s.Length)
		}
	}
}

// TestPartedLogs: our log has a record that upstream's has not. Nothing is mixed.
func TestPartedLogs(t *testing.T) {
	w := newWorld(t)
	w.release("one:a", "1.0.0")
	early := w.up.Clone()
	fork := w.pkgs["one:a"].Fork()
	w.release("one:a", "1.1.0")
	w.pass()
	w.up.Memory, w.pkgs["one:a"] = early, fork
	w.release("one:a", "2.0.0")
	w.release("one:b", "1.0.0")
	for range 2 {
		w.restart() // a replica never goes back; another one, begun anew, may tell another story
		if err := w.keeper.Pass(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindConflict}) || !strings.Contains(err.Error(), "one:a") {
			t.Errorf("got %v", err)
		}
		if got := fetch(t, w.own, "one:a"); len(got) != 2 {
			t.Errorf("our log has %d records", len(got))
		}
		w.inStep("one:b", 1)
	}
}

func TestManyFailures(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		name := fmt.Sprintf("one:p%d", i)
		w.release(name, "1.0.0")
		w.up.logs[wargtest.Name(name).LogID()] = errors.New("no")
	}
	if err := w.keeper.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "and 7 more") || strings.Count(err.Error(), "one:p") != 3 {
		t.Errorf("got %v", err)
	}
}

// TestRun: a pass at once and then now and again; trouble is logged when it changes.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &source{Memory: wargtest.NewMemory(wargtest.MemoryOptions()), calls: map[string]int{}}
		up.setDown(errors.New("away"))
		var text bytes.Buffer
		k := New(Options{Source: up, Log: slog.New(slog.NewTextHandler(&text, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.Run(ctx, time.Minute)
		}()
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		up.setDown(nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		cancel()
		<-ended
		if up.calls["refresh"] != 21 {
			t.Errorf("%d passes", up.calls["refresh"])
		}
		if got := text.String(); strings.Count(got, "not in step") != 1 || strings.Count(got, "in step again") != 1 {
			t.Errorf("logged:\n%s", got)
		}
	})
}

// TestOneOfManyFails: a log that is wrong keeps nothing else from being adopted, however
// many there are and wherever it stands among them.
func TestOneOfManyFails(t *testing.T) {
	w := newWorld(t)
	const many = logsBatch + 6
	wrong := map[warg.LogID]bool{} // the first and the last in the order in which logs are adopted
	var first, last warg.LogID
	for i := range many {
		name := fmt.Sprintf("one:p%d", i)
		w.publish(name, wargtest.Grant(wargtest.Stranger(name).Public(), pkglog.PermissionRelease))
		id := wargtest.Name(name).LogID()
		if i == 0 || warg.Digest(id).Compare(warg.Digest(first)) < 0 {
			first = id
		}
		if i == 0 || warg.Digest(id).Compare(warg.Digest(last)) > 0 {
			last = id
		}
	}
	for _, id := range []warg.LogID{first, last} {
		wrong[id], w.up.logs[id] = true, errors.New("no")
	}
	if err := w.keeper.Pass(t.Context()); err == nil {
		t.Error("nothing is said of two logs that are wrong")
	}
	for i := range many {
		name := fmt.Sprintf("one:p%d", i)
		if !wrong[wargtest.Name(name).LogID()] {
			w.inStep(name, 1)
		}
	}
	if s := w.keeper.Status(); s.Open != len(wrong) {
		t.Errorf("%d logs are not in step; want %d", s.Open, len(wrong))
	}
	clear(w.up.logs)
	w.pass()
	if s := w.keeper.Status(); s.Open != 0 || s.Err != nil {
		t.Errorf("afterwards: %+v", s)
	}
}
