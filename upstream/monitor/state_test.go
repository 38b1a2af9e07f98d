package monitor

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// remembered returns a watcher that was closed, of a registry with some history.
func remembered(t *testing.T) *watch {
	t.Helper()
	m := newRegistry(t, 4)
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	w.look(StatusConsistent)
	operate(t, m, wargtest.Alice(), oplog.DefineNamespace{Namespace: "second"})
	grow(t, m, "a", 3)
	w.look(StatusConsistent)
	m.Resign()
	w.look(StatusUnchanged)
	grow(t, m, "b", 1)
	s.refuse[api.OpLedger] = 503
	w.look(StatusUnreachable)
	c := latest(t, newRegistry(t, 4))
	c.MapRoot[0] ^= 1
	s.show(c.Sign(wargtest.Alice()))
	w.look(StatusForked)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// path returns the path of one of the watcher's files.
func (w *watch) path(name string) string {
	w.t.Helper()
	for path := range w.fs.Tree("/state") {
		if strings.HasSuffix(path, "/"+name) {
			return path
		}
	}
	w.t.Fatalf("there is no %s", name)
	return ""
}

// write replaces the content of one of the watcher's files.
func (w *watch) write(name string, content []byte) {
	w.t.Helper()
	f, err := w.fs.OpenWrite(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = f.WriteAt(content, 0)
	if err := errors.Join(err, f.Truncate(int64(len(content))), f.Close()); err != nil {
		w.t.Fatal(err)
	}
}

// mustBeDamaged demands that the state is refused as damaged and stays as it is.
func (w *watch) mustBeDamaged(what string) {
	w.t.Helper()
	before := fmt.Sprint(w.fs.Tree("/state"))
	watcher, err := Open(address, w.options)
	var damage *StateError
	if !errors.As(err, &damage) {
		w.t.Fatalf("%s: %v", what, err)
	}
	if err == nil {
		watcher.Close()
	}
	if !strings.Contains(err.Error(), "damaged") || damage.Unwrap() == nil {
		w.t.Errorf("%s: %v", what, err)
	}
	if after := fmt.Sprint(w.fs.Tree("/state")); before != after {
		w.t.Fatalf("%s: the state was changed", what)
	}
}

// TestDamagedState changes every byte of the state, and cuts it off everywhere.
func TestDamagedState(t *testing.T) {
	w := remembered(t)
	for _, name := range []string{committedFile, journalFile, ledgerFile} {
		whole := []byte(w.files()[name])
		if len(whole) == 0 {
			t.Fatalf("%s is empty", name)
		}
		for i := range whole {
			altered := bytes.Clone(whole)
			altered[i] ^= 1
			w.write(name, altered)
			w.mustBeDamaged(fmt.Sprintf("byte %d of %s", i, name))
		}
		for n := 0; n < len(whole); n += 7 {
			w.write(name, whole[:n])
			w.mustBeDamaged(fmt.Sprintf("%s of %d bytes", name, n))
		}
		w.write(name, whole)
	}
	w.open()
	if len(w.state.views) != 2 || len(w.state.pending) != 1 || len(w.state.convictions) != 1 {
		t.Errorf("%d views, %d wait, %d convictions", len(w.state.views), len(w.state.pending), len(w.state.convictions))
	}
}

func TestMissingFiles(t *testing.T) {
	for _, name := range []string{committedFile, journalFile, ledgerFile} {
		w := remembered(t)
		if err := w.fs.Remove(w.path(name)); err != nil {
			t.Fatal(err)
		}
		w.mustBeDamaged("without " + name)
	}
}

// TestReorderedJournal: lines that are whole but not where they were.
func TestReorderedJournal(t *testing.T) {
	w := remembered(t)
	whole := w.files()[journalFile]
	lines := strings.SplitAfter(whole, "\n")
	for i := 1; i+2 < len(lines); i++ {
		swapped := append([]string(nil), lines...)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		w.write(journalFile, []byte(strings.Join(swapped, "")))
		w.mustBeDamaged(fmt.Sprintf("lines %d and %d swapped", i, i+1))
		w.write(journalFile, []byte(strings.Join(append(lines[:i:i], lines[i+1:]...), "")))
		w.mustBeDamaged(fmt.Sprintf("without line %d", i))
	}
}

// TestOtherJournal: a journal that is in order by itself, and of the right size, but
// not the one that was committed.
func TestOtherJournal(t *testing.T) {
	w := remembered(t)
	whole := w.files()[journalFile]
	var chain warg.Digest
	var other []byte
	for text := range strings.Lines(whole) {
		content, _, ok := cutLast([]byte(strings.TrimSuffix(text, "\n")))
		if !ok {
			t.Fatal(text)
		}
		content = bytes.Replace(content, []byte("two checkpoints"), []byte("a pair of those"), 1)
		chain = lineSum(chain, content)
		other = fmt.Appendf(append(other, content...), " %s\n", chain.Hex()[:sumLen])
	}
	if len(other) != len(whole) || string(other) == whole {
		t.Fatalf("%d bytes, want %d others", len(other), len(whole))
	}
	w.write(journalFile, other)
	w.mustBeDamaged("another journal")
}

// TestStateOfAnotherRegistry: a folder that was copied under another name.
func TestStateOfAnotherRegistry(t *testing.T) {
	w := remembered(t)
	s, err := openState(w.fs, strings.TrimSuffix(w.path(journalFile), "/"+journalFile), "test", identity{stateFormat, "http://other.test", ""})
	var damage *StateError
	if !errors.As(err, &damage) {
		t.Errorf("%v %v", s, err)
	}
}

// TestUnfinishedWrites: what was being written when the process ended does not count.
func TestUnfinishedWrites(t *testing.T) {
	w := remembered(t)
	journal, ledger := w.files()[journalFile], w.files()[ledgerFile]
	w.write(journalFile, []byte(journal+journal[:200]))
	w.write(ledgerFile, []byte(ledger+"half a leaf"))
	w.open()
	if got := w.files(); got[journalFile] != journal || got[ledgerFile] != ledger {
		t.Error("what did not count was not cut off")
	}
}

func TestTwoProcesses(t *testing.T) {
	w := newWatch(t, newSite(t, newRegistry(t, 3)), nil)
	_, err := Open(address, w.options)
	var held *durable.HeldError
	if !errors.As(err, &held) {
		t.Errorf("%v", err)
	}
	other, err := Open("http://other.test", w.options)
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
}

// story is what the crash tests interrupt: growth, a renewal, silence, a crime. It
// returns how many looks were reported.
func story(t *testing.T, at chapters, w *Watcher, s *site, told []string) []string {
	t.Helper()
	steps := []func(){
		func() { s.reg = at[3] },
		func() { s.reg = at[6] },
		func() { s.reg = at[renewed] },
		func() { s.reg = at[8]; s.refuse[api.OpLedger] = 503 },
		func() { delete(s.refuse, api.OpLedger); s.reg = at[9] },
		func() { c := latest(t, at[5]); c.MapRoot[0] ^= 1; s.show(c.Sign(wargtest.Alice())) },
	}
	for _, do := range steps[len(told):] {
		do()
		r, err := w.Look(t.Context())
		if err != nil {
			return told
		}
		told = append(told, r.Status)
	}
	return told
}

// chapters are a registry at the lengths of the story.
type chapters map[int]*wargtest.Memory

// renewed is where the registry of length 6 is that has signed it anew.
const renewed = -6

func newChapters(t *testing.T) chapters {
	t.Helper()
	at := chapters{}
	for _, n := range []int{3, 5, 6, 8, 9} {
		at[n] = newRegistry(t, n)
	}
	at[renewed] = newRegistry(t, -renewed)
	at[renewed].Resign()
	return at
}

const wholeStory = "[consistent consistent unchanged unreachable consistent forked]"

// TestCrashAtEveryCall kills the process at every call of the file system, with the
// power gone, and goes on with what is left.
func TestCrashAtEveryCall(t *testing.T) {
	all := newChapters(t)
	for at := 1; ; at++ {
		memory := durable.NewMemory()
		fault := durable.NewFault(memory)
		fault.SetPlan(durable.Plan{At: at, Match: func(durable.Op, string) bool { return true }, Outcome: durable.Killed, Err: durable.ErrKilled})
		s := newSite(t, nil)
		w := &watch{t: t, site: s, options: Options{Dir: "/state", Transport: s, FS: fault}}
		var told []string
		if watcher, err := Open(address, w.options); err == nil {
			told = story(t, all, watcher, s, nil)
		}
		if !fault.Reached() {
			if fmt.Sprint(told) != wholeStory {
				t.Fatalf("undisturbed: %v", told)
			}
			if at < 50 {
				t.Fatalf("only %d calls", at)
			}
			return
		}
		fault.Kill()
		w.fs = memory.Crash(rand.New(rand.NewPCG(uint64(at), 1)))
		w.options.FS = w.fs
		w.open()
		mustKnow(t, w, at, told)
		s.shown = nil
		if told = story(t, all, w.Watcher, s, told); len(told) != 6 || told[5] != StatusForked || len(w.state.convictions) != 1 {
			t.Fatalf("killed at call %d: %v", at, told)
		}
		w.restart()
		if len(w.state.pending) != 0 || len(w.state.convictions) != 1 || w.state.leaves != 9 {
			t.Fatalf("killed at call %d: %d leaves, %d wait", at, w.state.leaves, len(w.state.pending))
		}
	}
}

// mustKnow demands that everything that was reported is remembered.
func mustKnow(t *testing.T, w *watch, at int, told []string) {
	t.Helper()
	views, waits := map[int]int{0: 0, 1: 1, 2: 2, 3: 2, 4: 2, 5: 4, 6: 4}[len(told)], len(told) == 4
	if len(w.state.views) < views || waits && len(w.state.pending) == 0 && len(w.state.views) < 4 {
		t.Fatalf("killed at call %d after %v: %d views, %d wait", at, told, len(w.state.views), len(w.state.pending))
	}
}

// TestFailedCalls lets every call of the file system fail once, with and without
// effect. The watcher stops there, and a new one goes on.
func TestFailedCalls(t *testing.T) {
	all := newChapters(t)
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted} {
		for at := 1; ; at++ {
			memory := durable.NewMemory()
			fault := durable.NewFault(memory)
			fault.SetPlan(durable.Plan{At: at, Match: func(durable.Op, string) bool { return true }, Outcome: outcome, Err: errors.New("input/output error")})
			s := newSite(t, nil)
			w := &watch{t: t, site: s, fs: memory, options: Options{Dir: "/state", Transport: s, FS: fault}}
			var told []string
			watcher, err := Open(address, w.options)
			if err == nil {
				told = story(t, all, watcher, s, nil)
				watcher.Close()
			}
			if !fault.Reached() {
				break
			}
			fault.Kill() // and the process ends
			w.options.FS = memory
			w.open()
			mustKnow(t, w, at, told)
			s.shown = nil
			if told = story(t, all, w.Watcher, s, told); len(told) != 6 || told[5] != StatusForked || len(w.state.convictions) != 1 {
				t.Fatalf("call %d failed: %v", at, told)
			}
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	w := newWatch(t, newSite(t, newRegistry(t, 3)), nil)
	w.state.journal.size = maxJournal
	if _, err := w.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "bound") {
		t.Errorf("%v", err)
	}
	if _, err := w.Look(t.Context()); err == nil {
		t.Error("after a failed write the watcher went on")
	}
	long := line{kindForked, bytes.Repeat([]byte("x"), maxLine)}
	if err := newWatch(t, w.site, nil).state.commit(long); err == nil {
		t.Error("a line beyond all bounds was written")
	}
}
