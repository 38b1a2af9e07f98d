package wargtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/pkglog"
)

func publishChecks() []check {
	return []check{
		{"publish/visible", checkPublishVisible},
		{"publish/again", checkPublishAgain},
		{"publish/several entries", checkPublishSeveral},
		{"publish/without waiting", checkPublishNoWait},
		{"publish/concurrently", checkPublishConcurrent},
		{"publish/processing", checkProcessing},
	}
}

// checkPublishVisible: published means that the next checkpoint covers the record and
// that everything about it can be fetched.
func checkPublishVisible(t testing.TB, s *scene) {
	p, c := NewPackage("test:visible"), Component("visible")
	before := s.view(t).Checkpoint
	env := p.Next(Bob(), Init(Bob()), Release("1.0.0", c))
	index := s.release(t, p, env, c)
	s.sync(t)
	after := s.view(t).Checkpoint
	if index < before.LogLength || index >= after.LogLength {
		t.Fatalf("published at index %d, between lengths %d and %d", index, before.LogLength, after.LogLength)
	}
	page := s.logs(t, warg.LogsRequest{LogLength: after.LogLength, Packages: []warg.LogCursor{{LogID: p.LogID()}}})
	sameRecords(t, page.Packages[0].Records, []published{{env, index}})
	if got, err := s.read(t, warg.Sum(c)); err != nil || string(got) != string(c) {
		t.Errorf("content is %x, %v", got, err)
	}
	if names, err := s.Registry.Names(t.Context(), []warg.LogID{p.LogID()}); err != nil || names[0] != p.Name() {
		t.Errorf("name is %v, %v", names, err)
	}
	_, err := s.Registry.Logs(t.Context(), warg.LogsRequest{LogLength: before.LogLength, Packages: []warg.LogCursor{{LogID: p.LogID()}}})
	refused(t, "fetching the log at a length before it began", err, warg.NotFound(warg.KindLogNotFound, p.LogID()))
}

// checkPublishAgain: publishing what is known tells its state and changes nothing.
func checkPublishAgain(t testing.TB, s *scene) {
	p, c := NewPackage("test:again"), Component("again")
	env := p.Next(Bob(), Init(Bob()), Release("1.0.0", c))
	for range 2 {
		if st := s.publish(t, p, env); st.State != warg.StateSourcing || len(st.Missing) != 1 {
			t.Fatalf("got %+v, want one missing content", st)
		}
	}
	s.upload(t, p, env, c)
	index := s.published(t, p, env).Index
	next := p.Next(Bob(), Yank("1.0.0"))
	s.release(t, p, next)
	length := s.view(t).Checkpoint.LogLength
	if st := s.publish(t, p, env); st.State != warg.StatePublished || st.Index != index {
		t.Errorf("got %+v, want published at %d", st, index)
	}
	if now := s.view(t).Checkpoint.LogLength; now != length {
		t.Errorf("publishing again took the log from length %d to %d", length, now)
	}
}

// checkPublishSeveral: one record may do several things, several times.
func checkPublishSeveral(t testing.TB, s *scene) {
	p, a, b := NewPackage("test:several"), Component("several a"), Component("several b")
	env := p.Next(Bob(), Init(Bob()), Grant(Alice().Public(), pkglog.PermissionRelease), Release("1.0.0", a), Release("1.1.0", b), Release("1.2.0", a), Yank("1.0.0"))
	st := s.publish(t, p, env)
	if st.State != warg.StateSourcing || len(st.Missing) != 2 {
		t.Fatalf("got %+v, want two missing contents", st)
	}
	s.upload(t, p, env, b)
	if st := s.publish(t, p, env); st.State != warg.StateSourcing || len(st.Missing) != 1 || st.Missing[0] != warg.Sum(a) {
		t.Fatalf("got %+v, want one missing content", st)
	}
	s.upload(t, p, env, a)
	s.published(t, p, env)
}

