package authority

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// reopen closes a registry and opens it again with the same options.
func reopen(t *testing.T, a *Authority, o Options) *Authority {
	t.Helper()
	must(t, a.Close())
	return open(t, o)
}

// TestRestartKeepsEveryState restarts a registry, properly and by leaving it, with
// a record in each state.
func TestRestartKeepsEveryState(t *testing.T) {
	for _, where := range []string{"disk", "memory"} {
		t.Run(where, func(t *testing.T) {
			c := newClock()
			o := memoryOptions(durable.NewMemory(), c)
			if where == "disk" {
				o = diskOptions(t.TempDir(), c)
			}
			g := new(gate)
			o.Step = g.step
			a := open(t, o)
			one, two := wargtest.Component("one"), wargtest.Component("two")
			_, done := first("test:published", one)
			publish(t, a, done)
			upload(t, a, done, one)
			settled(t, a, done)
			_, refused := first("test:rejected", []byte("text"))
			publish(t, a, refused)
			if err := a.Upload(t.Context(), refused.LogID, refused.Record.PackageRecordID(), warg.Sum([]byte("text")), strings.NewReader("text")); !isKind(err, warg.KindRejected) {
				t.Fatalf("upload of text: %v", err)
			}
			_, waits := first("test:waits", two)
			publish(t, a, waits)
			before, err := a.Checkpoint(t.Context())
			must(t, err)
			for range 2 {
				a = reopen(t, a, o)
				after, err := a.Checkpoint(t.Context())
				must(t, err)
				if after != before {
					t.Errorf("checkpoint is %+v, was %+v", after, before)
				}
				for req, want := range map[*warg.PublishRequest]warg.State{&done: warg.StatePublished, &refused: warg.StateRejected, &waits: warg.StateSourcing} {
					if st := publish(t, a, *req); st.State != want {
						t.Errorf("%s is %s, want %s", req.Name, st.State, want)
					}
				}
				audit(t, a)
			}
			// A complete record whose batch never came about.
			release := g.hold()
			_, complete := first("test:complete", one)
			if st := publish(t, a, complete); st.State != warg.StateProcessing {
				t.Fatalf("a complete record is %s", st.State)
			}
			a.fail(errors.New("the process ends here"))
			release()
			a = reopen(t, a, o)
			if st := settled(t, a, complete); st.State != warg.StatePublished {
				t.Errorf("a complete record ends up %s", st.State)
			}
			upload(t, a, waits, two)
			if st := settled(t, a, waits); st.State != warg.StatePublished {
				t.Errorf("a record that got its content after restarts ends up %s", st.State)
			}
			audit(t, a)
		})
	}
}

func TestContentThatArrivedBeforeACrash(t *testing.T) {
	o := memoryOptions(durable.NewMemory(), newClock())
	a := open(t, o)
	c := wargtest.Component("arrived")
	_, req := first("test:arrived", c)
	publish(t, a, req)
	_, err := a.content.Put(warg.Sum(c), strings.NewReader(string(c)), cas.Checks{MaxSize: 1 << 20})
	must(t, err)
	a = reopen(t, a, o)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("the record ends up %s", st.State)
	}
}

// TestIndexIsOnlyAnIndex deletes, damages and outdates the index: it is made again,
// and nothing is missing.
func TestIndexIsOnlyAnIndex(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	o := diskOptions(dir, c)
	a := open(t, o)
	w := newWitness()
	must(t, story(t.Context(), a, w))
	v, err := a.Checkpoint(t.Context())
	must(t, err)
	must(t, a.Close())
	index := filepath.Join(dir, "authority", indexDir)
	check := func(what string) {
		t.Helper()
		a := open(t, o)
		now, err := a.Checkpoint(t.Context())
		must(t, err)
		if now != v {
			t.Errorf("%s: checkpoint is %+v, was %+v", what, now, v)
		}
		w.keeps(t, a)
		audit(t, a)
		for _, old := range w.views {
			length := old.Unverified().LogLength
			if _, err := a.Inclusion(t.Context(), length, []uint64{length - 1}); err != nil {
				t.Errorf("%s: proving at length %d: %v", what, length, err)
			}
		}
		must(t, a.Close())
	}
	must(t, os.RemoveAll(index))
	check("deleted")

	old := filepath.Join(dir, "old")
	must(t, os.CopyFS(old, os.DirFS(index)))
	a = open(t, o)
	_, req := first("test:newer", nil)
	publish(t, a, req)
	w.saw(req, settled(t, a, req))
	v, err = a.Checkpoint(t.Context())
	must(t, err)
	must(t, a.Close())
	must(t, os.RemoveAll(index))
	must(t, os.Rename(old, index))
	check("outdated")

	files, err := filepath.Glob(filepath.Join(index, "*"))
	must(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // every opening replaces some
		}
		must(t, err)
		if len(b) == 0 || strings.HasSuffix(file, "LOCK") || strings.HasSuffix(file, ".sst") {
			continue // tables: see TestPanicsWhileOpening
		}
		damage(t, file)
		check("damaged " + filepath.Base(file))
	}

	must(t, os.WriteFile(filepath.Join(dir, "authority", openingFile), []byte("2\n"), 0o600))
	check("opening ended in a panic twice")
	if _, err := os.Stat(index + ".bad"); err != nil {
		t.Errorf("the damaged index was not kept: %v", err)
	}
}

