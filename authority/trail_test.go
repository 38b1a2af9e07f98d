package authority

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

const trailPath = "/data/audit.log"

func openTrail(fsys durable.FS, c *clock) (*trail.Log, error) {
	if err := durable.MkdirAll(fsys, "/data"); err != nil {
		return nil, err
	}
	return trail.Open(trail.Options{Path: trailPath, FS: fsys, Now: c.Now, Max: 2 << 10})
}

// audited are memoryOptions with an audit log.
func audited(t testing.TB, fsys durable.FS, c *clock) Options {
	t.Helper()
	o := memoryOptions(fsys, c)
	var err error
	o.Audit, err = openTrail(fsys, c)
	must(t, err)
	return o
}

// sound verifies an audit log.
func sound(t testing.TB, fsys durable.FS) trail.Report {
	t.Helper()
	r, findings, err := trail.Verify(trail.VerifyOptions{Path: trailPath, FS: fsys})
	must(t, err)
	for _, f := range findings {
		t.Errorf("audit log: %v", f)
	}
	return r
}

// trailEvents returns the lines of a small audit log.
func trailEvents(t testing.TB, fsys durable.FS) (list []trail.Event) {
	t.Helper()
	names := []string{}
	entries, err := fsys.ReadDir("/data")
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "audit.log.") {
			names = append(names, "/data/"+e.Name())
		}
	}
	for _, name := range append(names, trailPath) {
		text, err := durable.ReadFile(fsys, name, 1<<20)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			var e trail.Event
			if json.Unmarshal([]byte(line), &e) == nil { // the last may be torn
				list = append(list, e)
			}
		}
	}
	return list
}

// TestAuditOfAStory: everything that is decided has its line.
func TestAuditOfAStory(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	a := open(t, audited(t, m, c))
	w := newWitness()
	must(t, story(t.Context(), a, w))
	c.Add(25 * time.Hour)
	a.poke()
	for a.Status().Waiting > 0 { // until the one that waits for content has expired
		_, waits := first("test:waits", wargtest.Component("two"))
		settled(t, a, waits)
	}
	must(t, a.Close())
	length := a.Status().Length
	r := sound(t, m)
	if r.From != 0 || r.To != length || r.Events[trail.Published] != length {
		t.Errorf("of %d records: %+v", length, r)
	}
	text := map[string]bool{}
	for _, e := range trailEvents(t, m) {
		switch e.Kind {
		case trail.Published:
			text["published "+e.Package+": "+e.Entries] = true
		case trail.Rejected:
			text["rejected "+e.Package+": "+e.Class] = true
		}
	}
	bob, one := string(wargtest.Bob().Public().ID()), warg.Sum(wargtest.Component("one")).String()
	for _, want := range []string{
		"published : init " + string(wargtest.Alice().Public().ID()) + ", define namespace test",
		"published : define namespace later",
		"published test:one: init " + bob + ", release 1.0.0 " + one,
		"published test:one: release 2.0.0 " + one + ", yank 1.0.0",
		"rejected test:refused: content", "rejected test:rivals: invalid", "rejected test:waits: expired",
	} {
		if !text[want] {
			t.Errorf("there is no line %q; there are %v", want, text)
		}
	}
}

// TestAuditCostsOneSync counts what a publish that is alone costs, without and with an
// audit log.
func TestAuditCostsOneSync(t *testing.T) {
	syncs := func(with bool) int {
		fault, c := durable.NewFault(durable.NewMemory()), newClock()
		o := memoryOptions(fault, c)
		if with {
			o = audited(t, fault, c)
		}
		a := open(t, o)
		_, warm := first("test:warm", nil)
		publish(t, a, warm)
		settled(t, a, warm)
		must(t, quiet(t, a))
		before := fault.Counts()
		_, r := first("test:alone", nil)
		publish(t, a, r)
		settled(t, a, r)
		must(t, quiet(t, a))
		after := fault.Counts()
		n := 0
		for _, op := range []durable.Op{durable.OpSync, durable.OpDatasync, durable.OpSyncDir} {
			n += after[op] - before[op]
		}
		return n
	}
	without, with := syncs(false), syncs(true)
	t.Logf("a publish that is alone: %d syncs, with an audit log %d", without, with)
	if with != without+1 {
		t.Errorf("an audit log adds %d syncs, want 1", with-without)
	}
}

// quiet waits until the sequencer has done everything: a job is answered in a batch of
// its own, and this one, which is refused, writes nothing.
func quiet(t testing.TB, a *Authority) error {
	t.Helper()
	err := a.DefineNamespace(t.Context(), wargtest.DefinedNamespace)
	if isKind(err, warg.KindConflict) {
		return nil
	}
	return err
}

