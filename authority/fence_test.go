package authority

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// grown returns a registry in memory that the story was told to, closed.
func grown(t *testing.T, c *clock) (*durable.Memory, *witness) {
	t.Helper()
	m := durable.NewMemory()
	a := open(t, memoryOptions(m, c))
	w := newWitness()
	must(t, story(t.Context(), a, w))
	must(t, a.Close())
	return m, w
}

// fenced opens a registry that must be fenced, and checks that it signs nothing
// and changes nothing.
func fenced(t *testing.T, m *durable.Memory, o Options, kind FenceKind) *Authority {
	t.Helper()
	before := m.Tree("/data/authority")
	a, err := Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { _ = a.Close() })
	s := a.Status()
	if s.State != "fenced" || s.Fence.Kind != kind {
		t.Fatalf("opened %s: %+v; want fence %s", s.State, s.Fence, kind)
	}
	_, req := first("test:fenced", nil)
	if _, err := a.Publish(t.Context(), req); !isKind(err, warg.KindUnavailable) {
		t.Errorf("publishing behind a fence: %v", err)
	}
	if err := a.DefineNamespace(t.Context(), "fenced"); !isKind(err, warg.KindUnavailable) {
		t.Errorf("defining a namespace behind a fence: %v", err)
	}
	_, err = a.Checkpoint(t.Context())
	_, nerr := a.Names(t.Context(), nil)
	_, ierr := a.Inclusion(t.Context(), 1, []uint64{0})
	_, cerr := a.Consistency(t.Context(), 1, 1)
	_, lerr := a.Ledger(t.Context(), 0, 1)
	_, gerr := a.Logs(t.Context(), warg.LogsRequest{LogLength: 1})
	_, verr := a.VerifyCheckpoint(t.Context(), warg.SignedCheckpoint{})
	for i, err := range []error{err, nerr, ierr, cerr, lerr, gerr, verr} {
		switch {
		case kind == FenceBehind && !isKind(err, warg.KindUnavailable):
			t.Errorf("read %d behind the fence: %v", i, err)
		case kind != FenceBehind && err != nil:
			t.Errorf("read %d: %v", i, err)
		}
	}
	if kind == FenceBehind {
		for name, content := range m.Tree("/data/authority") {
			if content != before[name] && filepath.Base(name) != openingFile {
				t.Errorf("%s changed behind the fence", name)
			}
		}
	}
	return a
}

func flip(t *testing.T, m *durable.Memory, name string, at int64) {
	t.Helper()
	f, err := m.OpenWrite(name)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	must(t, err)
	_, err = f.WriteAt([]byte{b[0] ^ 1}, at)
	must(t, err)
}

// flipLast changes the last byte of a file that is not zero.
func flipLast(t *testing.T, m *durable.Memory, name string) {
	t.Helper()
	last := len(strings.TrimRight(m.Tree(filepath.Dir(name))[name], "\x00")) - 1
	flip(t, m, name, int64(last))
}

// put writes a file as it was at another time.
func put(t *testing.T, m *durable.Memory, name, content string) {
	t.Helper()
	if err := m.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	f, err := m.Create(name)
	must(t, err)
	_, err = f.Write([]byte(content))
	must(t, err)
}

