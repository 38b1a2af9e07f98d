package authority

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

const adoptedFrom = "up.example"

// adopting are options of a registry that adopts the namespace up.
func adopting(fsys durable.FS, c *clock) Options {
	o := memoryOptions(fsys, c)
	o.Adopt = map[string]string{"up": adoptedFrom}
	o.Policy = &Policy{} // nobody may publish
	return o
}

// chain makes the records of a package: a first release, and one more for each further
// content.
func chain(name string, contents ...[]byte) (*wargtest.Package, []warg.Envelope) {
	p := wargtest.NewPackage(name)
	list := []warg.Envelope{firstRecord(p, contents[0])}
	for i, c := range contents[1:] {
		list = append(list, p.Next(wargtest.Bob(), wargtest.Release(fmt.Sprintf("1.%d.0", i+1), c)))
	}
	return p, list
}

func adopt(t testing.TB, a *Authority, p *wargtest.Package, list ...warg.Envelope) {
	t.Helper()
	must(t, a.Adopt(t.Context(), p.Name(), list))
}

func keep(t testing.TB, a *Authority, contents ...[]byte) {
	t.Helper()
	for _, c := range contents {
		must(t, a.KeepContent(warg.Sum(c), bytes.NewReader(c), int64(len(c))))
	}
}

// records returns a log as readers see it.
func records(t testing.TB, a *Authority, log warg.LogID) []warg.Record {
	t.Helper()
	var all []warg.Record
	for token := ""; ; token = all[len(all)-1].Token {
		page, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: length(t, a), Packages: []warg.LogCursor{{LogID: log, Token: token}}})
		must(t, err)
		if len(page.Packages[0].Records) == 0 {
			return all
		}
		all = append(all, page.Packages[0].Records...)
	}
}

// same fails unless a log holds exactly these records, byte for byte.
func same(t testing.TB, a *Authority, log warg.LogID, want []warg.Envelope) {
	t.Helper()
	got := records(t, a, log)
	if len(got) != len(want) {
		t.Fatalf("the log has %d records, want %d", len(got), len(want))
	}
	for i, r := range got {
		if !bytes.Equal(r.Content, want[i].Content) || r.KeyID != want[i].KeyID || r.Signature != want[i].Signature {
			t.Errorf("record %d is another one", i)
		}
	}
}

func TestAdopt(t *testing.T) {
	a := open(t, adopting(durable.NewMemory(), newClock()))
	if ns, ok := find(a.Namespaces(), "up"); !ok || !ns.Defined {
		t.Fatalf("the namespace is %+v", ns)
	}
	contents := [][]byte{wargtest.Component("one"), []byte("no wasm at all"), wargtest.Component("gone")}
	p, list := chain("up:tool", contents...)
	list = append(list, p.Next(wargtest.Bob(), wargtest.Grant(wargtest.Alice().Public(), pkglog.PermissionYank)),
		p.Next(wargtest.Alice(), wargtest.Yank("1.0.0")))
	if _, ok, err := a.Head(p.LogID()); ok || err != nil {
		t.Errorf("a head before anything: %v", err)
	}
	for _, c := range contents[:2] {
		keep(t, a, c)
		if _, err := a.Stat(t.Context(), warg.Sum(c)); !isKind(err, warg.KindContentNotFound) {
			t.Errorf("content that nothing releases is served: %v", err)
		}
	}
	adopt(t, a, p, list[:2]...)
	adopt(t, a, p, list[:2]...) // again
	adopt(t, a, p, list[:1]...) // and what is before the head
	adopt(t, a, p, list[1:]...) // what follows, and a little before it
	adopt(t, a, p)              // nothing
	same(t, a, p.LogID(), list)
	if id, ok, err := a.Head(p.LogID()); !ok || err != nil || id != list[4].PackageRecordID() {
		t.Errorf("the head is %s, %v", id, err)
	}
	for i, c := range contents {
		has, err := a.HasContent(warg.Sum(c))
		_, serr := a.Stat(t.Context(), warg.Sum(c))
		if here := i < 2; err != nil || has != here || (serr == nil) != here {
			t.Errorf("content %d: %v, %v, %v", i, has, err, serr)
		}
	}
	keep(t, a, contents[2]) // late
	if _, err := a.Stat(t.Context(), warg.Sum(contents[2])); err != nil {
		t.Errorf("content that came late: %v", err)
	}
	if st, err := a.Record(t.Context(), p.LogID(), list[1].PackageRecordID()); err != nil || st.State != warg.StatePublished {
		t.Errorf("%+v, %v", st, err)
	}
	if names, err := a.Names(t.Context(), []warg.LogID{p.LogID()}); err != nil || names[0] != p.Name() {
		t.Errorf("%v, %v", names, err)
	}
	audit(t, a)
}

