package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/memstore"
	"github.com/entrepot/entrepot/upstream/monitor"
	"github.com/entrepot/entrepot/upstream/peering"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

const ghostDomain = "ghost.example" // of a registry that tells two of its readers different histories

// forked returns two histories of one registry: the same records at first, then others,
// at least one each. Nothing in either of them is wrong.
func forked(t *testing.T, common, moreA, moreB int) (a, b *wargtest.Memory) {
	t.Helper()
	a = wargtest.NewMemory(wargtest.Options{Domain: ghostDomain, Namespaces: []string{"test"}})
	grow := func(m *wargtest.Memory, who string, n int) {
		for i := range n {
			name := fmt.Sprintf("test:%s%d", who, i)
			released(t, m, wargtest.NewPackage(name), "1.0.0", name, true)
		}
	}
	grow(a, "both", common)
	b = a.Clone()
	grow(a, "a", moreA)
	grow(b, "b", moreB)
	return a, b
}

// face is what a registry shows to one of its readers; it can be changed.
type face struct {
	upstream.Transport
	mu    sync.Mutex
	shown *wargtest.Memory
}

func (f *face) turn(m *wargtest.Memory) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown = m
}

func (f *face) now() upstream.Transport {
	f.mu.Lock()
	defer f.mu.Unlock()
	return upstream.Adapt(f.shown)
}

func (f *face) Checkpoint(ctx context.Context) (warg.View, error) { return f.now().Checkpoint(ctx) }

func (f *face) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	return f.now().Logs(ctx, req)
}

func (f *face) Ledger(ctx context.Context, start uint64, limit int) ([]byte, error) {
	return f.now().Ledger(ctx, start, limit)
}

func (f *face) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	return f.now().Consistency(ctx, from, to)
}

// nobody is our own registry of a site that has none to compare.
type nobody struct{}

func (nobody) Domain() string                          { return "nobody.example" }
func (nobody) Head() (s warg.SignedCheckpoint, _ bool) { return s, false }
func (nobody) Saw(context.Context, string, *warg.SignedCheckpoint, func(context.Context, uint64, uint64) ([]byte, error)) error {
	return nil
}

// replicaPeer is the other site, of which only one replica matters.
type replicaPeer struct{ r *upstream.Replica }

func (p replicaPeer) Held(_ context.Context, registry string) (s warg.SignedCheckpoint, ok bool, err error) {
	if registry != ghostDomain {
		return s, false, nil
	}
	s, ok = p.r.Held()
	return s, ok, nil
}

func (p replicaPeer) Verify(ctx context.Context, _ string, s warg.SignedCheckpoint) (warg.Verification, error) {
	return p.r.VerifyCheckpoint(ctx, s)
}

func (p replicaPeer) Consistency(ctx context.Context, _ string, from, to uint64) ([]byte, error) {
	return p.r.Consistency(ctx, from, to)
}

