package authority

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// killVariable tells the process that TestKill starts where to live, and at which
// failpoint to end: "dir:n".
const killVariable = "ENTREPOT_TEST_KILL"

// exitKilled is how the process ends at the failpoint, with nothing closed.
const exitKilled = 9

// told is one thing that the dying process told the world.
type told struct {
	Log    warg.LogID
	Record warg.RecordID
	State  warg.State
	Index  uint64
	Reason string
}

// TestKill ends real processes at failpoints, on a real disk with a real index,
// and holds the next process to what they said.
func TestKill(t *testing.T) {
	if v := os.Getenv(killVariable); v != "" {
		dir, n, _ := strings.Cut(v, ":")
		at, err := strconv.Atoi(n)
		must(t, err)
		tellAndDie(t, dir, at)
		return
	}
	stride := 9
	if testing.Short() {
		stride = 40
	}
	for at := 1; ; at += stride {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", killVariable, dir, at))
		out, err := cmd.Output()
		if err == nil {
			if at < 2*stride {
				t.Error("the process never comes to a failpoint")
			}
			return
		}
		if cmd.ProcessState.ExitCode() != exitKilled {
			t.Fatalf("failpoint %d: %v: %s", at, err, out)
		}
		checkKilled(t, dir, at, out)
	}
}

// tellAndDie tells the story and everything it hears, until it is killed.
func tellAndDie(t *testing.T, dir string, at int) {
	o := diskOptions(dir, newClock())
	var mu sync.Mutex
	steps := 0
	o.Step = func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if steps++; steps == at {
			os.Exit(exitKilled)
		}
		return nil
	}
	a := open(t, o)
	w := newWitness()
	w.heard = func(req warg.PublishRequest, st warg.RecordStatus) {
		b, err := json.Marshal(told{req.LogID, st.RecordID, st.State, st.Index, st.Reason})
		must(t, err)
		fmt.Printf("told %s\n", b)
	}
	must(t, story(t.Context(), a, w))
}

func checkKilled(t *testing.T, dir string, at int, out []byte) {
	t.Helper()
	a := open(t, diskOptions(dir, newClock()))
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		line, ok := strings.CutPrefix(lines.Text(), "told ")
		if !ok {
			continue
		}
		var was told
		must(t, json.Unmarshal([]byte(line), &was))
		now, err := a.Record(t.Context(), was.Log, was.Record)
		final := was.State == warg.StatePublished || was.State == warg.StateRejected
		if err != nil || final && (now.State != was.State || now.Index != was.Index || now.Reason != was.Reason) {
			t.Errorf("failpoint %d: told %+v, now %+v (%v)", at, was, now, err)
		}
	}
	must(t, story(t.Context(), a, newWitness()))
	audit(t, a)
	must(t, a.Close())
}

// TestJournalIsReadBack: a bit that flips on its way to the disk is noticed before
// anything is signed, and the record is not lost.
func TestJournalIsReadBack(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := memoryOptions(m, c)
	armed := false
	o.Step = func(name string) error {
		if armed && name == "segSynced" {
			armed = false
			content := m.Tree("/data/authority/log")["/data/authority/log/"+segment.Name(1)]
			end := strings.LastIndex(strings.TrimRight(content, "\x00"), "ecdsa-p256")
			flip(t, m, "/data/authority/log/"+segment.Name(1), int64(end-20)) // in the last record
		}
		return nil
	}
	a := open(t, o)
	before, err := a.Checkpoint(t.Context())
	must(t, err)
	armed = true
	_, req := first("test:flipped", nil)
	publish(t, a, req)
	stops(t, a, req)
	if now, err := a.Checkpoint(t.Context()); err != nil || now != before {
		t.Errorf("a checkpoint was signed: %+v, %v", now.Checkpoint, err)
	}
	a = reopen(t, a, o)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("the record ends up %+v", st)
	}
	audit(t, a)
}

// TestOneBatchOneCheckpoint: what gathers while a batch is on its way becomes one
// checkpoint with the syncs of one.
func TestOneBatchOneCheckpoint(t *testing.T) {
	g := new(gate)
	fault := durable.NewFault(durable.NewMemory())
	o := memoryOptions(fault, newClock())
	o.segments = segment.Dir{}
	o.Step = g.step
	a := open(t, o)
	release := g.hold()
	const n = 64
	reqs := make([]warg.PublishRequest, n)
	for i := range reqs {
		_, reqs[i] = first(fmt.Sprintf("test:p%d", i), nil)
		publish(t, a, reqs[i])
	}
	before, checkpoints := syncs(fault), a.history.Len()
	release()
	for _, req := range reqs {
		settled(t, a, req)
	}
	// The first record may have been taken alone, before the others came.
	if got := a.history.Len() - checkpoints; got > 2 {
		t.Errorf("%d checkpoints for %d records that waited together", got, n)
	}
	const perBatch = 4 // journal, anchor, its directory, history
	if got := syncs(fault) - before; got > 2*perBatch {
		t.Errorf("%d syncs for %d records that waited together", got, n)
	}
	audit(t, a)
}

// TestContentArrivesDuringAdmission: content that turns up between the first look
// and the reservation is not waited for.
func TestContentArrivesDuringAdmission(t *testing.T) {
	a, _ := memory(t, nil)
	content := wargtest.Component("quick")
	_, other := first("test:other", content)
	publish(t, a, other)
	_, req := first("test:quick", content)
	s, err := a.parse(req)
	must(t, err)
	must(t, a.admit(s))
	s.missing = s.contents // as it looked
	upload(t, a, other, content)
	settled(t, a, other)
	held, err := a.pool.reserve(s)
	must(t, err)
	if held != s {
		t.Fatal("it was reserved before")
	}
	st, err := a.accept(t.Context(), s)
	must(t, err)
	if st.State == warg.StateSourcing {
		t.Errorf("the record waits for content that is here: %+v", st)
	}
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("the record ends up %+v", st)
	}
}

// TestSettledDuringAdmission: a record that was published between the first look and
// the reservation is not taken a second time.
func TestSettledDuringAdmission(t *testing.T) {
	a, _ := memory(t, nil)
	_, req := first("test:twice", nil)
	s, err := a.parse(req)
	must(t, err)
	must(t, a.admit(s))
	publish(t, a, req)
	settled(t, a, req)
	held, err := a.pool.reserve(s)
	must(t, err)
	if held != s {
		t.Fatal("it was reserved before")
	}
	st, err := a.accept(t.Context(), s)
	if err != nil || st.State != warg.StatePublished || st.Index != 1 {
		t.Errorf("accepted as %+v, %v", st, err)
	}
	if n, _ := a.pool.count(); n != 0 || length(t, a) != 2 {
		t.Errorf("%d pending, length %d", n, length(t, a))
	}
}
