package authority

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestKilledTwice: a process is killed at a failpoint, and leaves what it did not sync
// in the memory of the machine. The next one finds it, builds on it and acknowledges;
// then the power goes. What it built on must have been durable by then.
func TestKilledTwice(t *testing.T) {
	everywhere(t, 60, func(at int) crash {
		c := live(t, durable.Plan{}, at, killed)
		if c.ended {
			return c
		}
		second := durable.NewFault(c.left)
		clk := newClock()
		clk.Add(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		a, err := Open(ctx, memoryOptions(second, clk))
		must(t, err)
		must(t, story(ctx, a, c.witness))
		c.left = c.left.Crash(nil)
		second.Kill()
		_ = a.Close()
		return c
	})
}

// TestStorageErrorsAreFinal: after an error of a sync nobody knows what is on disk, so
// the process has to end, whoever waited for it.
func TestStorageErrorsAreFinal(t *testing.T) {
	content := wargtest.Component("final")
	for name, broken := range map[string]func(op durable.Op) bool{
		"submission": func(op durable.Op) bool { return op == durable.OpDatasync },
		"content":    func(op durable.Op) bool { return op == durable.OpSync },
		"its name":   func(op durable.Op) bool { return op == durable.OpSyncDir },
	} {
		t.Run(name, func(t *testing.T) {
			fault := durable.NewFault(durable.NewMemory())
			o := memoryOptions(fault, newClock())
			o.byHand = true
			a := open(t, o)
			_, req := first("test:final", content)
			plan := durable.Plan{At: 1, Match: func(op durable.Op, _ string) bool { return broken(op) }, Err: syscall.EIO}
			if name == "submission" {
				fault.SetPlan(plan)
			}
			_, err := a.Publish(t.Context(), req)
			if name != "submission" {
				must(t, err)
				fault.SetPlan(plan)
				err = a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum(content), bytes.NewReader(content))
			}
			if !isKind(err, warg.KindUnavailable) || !fault.Reached() {
				t.Errorf("answered with %v", err)
			}
			if a.Err() == nil {
				t.Error("the registry goes on")
			}
		})
	}
}

// stops waits until a record is settled, or rather until the registry has stopped.
func stops(t *testing.T, a *Authority, req warg.PublishRequest) {
	t.Helper()
	if st, err := a.Settled(t.Context(), req.LogID, req.Record.PackageRecordID()); err == nil {
		t.Fatalf("the registry goes on, and the record is %+v", st)
	}
	<-a.Done()
}

// waiting returns a registry without sequencer, and the batch of its submissions
// standing in the journal, ready to be signed.
func waiting(t *testing.T, names ...string) (*Authority, *batch) {
	t.Helper()
	o := memoryOptions(durable.NewMemory(), newClock())
	o.byHand = true
	a := open(t, o)
	for _, name := range names {
		_, req := first(name, nil)
		publish(t, a, req)
	}
	b := &batch{}
	for _, s := range a.pool.take(len(names)) {
		must(t, a.validate(b, s))
	}
	if len(names) > 0 {
		must(t, a.append(b))
	}
	return a, b
}

// TestNothingIsIssuedUnverified: a checkpoint that a client would refuse is not issued.
func TestNothingIsIssuedUnverified(t *testing.T) {
	a, b := waiting(t, "test:one")
	// As if journal and index went on from another history than the anchor's.
	claims := a.anchor.Signed.Unverified()
	claims.LogRoot = warg.Sum([]byte("another history")).AnyHash()
	a.anchor.Signed = warg.NewSignedCheckpoint(claims, a.anchor.Signed.KeyID(), a.anchor.Signed.Signature())
	before := a.view.Load()
	if err := a.publish(b); err == nil {
		t.Error("a checkpoint that does not extend the last one was issued")
	}
	if a.view.Load() != before || a.history.Len() != 1 {
		t.Error("it is shown")
	}
	if on, err := anchor.NewFile(a.fs, a.o.AnchorFile, "").Load(); err != nil || on.Length() != 1 {
		t.Errorf("the anchor has length %d, %v", on.Length(), err)
	}
}