// ghostReplica opens a replica of the registry with two histories.
func ghostReplica(t *testing.T, shown *face, now func() time.Time, evidence string) *upstream.Replica {
	t.Helper()
	r, err := upstream.Open(t.Context(), upstream.Options{
		Domain: ghostDomain, Transport: shown, Store: memstore.New(), OperatorKey: wargtest.Alice().Public().ID(),
		MaxAge: 10 * time.Second, Dir: t.TempDir(), EvidenceDir: evidence, TempDir: t.TempDir(), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSplitViewWithinAnInterval: a registry that shows each of two sites a history of
// its own is found out by both, at the latest an interval after both hold what cannot be
// true together; however long the two histories are, and whenever who begins.
func TestSplitViewWithinAnInterval(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { splitView(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func splitView(t *testing.T, r *rand.Rand) {
	common, moreA, moreB := r.IntN(4), 1+r.IntN(4), 1+r.IntN(4)
	turnA, turnB := time.Duration(r.Int64N(int64(2*time.Minute))), time.Duration(r.Int64N(int64(2*time.Minute)))
	startA, startB := time.Duration(r.Int64N(int64(time.Minute))), time.Duration(r.Int64N(int64(time.Minute)))
	t.Logf("%d common records, then %d and %d; turning after %v and %v; starting after %v and %v", common, moreA, moreB, turnA, turnB, startA, startB)
	histA, histB := forked(t, common, moreA, moreB)
	before, _ := forked(t, common, 0, 0)
	evidence := [2]string{t.TempDir(), t.TempDir()}
	chance := func(seed uint64) func(time.Duration) time.Duration {
		mine := rand.New(rand.NewPCG(seed, 1))
		return func(d time.Duration) time.Duration { return time.Duration(mine.Int64N(int64(d))) }
	}
	chances := [2]func(time.Duration) time.Duration{chance(r.Uint64()), chance(r.Uint64())}
	synctest.Test(t, func(t *testing.T) {
		began, faces := time.Now(), [2]*face{{shown: before}, {shown: before}}
		now := func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC).Add(time.Since(began)) }
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		replicas := [2]*upstream.Replica{ghostReplica(t, faces[0], now, evidence[0]), ghostReplica(t, faces[1], now, evidence[1])}
		for i, start := range []time.Duration{startA, startB} {
			work.Go(func() { // as a mirror is filled
				for wait(ctx, 10*time.Second) {
					_ = replicas[i].Refresh(ctx) // refused once it is convicted
				}
			})
			work.Go(func() {
				if wait(ctx, start) {
					peering.New(peering.Options{
						Domain: "peer.example", Peer: replicaPeer{replicas[1-i]}, Own: nobody{},
						Others: []peering.Registry{mirrored{replicas[i]}}, Now: now, Chance: chances[i],
					}).Run(ctx)
				}
			})
		}
		for i, turn := range []time.Duration{turnA, turnB} {
			work.Go(func() {
				if wait(ctx, turn) {
					faces[i].turn([2]*wargtest.Memory{histA, histB}[i])
				}
			})
		}
		due := foundOut(t, replicas, common, max(startA, startB))
		t.Logf("both found out within %v", due)
		stop()
		work.Wait()
		for _, r := range replicas {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	for _, dir := range evidence {
		proves(t, dir)
	}
}

// foundOut lets time pass until both replicas have convicted the registry, and returns
// how long that took from the moment on when both could. Three minutes are enough for
// everything to happen.
func foundOut(t *testing.T, replicas [2]*upstream.Replica, common int, started time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	var both time.Time // when both held different histories and were at work
	for {
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		held, convicted := 0, 0
		for _, r := range replicas {
			if h, ok := r.Held(); ok && h.Unverified().LogLength > uint64(1+common) {
				held++
			}
			if r.Status().Quarantine != nil {
				convicted++
			}
		}
		if both.IsZero() && held == 2 && time.Since(began) >= started {
			both = time.Now()
		}
		if convicted == 2 {
			return time.Since(both)
		}
		if !both.IsZero() && time.Since(both) > peering.DefaultInterval {
			t.Fatalf("an interval after both could know, %d of 2 do", convicted)
		}
		if time.Since(began) > 10*time.Minute {
			t.Fatal("the histories never came out")
		}
	}
}

// wait waits, and reports whether ctx goes on.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// proves checks that the one file of evidence in a folder convicts the registry.
func proves(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files of evidence (%v)", len(files), err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	v, err := monitor.CheckEvidence(text, []warg.KeyID{wargtest.Alice().Public().ID()})
	if err != nil || v.Class != "equivocation" {
		t.Errorf("%s: %+v, %v", files[0], v, err)
	}
}

// adversary serves two histories of one registry at one address: which one depends on
// the token of who asks. Until turn is called everybody is shown the same.
func adversary(t *testing.T, common, moreA, moreB int) (address string, turn func()) {
	t.Helper()
	histA, histB := forked(t, common, moreA, moreB)
	before, _ := forked(t, common, 0, 0)
	faces := map[string]*turncoat{"Bearer token-of-a": {before}, "Bearer token-of-b": {before}}
	behind := map[string]*httputil.ReverseProxy{}
	for token, f := range faces {
		target, err := url.Parse(served(t, f, nil))
		if err != nil {
			t.Fatal(err)
		}
		behind[token] = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.RWMutex
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.RLock()
		defer mu.RUnlock()
		p, ok := behind[r.Header.Get("Authorization")]
		if !ok {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		p.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + l.Addr().String(), func() {
		mu.Lock() // no request is under way
		defer mu.Unlock()
		faces["Bearer token-of-a"].Own, faces["Bearer token-of-b"].Own = histA, histB
	}
}

// TestSplitView: two servers over HTTP in front of a registry that shows each of them
// another history raise the alarm, serve what they believed last, and each has evidence
// that anybody can check with the registry's key alone.
func TestSplitView(t *testing.T) {
	address, turn := adversary(t, 2, 2, 2)
	table := func(who string) string {
		return fmt.Sprintf(`
[upstream.%q]
url = %q
token_file = "token"
operator_key = %q
namespaces = ["test"]
max_age = "1s"
mirror = "full"
allow_private_addresses = true
`, ghostDomain, address, wargtest.Alice().Public().ID())
	}
	a, b := couple(t, table("a"), table("b"))
	servers := map[*person]*running{}
	for u, token := range map[*person]string{a: "token-of-a", b: "token-of-b"} {
		u.write(t, "token", token+"\n")
		if err := os.Chmod(u.path("token"), 0o600); err != nil {
			t.Fatal(err)
		}
		servers[u] = u.serve(t)
	}
	status := func(u *person) (st proxy.MirrorStatus) {
		var all []proxy.MirrorStatus
		decode(t, u.ok(t, "mirror", "status", "--json"), &all)
		for _, one := range all {
			if one.Domain == ghostDomain {
				return one
			}
		}
		t.Fatalf("no %s in %+v", ghostDomain, all)
		return st
	}
	eventually(t, "both hold what both were shown", func() bool { return status(a).LogLength == 3 && status(b).LogLength == 3 })
	if text := a.ok(t, "mirror", "status"); !strings.Contains(text, "the replica of two.example is the backup of that peer") || strings.Contains(text, "the replica of "+ghostDomain) {
		t.Errorf("whose backup this is:\n%s", text)
	}
	if status(a).Quarantine != nil || status(b).Quarantine != nil {
		t.Fatal("quarantined for nothing")
	}
	turn()
	for u, s := range servers {
		eventually(t, "the registry is quarantined", func() bool { return status(u).Quarantine != nil })
		if code, body := get(t, s.url+"/readyz"); code != http.StatusOK {
			t.Errorf("/readyz: %d %s", code, body)
		}
		files, err := filepath.Glob(u.path("entrepot-data/evidence/*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("evidence: %v, %v", files, err)
		}
		third := newPerson(t)
		carryFile(t, files[0], third, "fork.json")
		text := third.ok(t, "monitor", "--evidence", "fork.json", "--operator-key", string(wargtest.Alice().Public().ID()))
		if !strings.Contains(text, "equivocation") {
			t.Errorf("checked: %s", text)
		}
		if r := third.run(t, "monitor", "--evidence", "fork.json", "--operator-key", string(wargtest.Bob().Public().ID())); r.code != exitVerification {
			t.Errorf("by another key: %+v", r)
		}
	}
	metrics := askAdmin(t, a, "/metrics")
	if n := sampleOf(t, metrics, `entrepot_registry_state{registry="ghost.example",state="quarantined"}`); n != 1 {
		t.Errorf("quarantined: %v", n)
	}
}