// damage changes the beginning of a file.
func damage(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	for i := range min(len(b), 4096) {
		b[i] ^= 0x55
	}
	must(t, os.WriteFile(file, b, 0o600))
}

// dirVariable names the data directory to the process that TestPanicsWhileOpening
// starts.
const dirVariable = "ENTREPOT_TEST_OPEN"

// TestPanicsWhileOpening: a damaged table makes a goroutine of Badger panic, which
// ends the process. The third start makes the index anew.
func TestPanicsWhileOpening(t *testing.T) {
	if dir := os.Getenv(dirVariable); dir != "" {
		must(t, open(t, diskOptions(dir, newClock())).Close())
		return
	}
	dir := t.TempDir()
	a := open(t, diskOptions(dir, newClock()))
	w := newWitness()
	must(t, story(t.Context(), a, w))
	must(t, a.Close())
	tables, err := filepath.Glob(filepath.Join(dir, "authority", indexDir, "*.sst"))
	must(t, err)
	if len(tables) == 0 {
		t.Fatal("there is no table to damage")
	}
	damage(t, tables[0])
	for start := 1; ; start++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPanicsWhileOpening$")
		cmd.Env = append(os.Environ(), dirVariable+"="+dir)
		if out, err := cmd.CombinedOutput(); err == nil {
			break
		} else if start > maxStarts {
			t.Fatalf("start %d still fails: %s", start, out)
		}
	}
	a = open(t, diskOptions(dir, newClock()))
	w.keeps(t, a)
	audit(t, a)
}

// maxStarts is how many starts may end in a panic.
const maxStarts = 2

func TestSecondOpenerIsRefused(t *testing.T) {
	o := diskOptions(t.TempDir(), newClock())
	a := open(t, o)
	_, err := Open(t.Context(), o)
	var held *durable.HeldError
	if !errors.As(err, &held) || !strings.Contains(held.Holder, "process ") {
		t.Errorf("second opener: %v", err)
	}
	must(t, a.Close())
	open(t, o)
}

// TestTwoProcessesOneAnchor: copies of a registry that share the anchor cannot both
// sign; the one that comes second stops.
func TestTwoProcessesOneAnchor(t *testing.T) {
	m := durable.NewMemory()
	o := memoryOptions(m, newClock())
	o.AnchorFile = "/elsewhere/anchor"
	must(t, durable.MkdirAll(m, "/elsewhere"))
	a := open(t, o)
	other := anchor.NewFile(m, o.AnchorFile, "the other")
	loaded, err := other.Load()
	must(t, err)
	loaded.Signed = warg.Checkpoint{LogLength: 2, Timestamp: loaded.Time()}.Sign(wargtest.Alice())
	must(t, other.Swap(loaded, nil))
	_, req := first("test:loser", nil)
	publish(t, a, req)
	stops(t, a, req)
	if !errors.Is(a.Err(), anchor.ErrConflict) {
		t.Errorf("stopped with %v", a.Err())
	}
	if length(t, a) != 1 {
		t.Error("a checkpoint that was not issued is shown")
	}
	if _, err := a.Publish(t.Context(), req); !isKind(err, warg.KindUnavailable) {
		t.Errorf("publishing to a stopped registry: %v", err)
	}
	if s := a.Status(); s.State != "failed" || s.Err == nil {
		t.Errorf("status is %+v", s)
	}
}

