package authority

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// offer publishes the first record of a new package, and reports whether it was taken in;
// the only refusals are those that say when to come again.
func offer(t *testing.T, a *Authority, name string) (req warg.PublishRequest, taken bool) {
	t.Helper()
	_, req = first(name, nil)
	_, err := a.Publish(t.Context(), req)
	if err == nil {
		return req, true
	}
	e, ok := errors.AsType[*warg.Error](err)
	if !ok || e.Kind != warg.KindUnavailable && e.Kind != warg.KindTooMany || e.RetryAfter <= 0 {
		t.Fatalf("refused with %v", err)
	}
	return req, false
}

// TestL02Overload: ten times as many records arrive in each turn as may wait. Those that
// are taken in are published by the next turn, however many are refused beside them, and
// all of them are there after a restart; of the others nothing is, and coming again helps.
func TestL02Overload(t *testing.T) {
	fsys, c := durable.NewMemory(), newClock()
	o := memoryOptions(fsys, c)
	const pool, turns, times = 16, 12, 10
	o.Limits.Pending = pool
	o.byHand = true
	a := open(t, o)
	var taken, refused []warg.PublishRequest
	for turn := range turns {
		before := len(taken)
		for i := range times * pool {
			if req, ok := offer(t, a, fmt.Sprintf("test:load%d-n%d", turn, i)); ok {
				taken = append(taken, req)
			} else {
				refused = append(refused, req)
			}
		}
		if n := len(taken) - before; n != pool {
			t.Errorf("turn %d: %d were taken in, there is room for %d", turn, n, pool)
		}
		_, err := a.turn()
		must(t, err)
		for _, req := range taken[before:] {
			if st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
				t.Errorf("after its turn, one that was taken in is %+v, %v", st, err)
			}
		}
	}
	if len(refused) != turns*(times-1)*pool {
		t.Errorf("%d were refused", len(refused))
	}
	must(t, a.Close())
	a = open(t, o)
	for _, req := range taken {
		if st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
			t.Errorf("after a restart, one that was taken in is %+v, %v", st, err)
		}
	}
	for _, req := range refused {
		if _, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err == nil {
			t.Error("something of a refused record is there")
		}
	}
	publish(t, a, refused[0])
	_, err := a.turn()
	must(t, err)
	if uint64(len(taken))+2 != length(t, a) {
		t.Errorf("%d were taken in, one came again, and the log has %d records", len(taken), length(t, a))
	}
	audit(t, a)
}

// stalling is a database whose commits wait while it stalls, as Badger's do when it has
// more tables to merge than it keeps up with.
type stalling struct {
	index.Database
	mu      sync.Mutex
	stalled chan struct{} // closed when it goes on; nil: it does not stall
	waits   chan struct{} // told of every commit that waits
}

func (s *stalling) Open() (kv.Store, error) {
	store, err := s.Database.Open()
	return stallingStore{store, s}, err
}

func (s *stalling) OpenBulk() (kv.Store, error) { return s.Open() }

func (s *stalling) stall() (goOn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.stalled = gate
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stalled = nil
		close(gate)
	}
}

type stallingStore struct {
	kv.Store
	s *stalling
}

func (s stallingStore) Begin() kv.Txn { return stallingTxn{s.Store.Begin(), s.s} }

type stallingTxn struct {
	kv.Txn
	s *stalling
}

func (t stallingTxn) Commit() error {
	t.s.mu.Lock()
	gate := t.s.stalled
	t.s.mu.Unlock()
	if gate != nil {
		select {
		case t.s.waits <- struct{}{}:
		default:
		}
		<-gate
	}
	return t.Txn.Commit()
}

// TestL06StalledIndex: while the database of the index takes nothing, publishing is
// accepted up to its bound and refused beyond, nobody who reads waits, and nothing is shown
// that is not in the index; when it goes on, everything that was accepted is published.
func TestL06StalledIndex(t *testing.T) {
	o := memoryOptions(durable.NewMemory(), newClock())
	db := &stalling{Database: index.InMemory(new(kv.Memory)), waits: make(chan struct{}, 1)}
	o.Index = db
	const pool = 16
	o.Limits.Pending = pool
	a := open(t, o)
	_, before := first("test:before", nil)
	publish(t, a, before)
	settled(t, a, before)
	end := length(t, a)

	goOn := db.stall()
	var taken []warg.PublishRequest
	full := 0
	req, ok := offer(t, a, "test:caught") // on its way into the index when it stalls
	if !ok {
		t.Fatal("the pool is full of nothing")
	}
	taken = append(taken, req)
	<-db.waits
	for i := range 10 * pool {
		if req, ok := offer(t, a, fmt.Sprintf("test:stalled%d", i)); ok {
			taken = append(taken, req)
		} else {
			full++
		}
	}
	if len(taken) > pool || full < 9*pool {
		t.Errorf("%d were taken in, %d refused; %d may wait", len(taken), full, pool)
	}
	if length(t, a) != end {
		t.Errorf("the log has grown from %d to %d", end, length(t, a))
	}
	page, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: end, Packages: []warg.LogCursor{{LogID: before.LogID}}})
	if err != nil || len(page.Packages) != 1 {
		t.Errorf("reading while it stalls: %+v, %v", page, err)
	}
	if _, err := a.Names(t.Context(), []warg.LogID{wargtest.Name("test:before").LogID()}); err != nil {
		t.Errorf("reading a name while it stalls: %v", err)
	}
	if _, err := a.Consistency(t.Context(), 1, end); err != nil {
		t.Errorf("proving while it stalls: %v", err)
	}
	goOn()
	for _, req := range taken {
		if st := settled(t, a, req); st.State != warg.StatePublished {
			t.Errorf("one that was taken in becomes %+v", st)
		}
	}
	if want := end + uint64(len(taken)); length(t, a) != want {
		t.Errorf("the log has %d records, want %d", length(t, a), want)
	}
	audit(t, a)
}