func find(list []oplog.NamespaceState, name string) (oplog.NamespaceState, bool) {
	for _, ns := range list {
		if ns.Name == name {
			return ns, true
		}
	}
	return oplog.NamespaceState{}, false
}

// TestNobodyPublishesThere: a namespace that is adopted is another registry's to
// whoever publishes, after a restart without the setting as well.
func TestNobodyPublishesThere(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := adopting(m, c)
	o.Policy = nil
	a := open(t, o)
	p, list := chain("up:tool", wargtest.Component("one"), wargtest.Component("two"))
	adopt(t, a, p, list[0])
	_, other := first("up:other", nil)
	refused := func() {
		t.Helper()
		for _, req := range []warg.PublishRequest{other, p.Request(list[1])} {
			if _, err := a.Publish(t.Context(), req); !errors.Is(err, &warg.Error{Kind: warg.KindNamespaceImported, ID: "up"}) {
				t.Errorf("published: %v", err)
			}
		}
	}
	refused()
	if st := publish(t, a, p.Request(list[0])); st.State != warg.StatePublished { // is there, whoever sends it
		t.Errorf("what is published: %+v", st)
	}
	must(t, a.Close())
	o.Adopt = nil
	a = open(t, o)
	refused()
	if got := a.Adopted(); len(got) != 1 || got["up"] != adoptedFrom {
		t.Errorf("adopted: %v", got)
	}
	adopt(t, a, p, list...)
	same(t, a, p.LogID(), list)
}