// TestFences: whatever proves, or may mean, that somebody saw more than is here.
func TestFences(t *testing.T) {
	const (
		anchorName  = "/data/authority/anchor"
		historyName = "/data/authority/anchor.log"
		segment1    = "/data/authority/log/00000001.seg"
	)
	// An earlier state of the same registry, as a backup would have it.
	earlier := func(t *testing.T) (m *durable.Memory, old map[string]string) {
		m = durable.NewMemory()
		o := memoryOptions(m, newClock())
		a := open(t, o)
		must(t, a.Close())
		old = m.Tree("/data/authority")
		a = open(t, o)
		must(t, story(t.Context(), a, newWitness()))
		must(t, a.Close())
		return m, old
	}
	restore := func(names ...string) func(*testing.T) *durable.Memory {
		return func(t *testing.T) *durable.Memory {
			m, old := earlier(t)
			for _, name := range names {
				put(t, m, name, old[name])
			}
			return m
		}
	}
	after := func(change func(*testing.T, *durable.Memory)) func(*testing.T) *durable.Memory {
		return func(t *testing.T) *durable.Memory {
			m, _ := grown(t, newClock())
			change(t, m)
			return m
		}
	}
	// What is published stays so: where the journal still leads to a checkpoint that is
	// known, the records below it and their content are served, although no index is there.
	cases := map[string]struct {
		prepare func(*testing.T) *durable.Memory
		serves  bool
	}{
		"anchor missing":        {after(func(t *testing.T, m *durable.Memory) { must(t, m.Remove(anchorName)) }), true},
		"anchor damaged":        {after(func(t *testing.T, m *durable.Memory) { flip(t, m, anchorName, 30) }), true},
		"anchor restored":       {restore(anchorName), true},
		"journal restored":      {restore(segment1), false},
		"history missing":       {after(func(t *testing.T, m *durable.Memory) { must(t, m.Remove(historyName)) }), true},
		"history damaged":       {after(func(t *testing.T, m *durable.Memory) { flip(t, m, historyName, 3) }), true},
		"journal damaged":       {after(func(t *testing.T, m *durable.Memory) { flip(t, m, segment1, 200) }), false},
		"journal's end damaged": {after(func(t *testing.T, m *durable.Memory) { flipLast(t, m, segment1) }), true},
		"journal missing":       {after(func(t *testing.T, m *durable.Memory) { must(t, m.Remove(segment1)) }), false},
		"directory was moved":   {after(func(t *testing.T, m *durable.Memory) { move(t, m) }), true},
		"moved, history lines":  {after(func(t *testing.T, m *durable.Memory) { flip(t, m, historyName, 192*2+5); move(t, m) }), true},
		"only the journal left": {after(func(t *testing.T, m *durable.Memory) {
			must(t, m.Remove(anchorName))
			must(t, m.Remove(historyName))
		}), false},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			m := tt.prepare(t)
			servesWhatIsPublished(t, fenced(t, m, memoryOptions(m, newClock()), FenceBehind), tt.serves)
		})
	}
}

// TestJournalIsSomethingElse: the index is there, and nothing of the journal can be read.
func TestJournalIsSomethingElse(t *testing.T) {
	m, base := durable.NewMemory(), new(kv.Memory)
	o := memoryOptions(m, newClock())
	o.Index = index.InMemory(base)
	a := open(t, o)
	must(t, story(t.Context(), a, newWitness()))
	must(t, a.Close())
	put(t, m, "/data/authority/log/00000001.seg", strings.Repeat("not a journal ", 1000))
	servesWhatIsPublished(t, fenced(t, m, o, FenceBehind), true)
}

// servesWhatIsPublished checks that the story's first record and its content are served,
// or else that nothing is said of them; and that nothing is ever said not to be there.
func servesWhatIsPublished(t *testing.T, a *Authority, serves bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := a.Alive(ctx); err != nil {
		t.Errorf("it would be ended for no fault of the process: %v", err)
	}
	c := wargtest.Component("one")
	_, req := first("test:one", c)
	st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID())
	info, cerr := a.Stat(t.Context(), warg.Sum(c))
	if serves && (err != nil || cerr != nil || st.State != warg.StatePublished || info.Size != int64(len(c))) {
		t.Errorf("record %+v, %v; content %+v, %v", st, err, info, cerr)
	}
	if !serves && (!isKind(err, warg.KindUnavailable) || !isKind(cerr, warg.KindUnavailable)) {
		t.Errorf("record %+v, %v; content %+v, %v", st, err, info, cerr)
	}
	_, unknown := first("test:unknown", nil)
	_, err = a.Record(t.Context(), unknown.LogID, unknown.Record.PackageRecordID())
	_, cerr = a.Open(t.Context(), warg.Sum([]byte("unknown")))
	if !isKind(err, warg.KindUnavailable) || !isKind(cerr, warg.KindUnavailable) {
		t.Errorf("what is not known here: record %v; content %v", err, cerr)
	}
}

// move makes the directory another one with the same content, as cp -r does.
func move(t *testing.T, m *durable.Memory) {
	t.Helper()
	files := m.Tree("/data/authority")
	must(t, m.Rename("/data/authority", "/data/gone"))
	must(t, m.Mkdir("/data/authority"))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		must(t, durable.MkdirAll(m, filepath.Dir(name)))
		put(t, m, name, files[name])
	}
}

