package proxy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// costlyBody asks for the proofs of n leaves.
func costlyBody(n int) string {
	return `{"logLength":3,"leafs":[` + strings.TrimSuffix(strings.Repeat("2,", n), ",") + `]}`
}

// TestLane: at most so many are in a lane at one time, who waits gets its turn, and who
// waits too long is told to come again.
func TestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(2)
		inside, most, refused := 0, 0, 0
		var mu sync.Mutex
		for range 20 {
			go func() {
				if !l.enter() {
					mu.Lock()
					refused++
					mu.Unlock()
					return
				}
				defer l.leave()
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				inside--
				mu.Unlock()
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		// Two a second for the five seconds of patience, and those that begin at its end.
		if most != 2 || refused < 8 || refused > 10 {
			t.Errorf("at most %d at one time, %d refused", most, refused)
		}
		if !l.enter() {
			t.Error("the lane is not free afterwards")
		}
	})
}

// TestL07CostClasses: costly requests wait for each other; a checkpoint, a record's
// state and a proof for one leaf do not wait for them, and another registry's costly
// requests have their own lane.
func TestL07CostClasses(t *testing.T) {
	st := newSite(t)
	release := make(chan struct{})
	st.own.blockInclusion(release)
	st.s.lanes[""].wait = 50 * time.Millisecond
	answered := make(chan reply, ownSlots())
	for range ownSlots() {
		go func() { answered <- st.post("/v1/proof/inclusion", costlyBody(costlyItems+1)) }()
	}
	for l := st.s.lanes[""]; len(l.slots) < cap(l.slots); {
		<-time.After(time.Millisecond)
	}
	for name, r := range map[string]reply{
		"a checkpoint":                       st.get("/v1/fetch/checkpoint"),
		"a record":                           st.get("/v1/package/" + knownLog + "/record/" + knownRecord),
		"few names":                          st.post("/v1/fetch/names", `{"packages":[]}`),
		"health":                             st.get("/healthz"),
		"many leaves of another registry":    st.post("/v1/proof/inclusion", costlyBody(costlyItems+1), "Warg-Registry: "+upDomain),
		"a few leaves of another registry":   st.post("/v1/proof/inclusion", costlyBody(1), "Warg-Registry: "+upDomain),
		"a checkpoint of the other registry": st.get("/v1/fetch/checkpoint", "Warg-Registry: "+upDomain),
	} {
		if r.status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for path, body := range map[string]string{
		"/v1/proof/inclusion": costlyBody(costlyItems + 1),
		"/v1/fetch/names":     costlyNames(costlyItems + 1),
		"/v1/fetch/logs":      costlyLogs(costlyItems + 1),
	} {
		if r := st.post(path, body); r.status != 503 || r.body != message(503, "too many costly requests at once") || r.header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	close(release)
	for range ownSlots() {
		if r := <-answered; r.status != 200 {
			t.Errorf("a costly request: %d %s", r.status, r.body)
		}
	}
	if r := st.post("/v1/proof/inclusion", costlyBody(costlyItems+1)); r.status != 200 {
		t.Errorf("afterwards: %d %s", r.status, r.body)
	}
}

func costlyLogs(n int) string {
	var logs []string
	for i := range n {
		logs = append(logs, fmt.Sprintf("%q:null", warg.Sum(fmt.Append(nil, i))))
	}
	return `{"logLength":3,"packages":{` + strings.Join(logs, ",") + `}}`
}

// TestL08LogRate: whoever sends requests that fail cannot fill the log, and what is left
// out is told.
func TestL08LogRate(t *testing.T) {
	var log logBuffer
	st := newSite(t, loggedTo(&log, 0))
	begin := time.Now()
	const flood = 2000
	raw := strings.Repeat(post("/v1/package/"+otherLog+"/record", "{}"), flood)
	if got := st.exchange("POST", raw+sentinel, false); len(got) != flood+1 || got[0].status != 422 {
		t.Fatalf("%d answers, the first %+v", len(got), got[0])
	}
	lines := strings.Count(log.String(), `"op":"publish"`)
	if most := lineBurst + int(lineRate*time.Since(begin).Seconds()) + 1; lines < lineBurst || lines > most {
		t.Errorf("%d lines about %d requests; want %d to %d", lines, flood, lineBurst, most)
	}
	// Another operation, and another class of the same, have quotas of their own.
	st.own.failWith(warg.Errorf(warg.KindInternal, "broken"))
	st.post("/v1/package/"+knownLog+"/record", st.own.publishBody("test:component", ""))
	st.get("/v1/fetch/checkpoint")
	if text := log.String(); strings.Count(text, `"status":500`) != 2 {
		t.Errorf("errors are hidden by the flood")
	}
}

func TestLineQuota(t *testing.T) {
	var q lineQuota
	now := time.Unix(1000, 0)
	written := 0
	for range 10 * lineBurst {
		if _, ok := q.take(now); ok {
			written++
		}
	}
	if written != lineBurst {
		t.Errorf("%d lines at once; want %d", written, lineBurst)
	}
	leftOut, ok := q.take(now.Add(time.Second))
	if !ok || leftOut != 9*lineBurst {
		t.Errorf("a second later: %v, %d left out", ok, leftOut)
	}
	written = 1
	for i := range 100_000 { // ten seconds of a flood
		if _, ok := q.take(now.Add(time.Second + time.Duration(i)*100*time.Microsecond)); ok {
			written++
		}
	}
	if want := 11 * lineRate; written < want-1 || written > want+1 {
		t.Errorf("%d lines in eleven seconds; want about %d", written, want)
	}
	if _, ok := q.take(now); ok && written > lineBurst {
		t.Error("a clock that goes back fills the quota")
	}
}

func costlyNames(n int) string {
	var logs []string
	for i := range n {
		logs = append(logs, fmt.Sprintf("%q", warg.Sum(fmt.Append(nil, i))))
	}
	return `{"packages":[` + strings.Join(logs, ",") + `]}`
}