func TestAdoptRefusals(t *testing.T) {
	c := newClock()
	a := open(t, adopting(durable.NewMemory(), c))
	p, list := chain("up:tool", wargtest.Component("one"), wargtest.Component("two"))
	keep(t, a, wargtest.Component("one"), wargtest.Component("two"))
	fork := p.Fork()
	adopt(t, a, p, list...)
	forged := p.Next(wargtest.Bob(), wargtest.Yank("1.0.0"))
	forged.Signature = list[0].Signature
	stranger := fork.Next(wargtest.Stranger("x"), wargtest.Yank("1.0.0"))
	own, ownList := chain("test:own", wargtest.Component("own"))
	q, other := chain("up:other", wargtest.Component("other"), wargtest.Component("other, too"))
	long := wargtest.NewPackage("up:" + strings.Repeat("x", warg.MaxNameBytes))
	for name, row := range map[string]struct {
		p    *wargtest.Package
		list []warg.Envelope
		want warg.Kind
	}{
		"a signature that is none":       {p, []warg.Envelope{forged}, warg.KindConflict},
		"a key that may not":             {p, []warg.Envelope{stranger}, warg.KindConflict},
		"another beginning":              {p, []warg.Envelope{firstRecord(wargtest.NewPackage("up:tool"), wargtest.Component("else"))}, warg.KindConflict},
		"a gap":                          {q, other[1:], warg.KindConflict},
		"bytes that are no record":       {q, []warg.Envelope{{Content: []byte{1}, KeyID: other[0].KeyID, Signature: other[0].Signature}}, warg.KindBadRequest},
		"a namespace that is not ours":   {wargtest.NewPackage("nowhere:x"), other, warg.KindBadRequest},
		"a namespace that is our own":    {own, ownList, warg.KindBadRequest},
		"a name that is longer than any": {long, []warg.Envelope{firstRecord(long, nil)}, warg.KindBadRequest},
	} {
		if err := a.Adopt(t.Context(), row.p.Name(), row.list); !isKind(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, a, p.LogID(), list)
	if n := length(t, a); n != 4 {
		t.Errorf("the registry has %d records", n)
	}
	content := wargtest.Component("x")
	for name, row := range map[string]struct {
		body  string
		limit int64
		want  warg.Kind
	}{
		"other bytes": {"other", 1 << 20, warg.KindBadRequest},
		"too many":    {string(content), int64(len(content)) - 1, warg.KindTooLarge},
	} {
		if err := a.KeepContent(warg.Sum(content), strings.NewReader(row.body), row.limit); !isKind(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	audit(t, a)
}

// TestAdoptWaitsForTheClock: a record from the future waits, and with it what follows;
// what comes before it does not.
func TestAdoptWaitsForTheClock(t *testing.T) {
	c := newClock()
	a := open(t, adopting(durable.NewMemory(), c))
	p := wargtest.NewPackage("up:tool")
	old := firstRecord(p, nil)
	decoded, err := pkglog.Decode(old.Content)
	must(t, err)
	prev := warg.Digest(old.PackageRecordID()).AnyHash()
	rec := pkglog.Record{Prev: &prev, Time: warg.TimestampOf(c.Now().Add(maxAhead + time.Hour)), Entries: []pkglog.Entry{wargtest.Release("1.0.0", []byte("x"))}}
	if decoded.Time.Compare(rec.Time) >= 0 {
		t.Fatal("the test's clock is wrong")
	}
	list := []warg.Envelope{old, rec.Sign(wargtest.Bob())}
	err = a.Adopt(t.Context(), p.Name(), list)
	e, ok := errors.AsType[*warg.Error](err)
	if !ok || e.Kind != warg.KindUnavailable || e.RetryAfter != int(time.Hour/time.Second)+1 {
		t.Errorf("got %v", err)
	}
	same(t, a, p.LogID(), list[:1])
	c.Add(time.Hour + time.Second)
	adopt(t, a, p, list...)
	same(t, a, p.LogID(), list)
	if v, err := a.Checkpoint(t.Context()); err != nil || int64(v.Checkpoint.Timestamp) < rec.Time.Seconds {
		t.Errorf("the checkpoint is older than what it covers: %+v, %v", v, err)
	}
}

// TestAdoptContradictions: a namespace has one registry, for ever.
func TestAdoptContradictions(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := adopting(m, c)
	a := open(t, o)
	must(t, a.ImportNamespace(t.Context(), "third", "third.example"))
	must(t, a.Close())
	for name, row := range map[string]struct {
		adopt      map[string]string
		namespaces []string
		want       string
	}{
		"from another registry":      {map[string]string{"up": "other.example"}, nil, "was adopted from `up.example`"},
		"our own":                    {map[string]string{"test": adoptedFrom}, nil, "it is our own"},
		"imported":                   {map[string]string{"third": "third.example"}, nil, "it is another registry's"},
		"ours and adopted":           {o.Adopt, []string{"up"}, "configured as our own, but"},
		"ours, adopted before":       {nil, []string{"up"}, "remove its line from /data/authority/adopted"},
		"ours and to be adopted":     {map[string]string{"new": adoptedFrom}, []string{"new"}, "configured as our own, but"},
		"from ourselves":             {map[string]string{"new": "registry.example"}, nil, "from this registry itself"},
		"no namespace":               {map[string]string{"A b": adoptedFrom}, nil, "cannot be adopted"},
		"a registry without name":    {map[string]string{"new": ""}, nil, "cannot be adopted"},
		"a registry with a new line": {map[string]string{"new": "a\nb"}, nil, "cannot be adopted"},
	} {
		o := memoryOptions(m.Crash(nil), c)
		o.Adopt = row.adopt
		o.Namespaces = append([]string{wargtest.DefinedNamespace}, row.namespaces...)
		a, err := Open(t.Context(), o)
		if err == nil {
			_ = a.Close()
		}
		if !errors.As(err, new(*ConfigError)) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, want := range map[string]string{
		"up":                                 "adopted:1: not a namespace and a domain",
		"# x\n\nup up.example\nup b.example": "adopted:4: not a namespace and a domain",
		"Up up.example":                      "adopted:1: not a namespace",
	} {
		left := m.Crash(nil)
		must(t, durable.Replace(left, "/data/authority/adopted", []byte(text), nil))
		if _, err := Open(t.Context(), memoryOptions(left, c)); !errors.As(err, new(*ConfigError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("a file with %q: %v", text, err)
		}
	}
	// The operator takes over: the line is removed, the namespace is ours.
	left := m.Crash(nil)
	must(t, left.Remove("/data/authority/adopted"))
	o = memoryOptions(left, c)
	o.Namespaces = append(o.Namespaces, "up")
	a = open(t, o)
	_, req := first("up:mine", nil)
	publish(t, a, req)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("published %+v", st)
	}
}

// TestSameBytesInTwoLogs: a record does not say which package it is of. Whoever signs
// one cannot know, and cannot prevent, that somebody puts it under another name.
func TestSameBytesInTwoLogs(t *testing.T) {
	for _, memory := range []bool{true, false} {
		o := adopting(durable.NewMemory(), newClock())
		o.Policy = nil
		if !memory {
			o = diskOptions(t.TempDir(), newClock())
			o.Adopt = map[string]string{"up": adoptedFrom}
		}
		a := open(t, o)
		contents := make([][]byte, pageRecords+3)
		for i := range contents {
			contents[i] = wargtest.Component(fmt.Sprint(i))
		}
		p, list := chain("up:tool", contents...)
		stolen := warg.PublishRequest{LogID: wargtest.Name("test:stolen").LogID(), Name: wargtest.Name("test:stolen"), Record: list[0]}
		publish(t, a, stolen)
		waiting := stolen
		waiting.Name = wargtest.Name("test:waiting")
		waiting.LogID = waiting.Name.LogID()
		upload(t, a, stolen, contents[0])
		st := settled(t, a, stolen)
		if st.State != warg.StatePublished {
			t.Fatalf("%+v", st)
		}
		keep(t, a, contents...)
		adopt(t, a, p, list...)
		check := func() {
			t.Helper()
			same(t, a, p.LogID(), list)
			same(t, a, stolen.LogID, list[:1])
			for log, want := range map[warg.LogID]uint64{stolen.LogID: st.Index, p.LogID(): length(t, a) - uint64(len(list))} {
				if st, err := a.Record(t.Context(), log, list[0].PackageRecordID()); err != nil || st.State != warg.StatePublished || st.Index != want {
					t.Errorf("%+v, %v; want index %d", st, err, want)
				}
			}
			if _, err := a.Publish(t.Context(), waiting); !isKind(err, warg.KindConflict) {
				t.Errorf("under a third name: %v", err)
			}
			audit(t, a)
		}
		check()
		must(t, a.Close())
		a = open(t, o)
		check()
	}
}

// TestAdoptWhileTheBytesWait: a submission that waits for content stays what it is
// when its bytes are adopted under another name.
func TestAdoptWhileTheBytesWait(t *testing.T) {
	o := adopting(durable.NewMemory(), newClock())
	o.Policy = nil
	a := open(t, o)
	content := wargtest.Component("x")
	p, list := chain("up:tool", content)
	name := wargtest.Name("test:waits")
	req := warg.PublishRequest{LogID: name.LogID(), Name: name, Record: list[0]}
	if st := publish(t, a, req); st.State != warg.StateSourcing {
		t.Fatalf("%+v", st)
	}
	adopt(t, a, p, list...)
	same(t, a, p.LogID(), list)
	if st, err := a.Record(t.Context(), p.LogID(), list[0].PackageRecordID()); err != nil || st.State != warg.StatePublished {
		t.Errorf("adopted: %+v, %v", st, err)
	}
	if st, err := a.Record(t.Context(), req.LogID, list[0].PackageRecordID()); err != nil || st.State != warg.StateSourcing {
		t.Errorf("waiting: %+v, %v", st, err)
	}
	upload(t, a, req, content)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("uploaded: %+v", st)
	}
	same(t, a, req.LogID, list)
	audit(t, a)
}

// TestAdoptLongLogs: more records than a batch takes, while others are published.
func TestAdoptLongLogs(t *testing.T) {
	o := adopting(durable.NewMemory(), newClock())
	o.Policy = nil
	o.segments.Max = 4 << 20
	a := open(t, o)
	p := wargtest.NewPackage("up:long")
	list := []warg.Envelope{firstRecord(p, nil)}
	for len(list) < maxJobs+200 {
		key := wargtest.Alice().Public()
		list = append(list, p.Next(wargtest.Bob(), wargtest.Grant(key, pkglog.PermissionYank), wargtest.Revoke(key.ID(), pkglog.PermissionYank)))
	}
	done := make(chan error, 1)
	go func() { done <- a.Adopt(t.Context(), p.Name(), list) }()
	for i := range 10 {
		_, req := first(fmt.Sprintf("test:p%d", i), nil)
		publish(t, a, req)
		if st := settled(t, a, req); st.State != warg.StatePublished {
			t.Errorf("%+v", st)
		}
	}
	must(t, <-done)
	same(t, a, p.LogID(), list)
	audit(t, a)
}

// TestAdoptAcrossCrashes ends the process at every failpoint of an adoption, and goes
// on from what is left.
func TestAdoptAcrossCrashes(t *testing.T) {
	contents := [][]byte{wargtest.Component("one"), wargtest.Component("two"), wargtest.Component("three")}
	p, list := chain("up:tool", contents...)
	story := func(o Options) error {
		a, err := Open(t.Context(), o)
		if err != nil {
			return err
		}
		defer a.Close()
		for i, c := range contents {
			if err == nil {
				err = a.KeepContent(warg.Sum(c), bytes.NewReader(c), 1<<20)
			}
			if err == nil {
				err = a.Adopt(t.Context(), p.Name(), list[:i+1])
			}
		}
		return err
	}
	for at, ended := 1, false; !ended; at += 1 + at/20 {
		m := durable.NewMemory()
		fault := durable.NewFault(m)
		fault.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
		ended = story(adopting(fault, newClock())) == nil && !fault.Reached()
		fault.Kill()
		left := adopting(m.Crash(nil), newClock())
		must(t, story(left))
		left.Adopt = nil
		a := open(t, left)
		same(t, a, p.LogID(), list)
		if ns, ok := find(a.Namespaces(), "up"); !ok || !ns.Defined || !maps.Equal(a.Adopted(), map[string]string{"up": adoptedFrom}) {
			t.Errorf("%+v, %v", ns, a.Adopted())
		}
		audit(t, a)
		must(t, a.Close())
		if t.Failed() {
			t.Fatalf("killed at call %d", at)
		}
		if ended && at < 50 {
			t.Errorf("only %d calls", at)
		}
	}
}