// TestIndexAheadOfTheAnchor: on disk, where the index survives, it can tell that
// the rest of the directory is old.
func TestIndexAheadOfTheAnchor(t *testing.T) {
	dir := t.TempDir()
	o := diskOptions(dir, newClock())
	a := open(t, o)
	must(t, a.Close())
	old := filepath.Join(dir, "old")
	must(t, os.CopyFS(old, os.DirFS(filepath.Join(dir, "authority"))))
	a = open(t, o)
	must(t, story(t.Context(), a, newWitness()))
	must(t, a.Close())
	for _, name := range []string{"anchor", historyFile, logDir} {
		must(t, os.RemoveAll(filepath.Join(dir, "authority", name)))
		must(t, os.Rename(filepath.Join(old, name), filepath.Join(dir, "authority", name)))
	}
	a, err := Open(t.Context(), o)
	must(t, err)
	defer a.Close()
	if s := a.Status(); s.Fence == nil || s.Fence.Kind != FenceBehind || !strings.Contains(s.Fence.Reason, "index") {
		t.Errorf("opened %s: %+v", s.State, s.Fence)
	}
	if _, err := a.Checkpoint(t.Context()); !isKind(err, warg.KindUnavailable) {
		t.Errorf("checkpoint: %v", err)
	}
	// Records and content are served.
	c := wargtest.Component("one")
	_, req := first("test:one", c)
	if st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
		t.Errorf("record: %+v, %v", st, err)
	}
	if info, err := a.Stat(t.Context(), warg.Sum(c)); err != nil || info.Size != int64(len(c)) {
		t.Errorf("content: %+v, %v", info, err)
	}
}

func TestClockBehind(t *testing.T) {
	c := newClock()
	m, w := grown(t, c)
	c.Add(-6 * time.Minute)
	a := fenced(t, m, memoryOptions(m, c), FenceClock)
	audit(t, a)
	c.Add(2 * time.Minute) // still behind, but not by too much
	_, req := first("test:again", nil)
	publish(t, a, req)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("after the clock caught up: %+v", st)
	}
	w.keeps(t, a)
	v, err := a.Checkpoint(t.Context())
	must(t, err)
	if last := w.views[len(w.views)-1].Unverified(); v.Checkpoint.Timestamp < last.Timestamp {
		t.Errorf("the checkpoint's time went back from %d to %d", last.Timestamp, v.Checkpoint.Timestamp)
	}
	c.Add(-time.Hour) // while running
	_, req = first("test:later", nil)
	if _, err := a.Publish(t.Context(), req); !isKind(err, warg.KindUnavailable) {
		t.Errorf("publishing with a clock that was set back: %v", err)
	}
	c.Add(time.Hour)
	publish(t, a, req)
}

// leaveTail opens a registry and ends it when a record stands in the journal that nothing
// was signed for yet.
func leaveTail(t *testing.T, o Options) (tail warg.PublishRequest) {
	t.Helper()
	crash := false
	o.Step = func(name string) error {
		if crash && name == "segSynced" {
			return errCrash
		}
		return nil
	}
	a := open(t, o)
	crash = true
	_, req := first("test:tail", nil)
	publish(t, a, req)
	<-a.Done()
	must(t, a.Close())
	return req
}

// TestTailWaitsForTheClock: what was on its way when the process ended is
// sequenced once the clock allows it.
func TestTailWaitsForTheClock(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := memoryOptions(m, c)
	req := leaveTail(t, o)
	c.Add(-time.Hour)
	a := fenced(t, m, o, FenceClock)
	if st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StateProcessing {
		t.Errorf("meanwhile the record is %+v, %v", st, err)
	}
	c.Add(time.Hour)
	if err := a.writable(); err != nil { // clears the fence
		t.Fatal(err)
	}
	a.poke()
	if st := settled(t, a, req); st.State != warg.StatePublished || st.Index != 1 {
		t.Errorf("the record ends up %+v", st)
	}
	audit(t, a)
}

func TestClockFarAhead(t *testing.T) {
	c := newClock()
	m, _ := grown(t, c)
	c.Add(366 * 24 * time.Hour)
	audit(t, fenced(t, m, memoryOptions(m, c), FenceJump))
}