// TestSelfVerification: each part of what a client verifies is verified.
func TestSelfVerification(t *testing.T) {
	for name, change := range map[string]func(*batch){
		"log root": func(b *batch) { b.next.LogRoot[0] ^= 1 },
		"map root": func(b *batch) { b.next.MapRoot[0] ^= 1 },
		"length":   func(b *batch) { b.next.LogLength++ },
		"a record": func(b *batch) { b.items[0].frame.Record[0] ^= 1 },
		"its log":  func(b *batch) { b.items[1].frame.Log[0] ^= 1 },
		"their order": func(b *batch) {
			one, two := &b.items[0].frame, &b.items[1].frame
			one.Log, two.Log, one.Record, two.Record = two.Log, one.Log, two.Record, one.Record
		},
		"no changes": func(*batch) {},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := waiting(t, "test:one", "test:two")
			must(t, a.compute(b))
			h := b.update.Head()
			b.next = warg.Checkpoint{LogLength: h.Length, LogRoot: h.LogRoot, MapRoot: h.MapRoot, Timestamp: a.timeOf(b)}
			change(b)
			if err := a.selfVerify(b); (err == nil) != (name == "no changes") {
				t.Errorf("verified with %v", err)
			}
		})
	}
	t.Run("a record that is no head", func(t *testing.T) {
		a, b := waiting(t)
		for _, ns := range []string{"one", "two"} { // two records of one log
			must(t, a.validateJob(b, &job{entries: []oplog.Entry{oplog.DefineNamespace{Namespace: ns}}, done: make(chan error, 1)}))
		}
		must(t, a.append(b))
		must(t, a.compute(b))
		h := b.update.Head()
		b.next = warg.Checkpoint{LogLength: h.Length, LogRoot: h.LogRoot, MapRoot: h.MapRoot, Timestamp: a.timeOf(b)}
		must(t, a.selfVerify(b))
		b.items[0].frame.Record[0] ^= 1
		if a.selfVerify(b) == nil {
			t.Error("another record than the one in the log was verified")
		}
	})
}

// TestIndexThatDisagreesIsNotSignedFor: the journal's own arithmetic has a say.
func TestIndexThatDisagreesIsNotSignedFor(t *testing.T) {
	a, b := waiting(t, "test:one")
	_, req := first("test:unnoticed", nil)
	_, err := a.journal.Append([]journal.Frame{journal.NewFrame(a.journal.Length(), req.Name, req.Record)})
	must(t, err)
	if err := a.compute(b); err == nil {
		t.Error("roots were computed that leave out a frame of the journal")
	}
}

// TestCheckpointIsNotBeforeItsRecords: a record may be ahead of our clock by a little;
// the checkpoint that covers it is not before it.
func TestCheckpointIsNotBeforeItsRecords(t *testing.T) {
	o := memoryOptions(durable.NewMemory(), newClock())
	a := open(t, o)
	at := o.Now().Add(maxAhead - time.Second)
	p := wargtest.NewPackage("test:early")
	req := p.Request(pkglog.Record{Time: warg.TimestampOf(at), Entries: []pkglog.Entry{wargtest.Init(wargtest.Bob())}}.Sign(wargtest.Bob()))
	publish(t, a, req)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Fatalf("the record ends up %+v", st)
	}
	v, err := a.Checkpoint(t.Context())
	must(t, err)
	if v.Checkpoint.Timestamp < uint64(at.Unix()) {
		t.Errorf("the checkpoint is of %d, its newest record of %d", v.Checkpoint.Timestamp, at.Unix())
	}
}

// TestJournalOfAnotherHistory: a journal of the anchor's length that leads to another
// root is not signed for.
func TestJournalOfAnotherHistory(t *testing.T) {
	const name = "/data/authority/log/00000001.seg"
	m, c := durable.NewMemory(), newClock()
	grow := func(name string) {
		a := open(t, memoryOptions(m, c))
		_, req := first(name, nil)
		publish(t, a, req)
		settled(t, a, req)
		must(t, a.Close())
	}
	must(t, open(t, memoryOptions(m, c)).Close())
	old := m.Tree("/data/authority")
	grow("test:one")
	other := m.Tree("/data/authority")[name]
	for file, content := range old {
		put(t, m, file, content)
	}
	must(t, m.Remove("/data/authority/pending/00000001.seg"))
	grow("test:two")
	put(t, m, name, other)
	a := fenced(t, m, memoryOptions(m, c), FenceBehind)
	if why := a.Status().Fence.Reason; !strings.Contains(why, "another root at length 2") {
		t.Errorf("fenced because %s", why)
	}
}

// TestLongTailIsNoCrash: a crash leaves one batch above the anchor. More is an old
// anchor beside a newer journal.
func TestLongTailIsNoCrash(t *testing.T) {
	for _, c := range []struct {
		frames int
		state  string
	}{{journal.MaxTail, "ok"}, {journal.MaxTail + 1, "fenced"}} {
		m := durable.NewMemory()
		o := memoryOptions(m, newClock())
		o.byHand, o.segments = true, segment.Dir{Grow: 1 << 20, Max: 16 << 20}
		a := open(t, o)
		frames := make([]journal.Frame, c.frames)
		for i := range frames {
			// The first is no record, so that nothing of the tail is sequenced.
			frames[i] = journal.NewFrame(1+uint64(i), wargtest.Name("test:tail"), warg.Envelope{Content: []byte{byte(i), byte(i >> 8)}, KeyID: "k", Signature: a.anchor.Signed.Signature()})
		}
		_, err := a.journal.Append(frames)
		must(t, err)
		must(t, a.journal.Sync())
		must(t, a.Close())
		a, err = Open(t.Context(), o)
		must(t, err)
		if s := a.Status(); s.State != c.state {
			t.Errorf("with %d frames above the anchor: %s, %+v", c.frames, s.State, s.Fence)
		}
		must(t, a.Close())
	}
}

