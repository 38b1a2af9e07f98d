package authority

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// storyState is what a package's log is at one moment: its head, and how many versions
// were yanked. A record can be published only on top of the head.
type storyState struct {
	head   warg.RecordID
	yanked int
}

// storyCall is one call of a client, and what it was told.
type storyCall struct {
	read   bool // of the whole log; else a publish of id on top of prev
	prev   warg.RecordID
	id     warg.RecordID
	yank   bool
	became warg.State
	saw    storyState // by a read
}

// storyModel says which histories of one log are those of a log. No head comes twice, so
// whoever saw one must have looked before the next one was published; that is said in the
// model as well, because the search for an order would otherwise try everything else first.
func storyModel(first warg.RecordID, calls []porcupine.Operation) porcupine.Model {
	type moment struct {
		storyState
		looked int // reads that saw this head so far
	}
	looks := map[warg.RecordID]int{}
	for _, op := range calls {
		if c := op.Output.(storyCall); c.read {
			looks[c.saw.head]++
		}
	}
	return porcupine.Model{
		Init: func() any { return moment{storyState: storyState{head: first}} },
		Step: func(state, _, output any) (bool, any) {
			s, c := state.(moment), output.(storyCall)
			switch {
			case c.read:
				s.looked++
				return c.saw == s.storyState, s
			case c.became != warg.StatePublished:
				return c.prev != s.head, s // only one that is not the head anymore may be refused
			case c.prev != s.head || s.looked < looks[s.head]:
				return false, s
			}
			next := moment{storyState: storyState{c.id, s.yanked}}
			if c.yank {
				next.yanked++
			}
			return true, next
		},
		DescribeOperation: func(_, output any) string { return fmt.Sprintf("%+v", output) },
	}
}

// callHistory collects calls. Time is counted in calls and answers.
type callHistory struct {
	clock atomic.Int64
	mu    sync.Mutex
	calls []porcupine.Operation
}

// record does a call of a client and keeps when it began and ended; call reports whether
// its outcome says anything.
func (h *callHistory) record(client int, call func() (storyCall, bool)) {
	start := h.clock.Add(1)
	c, telling := call()
	end := h.clock.Add(1)
	if !telling {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, porcupine.Operation{ClientId: client, Call: start, Output: c, Return: end})
}

// readLog reads all of a log at the newest checkpoint.
func readLog(t *testing.T, a *Authority, log warg.LogID) (s storyState) {
	v, err := a.Checkpoint(t.Context())
	if err != nil {
		t.Error(err)
		return s
	}
	page, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: v.Checkpoint.LogLength, Limit: 1000, Packages: []warg.LogCursor{{LogID: log}}})
	if err != nil || page.More {
		t.Errorf("reading the log: %v, more: %v", err, page.More)
		return s
	}
	for _, r := range page.Packages[0].Records {
		s.head = r.PackageRecordID()
		rec, err := pkglog.Decode(r.Content)
		if err != nil {
			t.Error(err)
		}
		for _, e := range rec.Entries {
			if _, ok := e.(pkglog.Yank); ok {
				s.yanked++
			}
		}
	}
	return s
}

