package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// replica is a registry that notes what is asked of it.
type replica struct {
	*wargtest.Memory
	refreshErr error
	mu         sync.Mutex
	refreshes  int
	records    map[warg.LogID]int
	names      []warg.LogID
	contents   []warg.Digest
	missing    warg.Digest
	broken     error // of content
}

func newReplica() *replica {
	return &replica{Memory: wargtest.NewMemory(wargtest.MemoryOptions()), records: map[warg.LogID]int{}}
}

func (r *replica) Refresh(context.Context) error { r.refreshes++; return r.refreshErr }

func (r *replica) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	r.mu.Lock()
	r.names = append(r.names, ids...)
	r.mu.Unlock()
	return r.Memory.Names(ctx, ids)
}

func (r *replica) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	page, err := r.Memory.Logs(ctx, req)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range page.Packages {
		r.records[p.LogID] += len(p.Records)
	}
	return page, err
}

func (r *replica) Stat(ctx context.Context, d warg.Digest) (warg.ContentInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return warg.ContentInfo{}, r.broken
	}
	r.contents = append(r.contents, d)
	if d == r.missing {
		return warg.ContentInfo{}, warg.NotFound(warg.KindContentNotFound, d)
	}
	return r.Memory.Stat(ctx, d)
}

// release publishes a record with some releases.
func release(t *testing.T, m *wargtest.Memory, p *wargtest.Package, entries ...pkglog.Entry) {
	t.Helper()
	env := p.Next(wargtest.Alice(), entries...)
	st, err := m.Publish(t.Context(), p.Request(env))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range st.Missing {
		if err := m.Upload(t.Context(), p.LogID(), st.RecordID, d, bytes.NewReader(content[d])); err != nil {
			t.Fatal(err)
		}
	}
}

// content is what the releases of these tests contain, by digest.
var content = func() map[warg.Digest][]byte {
	all := map[warg.Digest][]byte{}
	for _, text := range []string{"a1", "a2", "b1", "a3"} {
		c := wargtest.Component(text)
		all[warg.Sum(c)] = c
	}
	return all
}()

func digest(text string) warg.Digest { return warg.Sum(wargtest.Component(text)) }

func rel(version, text string) pkglog.Entry {
	return wargtest.Release(version, wargtest.Component(text))
}

// filled publishes test:a 1.0.0 and 2.0.0 and test:b 1.0.0.
func filled(t *testing.T) (*replica, *wargtest.Package, *wargtest.Package) {
	t.Helper()
	r := newReplica()
	a, b := wargtest.NewPackage("test:a"), wargtest.NewPackage("test:b")
	release(t, r.Memory, a, wargtest.Init(wargtest.Alice()), rel("1.0.0", "a1"))
	release(t, r.Memory, b, wargtest.Init(wargtest.Alice()), rel("1.0.0", "b1"))
	release(t, r.Memory, a, rel("2.0.0", "a2"))
	return r, a, b
}

func requirement(t *testing.T, s string) warg.Requirement {
	t.Helper()
	req, err := warg.ParseRequirement(s)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestPlans(t *testing.T) {
	for _, test := range []struct {
		name     string
		plan     func(t *testing.T) Plan
		from     uint64
		records  map[string]int
		contents []string
		length   uint64
	}{
		{"nothing but the checkpoint", func(*testing.T) Plan { return Plan{} }, 0, nil, nil, 4},
		{"everything", func(*testing.T) Plan { return Plan{Everything: true} }, 0, map[string]int{"test:a": 2, "test:b": 1}, []string{"a1", "a2", "b1"}, 4},
		{"everything that is new", func(*testing.T) Plan { return Plan{Everything: true} }, 3, map[string]int{"test:a": 2}, []string{"a1", "a2"}, 4},
		{"nothing new", func(*testing.T) Plan { return Plan{Everything: true} }, 4, nil, nil, 4},
		{"one package", func(t *testing.T) Plan {
			return Plan{Packages: []Package{{wargtest.Name("test:a"), requirement(t, "*")}}}
		}, 0, map[string]int{"test:a": 2}, []string{"a1", "a2"}, 4},
		{"some releases of a package", func(t *testing.T) Plan {
			return Plan{Packages: []Package{{wargtest.Name("test:a"), requirement(t, "^2")}}}
		}, 0, map[string]int{"test:a": 2}, []string{"a2"}, 4},
		{"a package that is not there", func(t *testing.T) Plan {
			return Plan{Packages: []Package{{wargtest.Name("test:c"), requirement(t, "*")}}}
		}, 0, nil, nil, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, _, _ := filled(t)
			length, err := Sync(t.Context(), r, test.plan(t), test.from, func(Step) {})
			if err != nil || length != test.length || r.refreshes != 1 {
				t.Fatalf("length %d, %v, %d refreshes", length, err, r.refreshes)
			}
			for name, want := range test.records {
				if got := r.records[wargtest.Name(name).LogID()]; got != want {
					t.Errorf("%s: %d records were asked for, want %d", name, got, want)
				}
			}
			if len(r.records) != len(test.records) || len(r.names) != len(test.records) {
				t.Errorf("%d logs and %d names were asked for, want %d", len(r.records), len(r.names), len(test.records))
			}
			var want []warg.Digest
			for _, text := range test.contents {
				want = append(want, digest(text))
			}
			slices.SortFunc(want, warg.Digest.Compare)
			slices.SortFunc(r.contents, warg.Digest.Compare)
			if !slices.Equal(r.contents, want) {
				t.Errorf("contents %v, want %v", r.contents, want)
			}
		})
	}
}