func TestOperatorRecordsSurvive(t *testing.T) {
	o := diskOptions(t.TempDir(), newClock())
	a := open(t, o)
	must(t, a.DefineNamespace(t.Context(), "more"))
	must(t, a.ImportNamespace(t.Context(), "theirs", "their.example"))
	must(t, a.GrantOperator(t.Context(), wargtest.Bob().Public(), []oplog.Permission{oplog.PermissionCommit}))
	a = reopen(t, a, o)
	list := a.Namespaces()
	if len(list) != 3 || !list[1].Defined || list[1].Name != "more" || list[2].Registry != "their.example" {
		t.Errorf("namespaces are %+v", list)
	}
	if length(t, a) != 4 {
		t.Errorf("length is %d", length(t, a))
	}
	must(t, a.RevokeOperator(t.Context(), wargtest.Bob().Public().ID(), []oplog.Permission{oplog.PermissionCommit}))
	for what, err := range map[string]error{
		"defining twice":           a.DefineNamespace(t.Context(), "more"),
		"importing what is ours":   a.ImportNamespace(t.Context(), "more", "x.example"),
		"revoking what is not had": a.RevokeOperator(t.Context(), wargtest.Bob().Public().ID(), []oplog.Permission{oplog.PermissionCommit}),
	} {
		if !isKind(err, warg.KindConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"no name":          a.DefineNamespace(t.Context(), "No"),
		"from ourselves":   a.ImportNamespace(t.Context(), "self", "registry.example"),
		"granting nothing": a.GrantOperator(t.Context(), wargtest.Bob().Public(), nil),
		"our own commit":   a.RevokeOperator(t.Context(), wargtest.Alice().Public().ID(), []oplog.Permission{oplog.PermissionCommit}),
	} {
		if !isKind(err, warg.KindBadRequest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if length(t, a) != 5 {
		t.Errorf("what was refused is in the log: length is %d", length(t, a))
	}
}

// TestKeyRotation: a key that was granted everything takes over.
func TestKeyRotation(t *testing.T) {
	o := memoryOptions(durable.NewMemory(), newClock())
	a := open(t, o)
	must(t, a.GrantOperator(t.Context(), wargtest.Bob().Public(), []oplog.Permission{oplog.PermissionCommit, oplog.PermissionDefineNamespace}))
	old, err := a.Checkpoint(t.Context())
	must(t, err)
	must(t, a.Close())
	o.Key = wargtest.Bob()
	a = open(t, o)
	must(t, a.DefineNamespace(t.Context(), "bobs"))
	v, err := a.Checkpoint(t.Context())
	must(t, err)
	if _, err := v.Signed.Open(wargtest.Bob().Public()); err != nil {
		t.Error(err)
	}
	must(t, a.RevokeOperator(t.Context(), wargtest.Alice().Public().ID(), []oplog.Permission{oplog.PermissionCommit}))
	// What the old key signed while it might stays verified; what it signs now does not.
	if got, err := a.VerifyCheckpoint(t.Context(), old.Signed); err != nil || got.Signature != warg.Verified {
		t.Errorf("old checkpoint: %+v, %v", got, err)
	}
	now, err := a.Checkpoint(t.Context())
	must(t, err)
	if got, err := a.VerifyCheckpoint(t.Context(), now.Checkpoint.Sign(wargtest.Alice())); err != nil || got.Signature != warg.Invalid || got.Checkpoint != warg.Verified {
		t.Errorf("signed by a revoked key: %+v, %v", got, err)
	}
	must(t, a.Close())
	o.Key = wargtest.Alice()
	if _, err := Open(t.Context(), o); !errors.As(err, new(*ConfigError)) {
		t.Errorf("opening with a revoked key: %v", err)
	}
}

// TestRestartReadsNoHistory: what opening reads does not grow with the registry.
func TestRestartReadsNoHistory(t *testing.T) {
	fault := durable.NewFault(durable.OS{})
	dir := t.TempDir()
	o := diskOptions(dir, newClock())
	o.FS = fault
	a := open(t, o)
	packages := 0
	reads := func(more int) int {
		for range more {
			packages++
			_, req := first(fmt.Sprintf("test:p%d", packages), nil)
			publish(t, a, req)
			settled(t, a, req)
		}
		must(t, a.Close())
		before := fault.Counts()[durable.OpRead]
		a = open(t, o)
		return fault.Counts()[durable.OpRead] - before
	}
	few, many := reads(10), reads(150)
	if few == 0 || many > few+20 {
		t.Errorf("%d reads to open 10 records, %d for 160", few, many)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "authority", logDir, "*"+segment.Suffix))
	must(t, err)
	if len(segments) < 3 {
		t.Fatalf("%d segments: nothing is tested", len(segments))
	}
}
