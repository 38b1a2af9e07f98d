package authority

import (
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestStats: each way that a submission is answered, and each end of a record, is
// counted once.
func TestStats(t *testing.T) {
	c := newClock()
	o := adopting(durable.NewMemory(), c)
	o.Policy = nil
	a := open(t, o)
	component := wargtest.Component("one")

	p, req := first("test:one", component)
	publish(t, a, req)
	publish(t, a, req) // known
	upload(t, a, req, component)
	settled(t, a, req)
	publish(t, a, req) // known still

	stranger := p.Fork()
	if _, err := a.Publish(t.Context(), stranger.Request(stranger.Next(wargtest.Alice(), wargtest.Yank("1.0.0")))); !isKind(err, warg.KindUnauthorized) {
		t.Errorf("a stranger: %v", err)
	}
	other := wargtest.NewPackage("test:one")
	if _, err := a.Publish(t.Context(), other.Request(pkglog.Record{Time: warg.Timestamp{Seconds: 1}, Entries: []pkglog.Entry{wargtest.Init(wargtest.Bob())}}.Sign(wargtest.Bob()))); !isKind(err, warg.KindRecordPending) {
		t.Errorf("another first record: %v", err)
	}
	req.LogID = warg.LogID{}
	if _, err := a.Publish(t.Context(), req); !isKind(err, warg.KindBadRequest) {
		t.Errorf("another log id: %v", err)
	}

	jar := []byte("no component")
	_, bad := first("test:jar", jar)
	publish(t, a, bad)
	if err := a.Upload(t.Context(), bad.LogID, bad.Record.PackageRecordID(), warg.Sum(jar), strings.NewReader(string(jar))); !isKind(err, warg.KindRejected) {
		t.Errorf("no component: %v", err)
	}
	_, late := first("test:late", wargtest.Component("late"))
	publish(t, a, late)
	c.Add(25 * time.Hour)
	a.poke()
	settled(t, a, late)

	must(t, a.DefineNamespace(t.Context(), "more"))
	pkg, list := chain("up:tool", wargtest.Component("theirs"), wargtest.Component("theirs too"))
	adopt(t, a, pkg, list...)
	a.setFence(FenceFrozen, "for the test")
	_, never := first("test:never", nil)
	if _, err := a.Publish(t.Context(), never); !isKind(err, warg.KindUnavailable) {
		t.Errorf("fenced: %v", err)
	}

	s := a.Stats()
	for answer, want := range map[Answer]uint64{
		AnswerAccepted: 3, AnswerKnown: 2, AnswerUnauthorized: 1, AnswerConflict: 1, AnswerRefused: 1, AnswerUnavailable: 1,
	} {
		if s.Answers[answer] != want {
			t.Errorf("%s: %d, want %d", answer, s.Answers[answer], want)
		}
	}
	leaves := a.view.Load().Checkpoint.LogLength
	if s.Batches.Records != leaves {
		t.Errorf("%d records in %d leaves", s.Batches.Records, leaves)
	}
	operator := leaves - 3 // all leaves that are none of the package records
	for end, want := range map[End]uint64{EndPublished: 1, EndOperator: operator, EndAdopted: 2, EndInvalid: 0, EndContent: 1, EndExpired: 1} {
		if s.Ends[end] != want {
			t.Errorf("%s: %d, want %d", end, s.Ends[end], want)
		}
	}
	if s.Fences != 1 || s.Checkpoints < s.Batches.Count || s.Batches.Count < 3 || s.Batches.Buckets[batchRecords] != s.Batches.Count || s.Syncs < 4*s.Batches.Count {
		t.Errorf("%+v", s)
	}
}

// TestInvalidRecordsAreCounted: of two records that were accepted to follow the same
// head, one cannot.
func TestInvalidRecordsAreCounted(t *testing.T) {
	a := open(t, memoryOptions(durable.NewMemory(), newClock()))
	p, req := first("test:one", nil)
	publish(t, a, req)
	settled(t, a, req)
	left, right := p, p.Fork()
	component := wargtest.Component("one")
	one := left.Request(left.Next(wargtest.Bob(), wargtest.Release("1.0.0", component)))
	two := right.Request(right.Next(wargtest.Bob(), wargtest.Release("1.0.0", component)))
	publish(t, a, one) // both wait for the same content
	publish(t, a, two)
	upload(t, a, one, component)
	settled(t, a, one)
	settled(t, a, two)
	if s := a.Stats(); s.Ends[EndInvalid] != 1 || s.Ends[EndPublished] != 2 || s.Answers[AnswerAccepted] != 3 {
		t.Errorf("%+v", s)
	}
}
