package authority

import (
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// machine is a clock as a process sees it, whose wall can be set apart from the time that
// passes.
type machine struct {
	mu    sync.Mutex
	began time.Time // with a monotonic reading
	set   uint64    // seconds by which the wall was set ahead
}

func newMachine() *machine { return &machine{began: time.Now()} }

func (m *machine) now(t *testing.T) func() time.Time {
	return func() time.Time {
		m.mu.Lock()
		defer m.mu.Unlock()
		return setWall(t, m.began, m.set)
	}
}

func (m *machine) setAhead(d time.Duration) {
	m.mu.Lock()
	m.set += uint64(d / time.Second)
	m.mu.Unlock()
}
func (m *machine) pass(d time.Duration) { m.mu.Lock(); m.began = m.began.Add(d); m.mu.Unlock() }

const year = 365 * 24 * time.Hour

// TestWallSetWhileRunning: a wall clock that is set ahead by more than a year, against the
// time that passed, fences a running registry before it signs anything of that time: what
// is complete, what is due to be signed again, what is submitted. Two years that pass do
// not. An operator's word opens it, and a start afterwards asks for none.
func TestWallSetWhileRunning(t *testing.T) {
	fsys, clock := durable.NewMemory(), newMachine()
	o := memoryOptions(fsys, newClock())
	o.Now, o.byHand, o.MaxIdle = clock.now(t), true, time.Hour
	a := open(t, o)
	clock.pass(2 * year)
	turn(t, a)
	if s := a.Status(); s.State != "ok" || int64(s.Signed) < o.Now().Add(-time.Minute).Unix() {
		t.Errorf("after two years that passed: %+v, %+v", s, s.Fence)
	}
	_, req := first("test:waits", nil)
	publish(t, a, req)
	signed := a.anchor.Signed
	clock.setAhead(2 * year)
	turn(t, a)
	if f := a.Status().Fence; f == nil || f.Kind != FenceJump {
		t.Fatalf("the wall was set ahead: %+v", f)
	}
	_, late := first("test:late", nil)
	if _, err := a.Publish(t.Context(), late); !isKind(err, warg.KindUnavailable) {
		t.Errorf("publishing meanwhile: %v", err)
	}
	turn(t, a)
	if a.anchor.Signed != signed {
		t.Error("something was signed behind the fence")
	}
	if v, err := a.Checkpoint(t.Context()); err != nil || v.Signed != signed {
		t.Errorf("reading: %v, %v", v.Checkpoint, err)
	}
	<-a.wake // of the submission
	accepted := make(chan error)
	go func() { accepted <- a.AcceptClock(t.Context()) }()
	<-a.wake // it is asked for
	turn(t, a)
	must(t, <-accepted)
	turn(t, a)
	if st := settled(t, a, req); st.State != warg.StatePublished || a.Status().State != "ok" {
		t.Errorf("afterwards the record is %+v", st)
	}
	must(t, a.Close())
	a = open(t, o)
	if v, err := a.Checkpoint(t.Context()); err != nil || int64(v.Checkpoint.Timestamp) < o.Now().Unix() {
		t.Errorf("after a start: %+v, %v", v.Checkpoint, err)
	}
}

// TestEqualTimes: checkpoints of different lengths may have one time, also while the clock
// is a little behind the last; one of the same length is signed again only later.
func TestEqualTimes(t *testing.T) {
	c := newClock()
	o := memoryOptions(durable.NewMemory(), c)
	o.byHand = true
	a := open(t, o)
	var last warg.Checkpoint
	for i, name := range []string{"test:a", "test:b", "test:c"} {
		if i == 2 {
			c.Add(-maxBehind + time.Second)
		}
		_, req := first(name, nil)
		publish(t, a, req)
		turn(t, a)
		v, err := a.Checkpoint(t.Context())
		must(t, err)
		if i > 0 && (v.Checkpoint.Timestamp != last.Timestamp || v.Checkpoint.LogLength != last.LogLength+1) {
			t.Errorf("%+v after %+v", v.Checkpoint, last)
		}
		last = v.Checkpoint
	}
	must(t, a.signAgain(c.Now()))
	if v, err := a.Checkpoint(t.Context()); err != nil || !v.Checkpoint.SameView(last) || v.Checkpoint.Timestamp != last.Timestamp+1 {
		t.Errorf("signed again: %+v, %v", v.Checkpoint, err)
	}
}

// TestTimerBehindFences: nothing is signed again behind any fence, on a disk that is
// almost full, and before the last checkpoint's own time; afterwards it is.
func TestTimerBehindFences(t *testing.T) {
	idle := 30 * time.Second
	quiet := map[string]struct {
		begin, end func(t *testing.T, a *Authority, m *durable.Memory, c *clock)
	}{
		"clock": {
			func(_ *testing.T, _ *Authority, _ *durable.Memory, c *clock) { c.Add(-time.Hour) },
			func(_ *testing.T, _ *Authority, _ *durable.Memory, c *clock) { c.Add(2 * time.Hour) },
		},
		"clock jump": {fenceOf(FenceJump), unfence},
		"behind":     {fenceOf(FenceBehind), unfence},
		"peers":      {fenceOf(FencePeers), unfence},
		"frozen":     {fenceOf(FenceFrozen), nil},
		"full disk": {
			func(_ *testing.T, _ *Authority, m *durable.Memory, c *clock) { m.SetFree(1 << 20); c.Add(time.Hour) },
			func(_ *testing.T, _ *Authority, m *durable.Memory, c *clock) { m.SetFree(1 << 40); c.Add(time.Hour) },
		},
		"before its time": {
			func(_ *testing.T, _ *Authority, _ *durable.Memory, c *clock) { c.Add(-time.Minute) },
			func(_ *testing.T, _ *Authority, _ *durable.Memory, c *clock) { c.Add(2 * time.Minute) },
		},
	}
	for name, tt := range quiet {
		m, c := durable.NewMemory(), newClock()
		o := memoryOptions(m, c)
		o.byHand, o.MaxIdle = true, idle
		a := open(t, o)
		signed := a.anchor.Signed
		tt.begin(t, a, m, c)
		for range 3 {
			turn(t, a)
		}
		on, err := anchor.NewFile(m, "/data/authority/anchor", "").Load()
		must(t, err)
		if on.Signed != signed {
			t.Errorf("%s: it was signed again", name)
		}
		if tt.end == nil {
			continue
		}
		tt.end(t, a, m, c)
		turn(t, a)
		if a.anchor.Signed == signed || !sameRoot(a.anchor.Signed.Unverified(), signed.Unverified()) {
			t.Errorf("%s: afterwards it is not signed again", name)
		}
	}
}

func fenceOf(kind FenceKind) func(*testing.T, *Authority, *durable.Memory, *clock) {
	return func(_ *testing.T, a *Authority, _ *durable.Memory, c *clock) {
		a.setFence(kind, "a test wants it")
		c.Add(time.Hour)
	}
}

func unfence(_ *testing.T, a *Authority, _ *durable.Memory, _ *clock) {
	a.openFence(a.fence.Load(), "a test wants it")
}
