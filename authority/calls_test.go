package authority

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
)

func ofWrites(op durable.Op, _ string) bool { return op == durable.OpWrite }

// ofSpace matches the calls that a full disk refuses.
func ofSpace(op durable.Op, name string) bool {
	switch op {
	case durable.OpWrite, durable.OpCreate, durable.OpMkdir, durable.OpAllocate, durable.OpTruncate:
		return !strings.HasSuffix(name, "lock")
	default:
		return false
	}
}

// TestTornWriteAtEveryCall lets every write fail half way, as a disk does that fills up or
// breaks.
func TestTornWriteAtEveryCall(t *testing.T) {
	for name, after := range map[string]aftermath{"killed": killed, "power cut": powerCut} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, 40, func(at int) crash {
				return live(t, durable.Plan{At: at, Match: ofWrites, Outcome: durable.Torn, Err: errCrash}, 0, after)
			})
		})
	}
}

// TestNoSpaceAtEveryCall lets every call that needs space be refused once. The registry
// goes on by itself and the story can be told to its end, or it stops, and the next
// process does.
func TestNoSpaceAtEveryCall(t *testing.T) {
	wentOn := 0
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Torn} {
		for at := 1; ; at++ {
			c, stayed := crowded(t, durable.Plan{At: at, Match: ofSpace, Outcome: outcome, Err: syscall.ENOSPC})
			if c.ended {
				if at < 40 {
					t.Errorf("there was no space in %d places only", at-1)
				}
				break
			}
			if stayed {
				wentOn++
			}
			if c.survives(t); t.Failed() {
				t.Fatalf("no space in place %d, outcome %d", at, outcome)
			}
		}
	}
	if wentOn < 10 {
		t.Errorf("the registry went on by itself in %d places only", wentOn)
	}
}

// crowded tells the story in a world where one call finds no space. If that was answered
// with 507 and the registry still works, it is told again there; stayed says so.
func crowded(t *testing.T, plan durable.Plan) (c crash, stayed bool) {
	t.Helper()
	m := durable.NewMemory()
	fault := durable.NewFault(m)
	fault.SetPlan(plan)
	w := newWitness()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	o := memoryOptions(fault, newClock())
	o.segments = shortSegments()
	a, err := Open(ctx, o)
	if err != nil {
		fault.Kill()
		return crash{killed(m), w, false}, false
	}
	err = story(ctx, a, w)
	reached := fault.Reached()
	if err != nil && isKind(err, warg.KindNoSpace) && a.Err() == nil {
		stayed = true
		if err := story(ctx, a, w); err != nil { // everybody comes again
			for id, r := range w.accepted {
				st, err := a.Record(t.Context(), r.LogID, id)
				t.Logf("%s: %+v %v", r.Name, st, err)
			}
			t.Fatalf("place %d, outcome %d: %v; %+v", plan.At, plan.Outcome, err, a.Status())
		}
		w.keeps(t, a)
		audit(t, a)
	}
	_ = a.Close()
	fault.Kill()
	return crash{m, w, err == nil && !reached}, stayed
}

// TestIndexFailsAtEveryCommit lets every commit of the index fail, with and without
// effect, and end the process, with the newest commits lost. The registry stops rather than
// to go on with an index that it cannot trust, and the next process knows everything.
func TestIndexFailsAtEveryCommit(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for at := 1; ; at++ {
			m, db := durable.NewMemory(), new(kv.Memory)
			var mu sync.Mutex
			commits := 0
			db.SetQuirks(kv.Quirks{FailCommit: func() (bool, bool) {
				mu.Lock()
				defer mu.Unlock()
				commits++
				return commits == at, applied
			}})
			c, reached := indexLife(t, m, db, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return commits >= at
			})
			if !reached {
				if at < 10 {
					t.Errorf("the index was written %d times only", at-1)
				}
				break
			}
			db.Crash(rand.New(rand.NewPCG(uint64(at), 1)))
			db.SetQuirks(kv.Quirks{})
			clk := newClock()
			clk.Add(time.Second)
			o := memoryOptions(c.left, clk)
			o.Index = index.InMemory(db)
			if c.survivesWith(t, o); t.Failed() {
				t.Fatalf("commit %d failed, applied: %v", at, applied)
			}
		}
	}
}

// indexLife tells the story with a database of its own; reached says whether a commit
// failed.
func indexLife(t *testing.T, m *durable.Memory, db *kv.Memory, reached func() bool) (crash, bool) {
	t.Helper()
	w := newWitness()
	fault := durable.NewFault(m)
	o := memoryOptions(fault, newClock())
	o.Index = index.InMemory(db)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := Open(ctx, o)
	if err != nil {
		fault.Kill()
		return crash{m, w, false}, reached()
	}
	err = story(ctx, a, w)
	if failed := reached(); failed && err == nil {
		t.Error("a commit of the index failed, and the story went on")
	}
	fault.Kill()
	_ = a.Close()
	return crash{m, w, err == nil}, reached()
}

// TestEveryCallIsMet: the story that is ended at every call comes by everything that a
// publish does to files: content, submissions, the journal, all of them over the end of a
// segment, the anchor, its history and the audit log.
func TestEveryCallIsMet(t *testing.T) {
	m := durable.NewMemory()
	fault := durable.NewFault(m)
	met := map[string]bool{}
	var mu sync.Mutex
	fault.SetPlan(durable.Plan{At: 1 << 30, Match: func(op durable.Op, name string) bool {
		mu.Lock()
		defer mu.Unlock()
		met[string(op)+" "+areaOf(name)] = true
		return true
	}})
	o := audited(t, fault, newClock())
	o.segments = shortSegments()
	a := open(t, o)
	must(t, story(t.Context(), a, newWitness()))
	must(t, a.Close())
	for _, want := range []string{
		"create content/tmp", "write content/tmp", "sync content/tmp", "rename content", "syncDir content",
		"create pending 1", "write pending 1", "datasync pending 1", "syncDir pending", "create pending 2", "write pending 2", "datasync pending 2", "remove pending 1",
		"create log 1", "write log 1", "datasync log 1", "syncDir log", "create log 2", "write log 2", "datasync log 2",
		"create anchor.tmp", "write anchor.tmp", "sync anchor.tmp", "rename anchor", "syncDir authority",
		"create anchor.log.tmp", "rename anchor.log", "write anchor.log", "datasync anchor.log",
		"create audit.log", "write audit.log", "datasync audit.log",
	} {
		if !met[want] {
			t.Errorf("nothing comes by %q", want)
		}
	}
	if t.Failed() {
		t.Logf("met: %v", met)
	}
}

// areaOf says which part of a registry a file belongs to.
func areaOf(name string) string {
	rest, below := strings.CutPrefix(name, "/data/authority/")
	for _, dir := range []string{"log", "pending"} {
		file, ok := strings.CutPrefix(rest, dir+"/")
		if !below || !ok {
			continue
		}
		if strings.HasPrefix(file, segment.Name(1)) { // it is made beside its place
			return dir + " 1"
		}
		return dir + " 2" // any later one
	}
	switch {
	case strings.HasPrefix(name, "/data/content/tmp/"):
		return "content/tmp"
	case strings.HasPrefix(name, "/data/content"):
		return "content"
	case name == "/data/authority":
		return "authority"
	case below:
		return rest
	}
	return strings.TrimPrefix(name, "/data/")
}