// TestClockJumpsWhileRunning tells a wall clock that was set from time that passed.
func TestClockJumpsWhileRunning(t *testing.T) {
	c := newClock()
	a := open(t, memoryOptions(durable.NewMemory(), c))
	start := time.Now()
	a.checkJump(start, start.Add(400*24*time.Hour)) // a year passed
	if s := a.Status(); s.State != "ok" {
		t.Errorf("fenced by the passing of time: %+v", s.Fence)
	}
	a.checkJump(start.Round(0), start.Add(time.Hour))
	if s := a.Status(); s.State != "ok" {
		t.Errorf("fenced by an hour: %+v", s.Fence)
	}
}

func TestFrozen(t *testing.T) {
	c := newClock()
	m, w := grown(t, c)
	f := anchor.NewFile(m, "/data/authority/anchor", "")
	a, err := f.Load()
	must(t, err)
	a.Frozen = true
	must(t, f.Swap(a, nil))
	r := fenced(t, m, memoryOptions(m, c), FenceFrozen)
	w.keeps(t, r)
	audit(t, r)
}

// TestStampTellsALostDirectory: an empty directory beside a used key is no reason
// to begin a second registry.
func TestStampTellsALostDirectory(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	must(t, durable.MkdirAll(m, "/keys"))
	o := memoryOptions(m, c)
	o.KeyFile = "/keys/operator.key"
	a := open(t, o)
	must(t, a.Close())
	lost := o
	lost.Dir, lost.ContentDir = "/other/authority", "/other/content"
	before := m.Tree("/")
	var bad *ConfigError
	if _, err := Open(t.Context(), lost); !errors.As(err, &bad) || !strings.Contains(bad.Msg, "missing or not mounted") {
		t.Errorf("opening an empty directory: %v", err)
	}
	if ok, _ := durable.Exists(m, "/other"); ok || !maps.Equal(before, m.Tree("/")) {
		t.Error("something was made in it")
	}
	// The same key beside another registry.
	lost.KeyFile = ""
	c.Add(time.Second)
	must(t, open(t, lost).Close())
	lost.KeyFile = o.KeyFile
	if _, err := Open(t.Context(), lost); !errors.As(err, &bad) || !strings.Contains(bad.Msg, "another registry") {
		t.Errorf("opening another registry with a stamped key: %v", err)
	}
	// A stamp that a crash prevented is written later.
	must(t, m.Remove(anchor.StampPath(o.KeyFile)))
	must(t, open(t, o).Close())
	if ok, err := durable.Exists(m, anchor.StampPath(o.KeyFile)); !ok || err != nil {
		t.Errorf("the stamp was not made good: %v", err)
	}
}

// TestKeyFolderReadOnly: without a stamp, only who asks for it gets a new registry.
func TestKeyFolderReadOnly(t *testing.T) {
	fault := durable.NewFault(durable.NewMemory())
	fault.SetPlan(durable.Plan{At: 1, Err: os.ErrPermission, Match: func(op durable.Op, name string) bool {
		return op == durable.OpCreate && strings.HasPrefix(name, "/keys/")
	}})
	o := memoryOptions(fault, newClock())
	o.KeyFile = "/keys/operator.key"
	var bad *ConfigError
	if _, err := Open(t.Context(), o); !errors.As(err, &bad) || !strings.Contains(bad.Msg, "entrepot init") {
		t.Errorf("opening: %v", err)
	}
	fault.SetPlan(durable.Plan{At: 1, Err: os.ErrPermission, Match: func(op durable.Op, name string) bool {
		return op == durable.OpCreate && strings.HasPrefix(name, "/keys/")
	}})
	o.Init = true
	a := open(t, o) // goes on from the genesis anchor
	if length(t, a) != 1 {
		t.Error("no registry was made")
	}
}

func TestConfigurationErrors(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	must(t, open(t, memoryOptions(m, c)).Close())
	cases := map[string]struct {
		change func(*Options)
		want   string
	}{
		"another domain":    {func(o *Options) { o.Domain = "other.example" }, "registry.example"},
		"another key":       {func(o *Options) { o.Key = wargtest.Bob() }, "may not sign"},
		"new namespace":     {func(o *Options) { o.Namespaces = append(o.Namespaces, "later") }, "entrepot namespace define later"},
		"no namespace":      {func(o *Options) { o.Namespaces = []string{"Upper"} }, "Upper"},
		"no domain":         {func(o *Options) { o.Domain = "" }, "domain"},
		"no key":            {func(o *Options) { o.Key = warg.PrivateKey{} }, "key"},
		"no directory":      {func(o *Options) { o.Dir = "" }, "directory"},
		"no content policy": {func(o *Options) { o.Content = "jar" }, "jar"},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			before := m.Tree("/data/authority")
			o := memoryOptions(m, c)
			o.Namespaces = slices.Clone(o.Namespaces)
			tt.change(&o)
			_, err := Open(t.Context(), o)
			var bad *ConfigError
			if !errors.As(err, &bad) || !strings.Contains(bad.Msg, tt.want) {
				t.Errorf("open: %v", err)
			}
			after := m.Tree("/data/authority")
			delete(before, "/data/authority/index.opening")
			for name, content := range before {
				if after[name] != content {
					t.Errorf("%s changed", name)
				}
			}
		})
	}
	o := memoryOptions(m, c)
	o.Namespaces = nil // more in the log than in the file is fine
	open(t, o)
}