// TestForgedAnchor: who can write the anchor but has no key cannot make us serve a
// checkpoint.
func TestForgedAnchor(t *testing.T) {
	m, _ := grown(t, newClock())
	f := anchor.NewFile(m, "/data/authority/anchor", "")
	a, err := f.Load()
	must(t, err)
	claims := a.Signed.Unverified()
	claims.Timestamp++
	a.Signed = warg.NewSignedCheckpoint(claims, a.Signed.KeyID(), a.Signed.Signature())
	must(t, f.Swap(a, nil))
	r, err := Open(t.Context(), memoryOptions(m, newClock()))
	must(t, err)
	defer r.Close()
	if s := r.Status(); s.State != "fenced" || s.Fence.Kind != FenceBehind {
		t.Errorf("opened %s: %+v", s.State, s.Fence)
	}
	if v, err := r.Checkpoint(t.Context()); !isKind(err, warg.KindUnavailable) {
		t.Errorf("a forged checkpoint is served: %+v, %v", v.Checkpoint, err)
	}
}

// TestForgedTailIsCut: who can write the journal but has no key of a package cannot
// make us sign for a record of it.
func TestForgedTailIsCut(t *testing.T) {
	m := durable.NewMemory()
	o := memoryOptions(m, newClock())
	o.byHand = true
	a := open(t, o)
	_, req := first("test:forged", nil)
	eve := wargtest.Stranger("eve")
	forged := req.Record
	forged.Signature = pkglog.Record{Time: warg.Timestamp{Seconds: 1}, Entries: []pkglog.Entry{wargtest.Init(eve)}}.Sign(eve).Signature
	_, err := a.journal.Append([]journal.Frame{journal.NewFrame(1, req.Name, forged)})
	must(t, err)
	must(t, a.journal.Sync())
	must(t, a.Close())
	a = open(t, o)
	if n := length(t, a); n != 1 {
		t.Errorf("length %d: the forged record was signed for", n)
	}
	if _, err := a.Record(t.Context(), req.LogID, forged.PackageRecordID()); !isKind(err, warg.KindRecordNotFound) && !isKind(err, warg.KindLogNotFound) {
		t.Errorf("the forged record: %v", err)
	}
	publish(t, a, req)
	turn(t, a)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("the true record ends up %+v", st)
	}
}

// setWall sets the wall clock of a reading ahead, and leaves its monotonic one: what a
// process sees when somebody sets the machine's clock. Only the runtime can make such
// a reading, so its form is relied upon: seconds stand above 30 bits of nanoseconds.
func setWall(t *testing.T, at time.Time, seconds uint64) time.Time {
	t.Helper()
	set := at
	*(*uint64)(unsafe.Pointer(&set)) += seconds << 30
	if got := set.Round(0).Sub(at.Round(0)); got != time.Duration(seconds)*time.Second || set.Sub(at) != 0 {
		t.Fatalf("the runtime's clock has another form: set ahead by %s, of which %s passed", got, set.Sub(at))
	}
	return set
}

// TestClockThatIsSetAhead: by more than a year while running, nothing is signed any more.
func TestClockThatIsSetAhead(t *testing.T) {
	const day = 24 * 60 * 60
	for days, state := range map[uint64]string{1: "ok", 400: "fenced"} {
		a := open(t, memoryOptions(durable.NewMemory(), newClock()))
		start := time.Now()
		a.checkJump(start, setWall(t, start, days*day))
		if s := a.Status(); s.State != state || state == "fenced" && s.Fence.Kind != FenceJump {
			t.Errorf("set ahead by %d days: %s, %+v", days, s.State, s.Fence)
		}
	}
}

// TestHeadBehindAFence: where somebody may have seen more, the head that is known here
// is not shown any more, and records are.
func TestHeadBehindAFence(t *testing.T) {
	a := open(t, memoryOptions(durable.NewMemory(), newClock()))
	_, req := first("test:one", nil)
	publish(t, a, req)
	settled(t, a, req)
	a.setFence(FenceBehind, "somebody has seen more")
	if v, err := a.Checkpoint(t.Context()); !isKind(err, warg.KindUnavailable) {
		t.Errorf("checkpoint: %+v, %v", v.Checkpoint, err)
	}
	if st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
		t.Errorf("record: %+v, %v", st, err)
	}
}