// trailLife is live with an audit log. Calls of the log, or failpoints, end it.
func trailLife(t *testing.T, plan durable.Plan, stepAt int, after aftermath) (left *durable.Memory, w *witness, ended bool) {
	t.Helper()
	m, c := durable.NewMemory(), newClock()
	must(t, durable.MkdirAll(m, "/data"))
	fault := durable.NewFault(m)
	fault.SetPlan(plan)
	defer fault.Kill()
	w = newWitness()
	o := memoryOptions(fault, c)
	var mu sync.Mutex
	steps := 0
	o.Step = func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if steps++; steps == stepAt {
			fault.Kill()
			return errCrash
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	if o.Audit, err = openTrail(fault, c); err != nil {
		return after(m), w, false
	}
	a, err := Open(ctx, o)
	if err != nil {
		return after(m), w, false
	}
	err = story(ctx, a, w)
	left = after(m)
	_ = a.Close()
	if ctx.Err() != nil {
		t.Fatal("the story hangs")
	}
	return left, w, err == nil && !fault.Reached()
}

// complete opens what a crash left and checks that the audit log has everything that
// anybody was told.
func complete(t *testing.T, left *durable.Memory, w *witness) {
	t.Helper()
	c := newClock()
	o := audited(t, left, c)
	a := open(t, o)
	w.keeps(t, a)
	must(t, a.Close())
	must(t, o.Audit.Close())
	length := a.Status().Length // what was pending may have been published meanwhile
	if r := sound(t, left); r.To != length {
		t.Errorf("the audit log covers %d of %d records", r.To, length)
	}
	rejected := map[string]bool{}
	for _, e := range trailEvents(t, left) {
		rejected[e.Record] = rejected[e.Record] || e.Kind == trail.Rejected
	}
	for id := range w.rejected {
		if !rejected[id.String()] {
			t.Errorf("the rejection of %s, which its publisher was told, has no line", id)
		}
	}
}

// ofTrail matches the calls of the audit log.
func ofTrail(_ durable.Op, name string) bool {
	return strings.HasPrefix(name, trailPath) || name == "/data"
}

// TestAuditSurvives ends the registry at every failpoint and at every call of the audit
// log, and lets those calls fail.
func TestAuditSurvives(t *testing.T) {
	cases := map[string]func(at int, after aftermath) (*durable.Memory, *witness, bool){
		"steps": func(at int, after aftermath) (*durable.Memory, *witness, bool) {
			return trailLife(t, durable.Plan{}, at, after)
		},
		"killed": func(at int, after aftermath) (*durable.Memory, *witness, bool) {
			return trailLife(t, durable.Plan{At: at, Match: ofTrail, Outcome: durable.Killed}, 0, after)
		},
		"not persisted": func(at int, after aftermath) (*durable.Memory, *witness, bool) {
			return trailLife(t, durable.Plan{At: at, Match: ofTrail, Outcome: durable.NotPersisted, Err: errCrash}, 0, after)
		},
		"persisted": func(at int, after aftermath) (*durable.Memory, *witness, bool) {
			return trailLife(t, durable.Plan{At: at, Match: ofTrail, Outcome: durable.Persisted, Err: errCrash}, 0, after)
		},
	}
	for name, life := range cases {
		for after, left := range map[string]aftermath{"killed": killed, "power cut": powerCut, "by chance": powerCutBy(7, 7)} {
			if testing.Short() && after != "power cut" {
				continue
			}
			for at := 1; ; at++ {
				m, w, ended := life(at, left)
				if !ended {
					complete(t, m, w)
				}
				if t.Failed() {
					t.Fatalf("%s, %s, ended in place %d", name, after, at)
				}
				if ended {
					if at < 20 {
						t.Errorf("%s: the story was ended in %d places only", name, at-1)
					}
					break
				}
			}
		}
	}
}

// TestAuditErrorStopsWriting: what cannot be recorded is the last thing that happens.
func TestAuditErrorStopsWriting(t *testing.T) {
	fault, c := durable.NewFault(durable.NewMemory()), newClock()
	a := open(t, audited(t, fault, c))
	fault.SetPlan(durable.Plan{At: 1, Match: func(op durable.Op, name string) bool { return op == durable.OpDatasync && name == trailPath }, Err: syscall.EIO})
	_, r := first("test:last", nil)
	publish(t, a, r)
	<-a.Done()
	if !errors.Is(a.Err(), syscall.EIO) {
		t.Errorf("it stopped with %v", a.Err())
	}
	_, next := first("test:next", nil)
	if _, err := a.Publish(t.Context(), next); !isKind(err, warg.KindUnavailable) {
		t.Errorf("afterwards a publish is answered with %v", err)
	}
}

// TestAuditWithoutSpace: while lines wait for space nothing is taken in, and then
// everything goes on by itself.
func TestAuditWithoutSpace(t *testing.T) {
	fault, c := durable.NewFault(durable.NewMemory()), newClock()
	o := audited(t, fault, c)
	o.byHand = true
	a := open(t, o)
	full := durable.Plan{At: 1, Match: func(op durable.Op, name string) bool { return op == durable.OpWrite && name == trailPath }, Err: syscall.ENOSPC}
	fault.SetPlan(full)
	_, r := first("test:one", nil)
	publish(t, a, r)
	turn(t, a)
	if st := settled(t, a, r); st.State != warg.StatePublished {
		t.Errorf("what was published is %+v", st)
	}
	_, next := first("test:next", nil)
	if _, err := a.Publish(t.Context(), next); !isKind(err, warg.KindNoSpace) {
		t.Errorf("while lines wait a publish is answered with %v", err)
	}
	fault.SetPlan(full)
	turn(t, a) // still no space
	if !o.Audit.Behind() {
		t.Error("nothing waits")
	}
	turn(t, a)
	publish(t, a, next)
	turn(t, a)
	if st := settled(t, a, next); st.State != warg.StatePublished {
		t.Errorf("what was published then is %+v", st)
	}
	if r, n := sound(t, fault), length(t, a); r.To != n {
		t.Errorf("the audit log covers %d of %d records", r.To, n)
	}
}

func turn(t testing.TB, a *Authority) {
	t.Helper()
	_, err := a.turn()
	must(t, err)
}

// TestAuditBeginsLate: an audit log covers what comes after it, says when lines are
// missing that no crash can explain, and when the registry was restored.
func TestAuditBeginsLate(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	a := open(t, memoryOptions(m, c))
	_, r := first("test:before", nil)
	publish(t, a, r)
	settled(t, a, r)
	must(t, a.Close())

	a = open(t, audited(t, m, c))
	_, r = first("test:after", nil)
	publish(t, a, r)
	settled(t, a, r)
	must(t, a.Close())
	if r := sound(t, m); r.From != 2 || r.To != 3 {
		t.Errorf("report %+v", r)
	}
}