// linearRounds is how many rounds the writers fight; LINEAR_ROUNDS makes it more.
func linearRounds(t *testing.T) int {
	n := 6
	if text := os.Getenv("LINEAR_ROUNDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestLogIsLinearizable: 64 writers read the head of one log and build on it, half of them
// to yank the same version, again and again at one moment. What all of them were told is
// the story of one log in which every call took effect at one instant between its begin
// and its end.
func TestLogIsLinearizable(t *testing.T) {
	a, c := memory(t, nil)
	const writers = 64
	rounds := linearRounds(t)
	bob, content := wargtest.Bob(), wargtest.Component("content")
	p := wargtest.NewPackage("test:linear")
	entries := []pkglog.Entry{wargtest.Init(bob)}
	for round := range rounds {
		entries = append(entries, wargtest.Release(fmt.Sprintf("1.%d.0", round), content))
	}
	begin := p.Request(p.Next(bob, entries...))
	publish(t, a, begin)
	upload(t, a, begin, content)
	if st := settled(t, a, begin); st.State != warg.StatePublished {
		t.Fatalf("the first record: %+v", st)
	}

	var h callHistory
	attempt := func(writer, round int) {
		var s storyState
		h.record(writer, func() (storyCall, bool) {
			s = readLog(t, a, begin.LogID)
			return storyCall{read: true, saw: s}, true
		})
		h.record(writer, func() (storyCall, bool) {
			prev, yank := warg.Digest(s.head).AnyHash(), writer%2 == 0
			entries := []pkglog.Entry{wargtest.Grant(wargtest.Stranger(fmt.Sprint("linear", writer, round)).Public(), pkglog.PermissionYank)}
			if yank {
				entries = append(entries, wargtest.Yank(fmt.Sprintf("1.%d.0", round)))
			}
			rec := pkglog.Record{Prev: &prev, Time: warg.TimestampOf(c.Now()), Entries: entries}
			req := p.Request(rec.Sign(bob))
			call := storyCall{prev: s.head, id: req.Record.PackageRecordID(), yank: yank}
			_, err := a.Publish(t.Context(), req)
			if isKind(err, warg.KindRecordPending) {
				return call, false // another one is on its way, or was first
			}
			if err != nil {
				t.Errorf("publishing: %v", err)
				return call, false
			}
			st, err := a.Settled(t.Context(), req.LogID, call.id)
			if err != nil {
				t.Errorf("waiting: %v", err)
			}
			call.became = st.State
			// Whoever builds on a yank of the same version is refused for that, whatever the head.
			return call, st.State == warg.StatePublished || !yank
		})
	}
	for round := range rounds {
		var wg sync.WaitGroup
		for writer := range writers {
			wg.Go(func() { attempt(writer, round) })
		}
		wg.Wait()
	}
	published := 0
	for _, op := range h.calls {
		if c := op.Output.(storyCall); !c.read && c.became == warg.StatePublished {
			published++
		}
	}
	if published < rounds || uint64(published)+2 != length(t, a) {
		t.Errorf("%d records were published in %d rounds, the log has %d", published, rounds, length(t, a))
	}
	if got := porcupine.CheckOperationsTimeout(storyModel(begin.Record.PackageRecordID(), h.calls), h.calls, time.Minute); got != porcupine.Ok {
		t.Errorf("%d calls: %v", len(h.calls), got)
	}
	t.Logf("%d calls, %d records published", len(h.calls), published)
	audit(t, a)
}

// TestLinearModelNotices: the model refuses histories that no log has.
func TestLinearModelNotices(t *testing.T) {
	id := func(s string) warg.RecordID { return warg.RecordID(warg.Sum([]byte(s))) }
	op := func(client int, call, end int64, c storyCall) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Call: call, Output: c, Return: end}
	}
	first, one, two := id("first"), id("one"), id("two")
	made := func(prev, id warg.RecordID) storyCall {
		return storyCall{prev: prev, id: id, became: warg.StatePublished}
	}
	saw := func(head warg.RecordID) storyCall { return storyCall{read: true, saw: storyState{head: head}} }
	rows := []struct {
		name  string
		calls []porcupine.Operation
		want  porcupine.CheckResult
	}{
		{"a story", []porcupine.Operation{op(0, 1, 4, made(first, one)), op(1, 2, 3, saw(first)), op(1, 5, 6, saw(one))}, porcupine.Ok},
		{"two on top of one", []porcupine.Operation{op(0, 1, 4, made(first, one)), op(1, 2, 3, made(first, two))}, porcupine.Illegal},
		{"read before it was written", []porcupine.Operation{op(0, 3, 4, made(first, one)), op(1, 1, 2, saw(one))}, porcupine.Illegal},
		{"not there after it was published", []porcupine.Operation{op(0, 1, 2, made(first, one)), op(1, 3, 4, saw(first))}, porcupine.Illegal},
		{"gone back", []porcupine.Operation{op(0, 1, 9, made(first, one)), op(1, 2, 3, saw(one)), op(2, 4, 5, saw(first))}, porcupine.Illegal},
		{"refused for nothing", []porcupine.Operation{op(0, 1, 2, storyCall{prev: first, id: one, became: warg.StateRejected})}, porcupine.Illegal},
	}
	for _, row := range rows {
		if got := porcupine.CheckOperationsTimeout(storyModel(first, row.calls), row.calls, time.Minute); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