// checkPublishNoWait submits a chain of records without waiting for one before the
// next is sent, as clients may; told that another record comes first, it waits for
// that one and tries again. All must end up published, in order.
func checkPublishNoWait(t testing.TB, s *scene) {
	p := NewPackage("test:no-wait")
	envs := []warg.Envelope{p.Next(Bob(), Init(Bob()))}
	content := Component("no wait")
	for i := range 4 {
		envs = append(envs, p.Next(Bob(), Release(fmt.Sprintf("1.0.%d", i), content)))
	}
	for i, env := range envs {
		st, err := s.Publisher.Publish(t.Context(), p.Request(env))
		if errors.Is(err, kind(warg.KindRecordPending)) {
			if e := api.AsError(err); i == 0 || e.ID != envs[i-1].PackageRecordID().String() {
				t.Fatalf("record %d is told to wait for %s", i, e.ID)
			}
			s.published(t, p, envs[i-1])
			st = s.publish(t, p, env)
		} else if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if st.State == warg.StateSourcing {
			s.upload(t, p, env, content)
		}
	}
	last := uint64(0)
	for i, env := range envs {
		st := s.published(t, p, env)
		if st.Index < last {
			t.Errorf("record %d stands at index %d, the one before it at %d", i, st.Index, last)
		}
		last = st.Index
	}
}

// checkPublishConcurrent publishes to many logs at the same time.
func checkPublishConcurrent(t testing.TB, s *scene) {
	const writers = 8
	before := s.view(t).Checkpoint.LogLength
	var wg sync.WaitGroup
	indexes := make([]uint64, writers)
	for i := range writers {
		wg.Go(func() {
			p := NewPackage(fmt.Sprintf("test:writer%d", i))
			env := p.Next(Bob(), Init(Bob()))
			if _, err := s.Publisher.Publish(t.Context(), p.Request(env)); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	seen := map[uint64]bool{}
	for i := range writers {
		p := NewPackage(fmt.Sprintf("test:writer%d", i))
		indexes[i] = s.published(t, p, p.Next(Bob(), Init(Bob()))).Index
		if seen[indexes[i]] || indexes[i] < before {
			t.Errorf("writer %d is published at index %d, before were %v", i, indexes[i], indexes[:i])
		}
		seen[indexes[i]] = true
	}
	s.sync(t)
	if now := s.view(t).Checkpoint.LogLength; now != before+writers {
		t.Errorf("the log went from length %d to %d", before, now)
	}
}

// checkProcessing: a complete record that is not published yet shows nowhere, and no
// other record of its log is taken.
func checkProcessing(t testing.TB, s *scene) {
	if s.Hold == nil {
		return
	}
	p := NewPackage("test:processing")
	fork := p.Fork()
	env := p.Next(Bob(), Init(Bob()))
	release := s.Hold()
	released := false
	defer func() {
		if !released {
			release()
		}
	}()
	for range 2 {
		if st := s.publish(t, p, env); st.State != warg.StateProcessing {
			t.Fatalf("got %+v, want processing", st)
		}
	}
	if st, err := s.Registry.Record(t.Context(), p.LogID(), env.PackageRecordID()); err != nil || st.State != warg.StateProcessing {
		t.Errorf("its state is %+v, %v", st, err)
	}
	s.hidden(t, p)
	pending := warg.NotFound(warg.KindRecordPending, env.PackageRecordID())
	for _, other := range []warg.Envelope{fork.Next(Bob(), Init(Bob())), p.Next(Bob(), Release("1.0.0", Component("processing")))} {
		_, err := s.Publisher.Publish(t.Context(), p.Request(other))
		refused(t, "publishing while another record is processed", err, pending)
	}
	err := s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(nil), emptyBody())
	refused(t, "uploading to a complete record", err, kind(warg.KindNotSourcing))
	release()
	released = true
	s.published(t, p, env)
}

// hidden checks that a log of which nothing is published cannot be seen.
func (s *scene) hidden(t testing.TB, p *Package) {
	t.Helper()
	unknown := warg.NotFound(warg.KindLogNotFound, p.LogID())
	s.sync(t)
	_, err := s.Registry.Names(t.Context(), []warg.LogID{p.LogID()})
	refused(t, "naming a log of which nothing is published", err, unknown)
	length := s.view(t).Checkpoint.LogLength
	_, err = s.Registry.Logs(t.Context(), warg.LogsRequest{LogLength: length, Packages: []warg.LogCursor{{LogID: p.LogID()}}})
	refused(t, "fetching a log of which nothing is published", err, unknown)
	for _, l := range s.tail(t, 0) {
		if l.LogID == p.LogID() {
			t.Error("the ledger has a record that is not published")
		}
	}
}

// tail reads the ledger from an index to its end.
func (s *scene) tail(t testing.TB, start uint64) []warg.Leaf {
	t.Helper()
	b, err := s.Registry.Ledger(t.Context(), start, warg.LedgerPageEntries)
	if err != nil {
		t.Fatalf("reading the ledger: %v", err)
	}
	return unpack(b)
}
