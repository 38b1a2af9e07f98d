package authority

import (
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// askedAt is a step function that looks at records, as a client could, whenever the
// registry comes by one of some steps.
type askedAt struct {
	steps string // between blanks
	ask   func(step string)

	mu    sync.Mutex
	asked map[string]int
}

func (s *askedAt) step(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ask != nil && strings.Contains(s.steps, " "+name+" ") {
		s.asked[name]++
		s.ask(name)
	}
	return nil
}

// arm begins to ask.
func (s *askedAt) arm(ask func(step string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask, s.asked = ask, map[string]int{}
}

// TestRejectedAfterItsBatch: of two records for one place in a log that come in one batch
// the second is rejected because of the first. Nobody is told so before that one is
// published: until then it might be lost, and the second be right.
func TestRejectedAfterItsBatch(t *testing.T) {
	m := durable.NewMemory()
	hook := &askedAt{steps: " segWritten segSynced anchorTmp anchorSynced anchorRenamed anchorDirSynced histWritten histSynced indexCommitted "}
	o := memoryOptions(m, newClock())
	o.byHand, o.Step = true, hook.step
	a := open(t, o)
	p := wargtest.NewPackage("test:rivals")
	content := wargtest.Component("shared")
	one := p.Request(firstRecord(p, content))
	other := wargtest.NewPackage("test:rivals")
	two := other.Request(other.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("2.0.0", content)))
	publish(t, a, one)
	publish(t, a, two)
	upload(t, a, one, content) // both have all they need now
	hook.arm(func(step string) {
		for _, req := range []warg.PublishRequest{one, two} {
			if st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StateProcessing {
				t.Errorf("at %s a record of the batch is %+v, %v", step, st, err)
			}
		}
	})
	turn(t, a)
	hook.arm(nil)
	states := map[warg.State]int{settled(t, a, one).State: 1}
	states[settled(t, a, two).State]++
	if states[warg.StatePublished] != 1 || states[warg.StateRejected] != 1 {
		t.Errorf("in the end they are %v", states)
	}
}

// TestRejectionIsDurableBeforeItIsTold: while a rejection is being written nobody is told
// of it, whatever it is for.
func TestRejectionIsDurableBeforeItIsTold(t *testing.T) {
	text := []byte("no wasm")
	for name, c := range map[string]struct {
		content []byte
		cause   func(a *Authority, req warg.PublishRequest)
	}{
		"content": {text, func(a *Authority, req warg.PublishRequest) {
			_ = a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum(text), strings.NewReader(string(text)))
		}},
		"expiry": {text, func(a *Authority, _ warg.PublishRequest) {
			if _, err := a.expire(a.o.Now().Add(2 * a.o.Limits.PendingTTL)); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			hook := &askedAt{steps: " pendWritten "}
			o := memoryOptions(durable.NewMemory(), newClock())
			o.byHand, o.Step = true, hook.step
			a := open(t, o)
			_, req := first("test:refused", c.content)
			publish(t, a, req)
			hook.arm(func(step string) {
				st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID())
				if err != nil || st.State == warg.StateRejected {
					t.Errorf("at %s the record is %+v, %v", step, st, err)
				}
			})
			c.cause(a, req)
			if hook.asked["pendWritten"] != 1 {
				t.Errorf("asked %v", hook.asked)
			}
			hook.arm(nil)
			if st := settled(t, a, req); st.State != warg.StateRejected {
				t.Errorf("in the end it is %+v", st)
			}
		})
	}
}

// TestRefusalWithoutSpace: content is refused, and there is no space to remember that. The
// publisher is told to come again, and only then that its record is rejected; a restart
// knows it.
func TestRefusalWithoutSpace(t *testing.T) {
	m := durable.NewMemory()
	fault := durable.NewFault(m)
	o := memoryOptions(fault, newClock())
	o.byHand = true
	a := open(t, o)
	text := "no wasm"
	_, req := first("test:refused", []byte(text))
	publish(t, a, req)
	id := req.Record.PackageRecordID()
	try := func() error {
		return a.Upload(t.Context(), req.LogID, id, warg.Sum([]byte(text)), strings.NewReader(text))
	}
	fault.SetPlan(durable.Plan{At: 1, Err: syscall.ENOSPC, Match: func(op durable.Op, name string) bool {
		return op == durable.OpWrite && strings.Contains(name, "/pending/")
	}})
	if err := try(); !isKind(err, warg.KindNoSpace) {
		t.Errorf("without space: %v", err)
	}
	if st, err := a.Record(t.Context(), req.LogID, id); err != nil || st.State != warg.StateSourcing {
		t.Errorf("then the record is %+v, %v", st, err)
	}
	if err := try(); !isKind(err, warg.KindRejected) {
		t.Errorf("with space again: %v", err)
	}
	if st, err := a.Record(t.Context(), req.LogID, id); err != nil || st.State != warg.StateRejected {
		t.Errorf("in the end the record is %+v, %v", st, err)
	}
	left := m.Crash(nil)
	b := open(t, memoryOptions(left, newClock()))
	if st, err := b.Record(t.Context(), req.LogID, id); err != nil || st.State != warg.StateRejected {
		t.Errorf("after a power cut the record is %+v, %v", st, err)
	}
}