// TestIndexBehindAFence: the index that is made behind a fence ends at the newest
// checkpoint that is known, with what stands above it in the journal left out, so that
// an operator's word is judged by what was signed for; and one that knows more stays.
func TestIndexBehindAFence(t *testing.T) {
	g := newEstate(t, 2)
	head := g.head(t)
	req := leaveTail(t, g.options())
	kept, full := g.m.Tree("/data/authority"), g.base
	must(t, g.m.Remove("/data/authority/anchor"))

	g.base = new(kv.Memory)
	a, err := Open(t.Context(), g.options())
	must(t, err)
	if n := a.index.Head().Length; n != head.Length {
		t.Errorf("the index has length %d, signed was %d", n, head.Length)
	}
	if _, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); !isKind(err, warg.KindUnavailable) {
		t.Errorf("a record that nobody signed for: %v", err)
	}
	must(t, a.Close())
	must(t, Accept(t.Context(), g.options(), head))
	a = open(t, g.options())
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("what was on its way is %+v", st)
	}
	must(t, a.Close())

	// An index of another history is made anew; one of the same that is ahead is not.
	g.base = full
	put(t, g.m, "/data/authority/anchor", kept["/data/authority/anchor"])
	move(t, g.m)
	for _, base := range []*kv.Memory{full, otherHistory(t, g)} {
		g.base = base
		a, err = Open(t.Context(), g.options())
		must(t, err)
		_, one := first("test:p1", wargtest.Component("content 1"))
		if st, err := a.Record(t.Context(), one.LogID, one.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
			t.Errorf("record: %+v, %v", st, err)
		}
		must(t, a.Close())
	}
}

// TestIndexIsAllThatIsLeft: segments and anchor are gone, and what the index has is served.
func TestIndexIsAllThatIsLeft(t *testing.T) {
	g := newEstate(t, 45)
	const log = "/data/authority/log/"
	if _, ok := g.m.Tree("/data")[log+"00000002.seg"]; !ok {
		t.Fatal("one segment has it all")
	}
	must(t, g.m.Remove(log+"00000001.seg"))
	for range 2 { // with the anchor, and without
		a, err := Open(t.Context(), g.options())
		must(t, err)
		if f := a.Status().Fence; f == nil || f.Kind != FenceBehind {
			t.Errorf("the fence is %+v", f)
		}
		must(t, a.Alive(t.Context()))
		_, one := first("test:p1", wargtest.Component("content 1"))
		if st, err := a.Record(t.Context(), one.LogID, one.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished {
			t.Errorf("record: %+v, %v", st, err)
		}
		must(t, a.Close())
		if err := g.m.Remove("/data/authority/anchor"); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// otherHistory returns an index of the same registry that was filled with other records.
func otherHistory(t *testing.T, g *estate) *kv.Memory {
	t.Helper()
	base := new(kv.Memory)
	x, err := index.Open(index.Options{
		FS: g.m, Database: index.InMemory(base), Counter: "/data/other.opening", Registry: registryOf(t, g), Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	f := journal.NewFrame(0, warg.PackageName{}, warg.Envelope{Content: []byte("other")})
	u, err := x.Tree().Prepare([]warg.Leaf{f.Value()})
	must(t, err)
	must(t, x.Commit(u, []index.Entry{{Leaf: f.Value()}}))
	must(t, x.Close())
	return base
}

func registryOf(t *testing.T, g *estate) warg.Digest {
	t.Helper()
	a, err := anchor.NewFile(g.m, "/data/authority/anchor", "").Load()
	must(t, err)
	return a.Registry
}