func TestMissingContentIsLeftOut(t *testing.T) {
	r, _, _ := filled(t)
	r.missing = digest("a1")
	var last Step
	length, err := Sync(t.Context(), r, Plan{Everything: true}, 0, func(s Step) { last = s })
	if err != nil || length != 4 || len(r.contents) != 3 || last != (Step{"content", 3, 3}) {
		t.Errorf("length %d, %v, %d contents, last step %v", length, err, len(r.contents), last)
	}
}

func TestErrorsEndIt(t *testing.T) {
	down := &warg.Error{Kind: warg.KindUnavailable}
	r, _, _ := filled(t)
	r.refreshErr = down
	if length, err := Sync(t.Context(), r, Plan{Everything: true}, 1, func(Step) {}); !errors.Is(err, down) || length != 1 {
		t.Errorf("refresh failed: %d, %v", length, err)
	}
	r, _, _ = filled(t)
	r.broken = down
	if length, err := Sync(t.Context(), r, Plan{Everything: true}, 0, func(Step) {}); !errors.Is(err, down) || length != 0 {
		t.Errorf("content failed: %d, %v", length, err)
	}
}

// Steps come from one goroutine at a time, never go back, and end complete.
func TestSteps(t *testing.T) {
	r, _, _ := filled(t)
	var steps []string
	if _, err := Sync(t.Context(), r, Plan{Everything: true}, 0, func(s Step) {
		steps = append(steps, fmt.Sprint(s.Stage, " ", s.Done, "/", s.Total))
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"checkpoint 0/1", "checkpoint 1/1", "records 2/2", "content 1/3", "content 2/3", "content 3/3"}
	if !slices.Equal(steps, want) {
		t.Errorf("got %v, want %v", steps, want)
	}
}

// A log with more records than fit a page is read to its end.
func TestLongLog(t *testing.T) {
	r := newReplica()
	p := wargtest.NewPackage("test:a")
	release(t, r.Memory, p, wargtest.Init(wargtest.Alice()))
	const records = warg.MaxFetchLimit + 5
	for range records - 2 {
		release(t, r.Memory, p)
	}
	release(t, r.Memory, p, rel("1.0.0", "a3"))
	if _, err := Sync(t.Context(), r, Plan{Everything: true}, 0, func(Step) {}); err != nil {
		t.Fatal(err)
	}
	if got := r.records[p.LogID()]; got != records || len(r.contents) != 1 {
		t.Errorf("%d records, %d contents; want %d and 1", got, len(r.contents), records)
	}
}

// pins notes what is pinned, and that it is before it is asked for.
type pins struct {
	t    *testing.T
	r    *replica
	mu   sync.Mutex
	held map[warg.Digest]bool
	err  error
}

func (p *pins) Pin(d warg.Digest) error {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if slices.Contains(p.r.contents, d) {
		p.t.Errorf("content %s was asked for before it was pinned", d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[d] = true
	return p.err
}

func (p *pins) Release(keep func(warg.Digest) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := range p.held {
		if !keep(d) {
			delete(p.held, d)
		}
	}
	return nil
}

func (p *pins) check(when string, want ...string) {
	p.t.Helper()
	if len(p.held) != len(want) {
		p.t.Errorf("%s: %d contents are pinned, want %d", when, len(p.held), len(want))
	}
	for _, text := range want {
		if !p.held[digest(text)] {
			p.t.Errorf("%s: %s is not pinned", when, text)
		}
	}
}

// Content of the plan is pinned before it is asked for, and what the plan does not ask
// for any more is released by a filling from the start that ended well, and by no other.
func TestPins(t *testing.T) {
	r, a, _ := filled(t)
	p := &pins{t: t, r: r, held: map[warg.Digest]bool{}}
	fill := func(plan Plan, from uint64) error {
		t.Helper()
		plan.Pins = p
		r.contents = nil
		_, err := Sync(t.Context(), r, plan, from, func(Step) {})
		return err
	}
	ranged := Plan{Packages: []Package{{wargtest.Name("test:a"), requirement(t, "^2")}}}
	if err := fill(ranged, 0); err != nil {
		t.Fatal(err)
	}
	p.check("a range of versions", "a2")
	if err := fill(Plan{Everything: true}, 0); err != nil {
		t.Fatal(err)
	}
	p.check("everything", "a1", "a2", "b1")
	release(t, r.Memory, a, rel("2.1.0", "a3"))
	if err := fill(Plan{Everything: true}, 4); err != nil {
		t.Fatal(err)
	}
	p.check("and what is new", "a1", "a2", "a3", "b1")
	r.broken = &warg.Error{Kind: warg.KindUnavailable}
	if err := fill(ranged, 0); err == nil {
		t.Fatal("content that cannot be had is no error")
	}
	p.check("after a filling that failed", "a1", "a2", "a3", "b1")
	r.broken = nil
	if err := fill(ranged, 0); err != nil {
		t.Fatal(err)
	}
	p.check("the range again", "a2", "a3")
	if err := fill(Plan{}, 0); err != nil {
		t.Fatal(err)
	}
	p.check("no plan")
	if p.err = errors.New("disk"); !errors.Is(fill(ranged, 0), p.err) {
		t.Error("an error of pinning is lost")
	}
}

// slowly is a replica of which everything takes a second, and that notes how much is
// under way.
type slowly struct {
	*replica
	open, most int // of fetches of one stage; under mu
}

func (s *slowly) busy() func() {
	s.mu.Lock()
	s.open++
	s.most = max(s.most, s.open)
	s.mu.Unlock()
	time.Sleep(time.Second)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	}
}

func (s *slowly) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	defer s.busy()()
	return s.replica.Logs(ctx, req)
}

func (s *slowly) Stat(ctx context.Context, d warg.Digest) (warg.ContentInfo, error) {
	defer s.busy()()
	return s.replica.Stat(ctx, d)
}

// Contents, and batches of logs, are fetched several at a time, and no more than so many.
func TestSeveralAtATime(t *testing.T) {
	for _, test := range []struct {
		name           string
		logs, contents int
	}{
		{"contents", 1, 3*atATime + 1},
		{"logs", atATime*logsBatch + 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowly{replica: newReplica()}
				for i := range test.logs {
					p := wargtest.NewPackage(fmt.Sprintf("test:p%d", i))
					entries := []pkglog.Entry{wargtest.Init(wargtest.Alice())}
					for v := range test.contents {
						c := wargtest.Component(fmt.Sprint(v))
						content[warg.Sum(c)] = c
						entries = append(entries, wargtest.Release(fmt.Sprintf("%d.%d.0", i, v), c))
					}
					release(t, s.Memory, p, entries...)
				}
				began := time.Now()
				if _, err := Sync(t.Context(), s, Plan{Everything: true}, 0, func(Step) {}); err != nil {
					t.Fatal(err)
				}
				rounds := func(n int) int { return (n + atATime - 1) / atATime } // of a second each
				batches := (test.logs + logsBatch - 1) / logsBatch
				want := time.Duration(rounds(batches)+rounds(test.contents)) * time.Second
				if took := time.Since(began); s.most != atATime || took != want {
					t.Errorf("%d at a time, %s; want %d and %s", s.most, took, atATime, want)
				}
			})
		})
	}
}
