package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/memstore"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

const (
	ownDomain = "own.example"
	upDomain  = "up.example"
)

// world is everything there is.
type world struct {
	t     testing.TB
	sched *scheduler
	judge *judge
	began time.Time    // where the clock of everybody begins
	shift atomic.Int64 // nanoseconds that our clock is wrong by
	calm  atomic.Bool  // nothing fails any more

	// What outlives a process of ours.
	disk  *durable.Memory
	base  *kv.Memory
	store *memstore.Store

	up     *wargtest.Memory  // the upstream; the network to it is not to be trusted
	liar   bool              // the upstream forks, sooner or later
	fork   *wargtest.Memory  // its other history, nil while it has none
	mirror *upstream.Replica // of our own registry, at somebody else's
	theirs *memstore.Store

	mu      sync.Mutex
	current *life                         // under mu: nil while there is none
	atWork  map[string]context.CancelFunc // under mu: actors that wait for something
	lives   int
}

// life is one process of ours.
type life struct {
	number int
	fault  *durable.Fault
	own    *authority.Authority
	up     *upstream.Replica
	fed    *proxy.Federation
	ctx    context.Context // ends with the process
	die    context.CancelFunc
	ended  chan struct{} // closed when opening has ended, well or not
	err    error         // why there is no registry
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{
		t: t, sched: newScheduler(seed), judge: newJudge(),
		disk: durable.NewMemory(), base: new(kv.Memory), atWork: map[string]context.CancelFunc{}, store: memstore.New(), theirs: memstore.New(),
		up: wargtest.NewMemory(wargtest.Options{Domain: upDomain, Namespaces: []string{"up"}}),
		// After the checkpoints and records that wargtest makes.
		began: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
	const oneLiarIn = 6
	w.liar = w.sched.rnd.IntN(oneLiarIn) == 0
	w.base.SetQuirks(w.quirks())
	origin := time.Now()
	now := func() time.Time { return w.began.Add(time.Since(origin)) }
	own := w.replicaOptions(ownDomain, w.theirs, durable.NewMemory(), now)
	own.Transport = network{w, "mirror", nil, func() upstream.Transport { return w.ownTransport() }}
	own.OperatorKey = wargtest.Alice().Public().ID()
	var err error
	if w.mirror, err = upstream.Open(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) replicaOptions(domain string, s *memstore.Store, fsys durable.FS, now func() time.Time) upstream.Options {
	return upstream.Options{
		Domain: domain, Store: s, OperatorKey: wargtest.Alice().Public().ID(), MaxAge: time.Minute,
		Dir: "/data/upstreams/" + domain, EvidenceDir: "/data/evidence", TempDir: w.t.TempDir(), FS: fsys,
		Now: now, Log: slog.New(slog.DiscardHandler),
	}
}

// quirks make the database misbehave now and then.
func (w *world) quirks() kv.Quirks {
	return kv.Quirks{
		PanicOnOpen: func() bool { return !w.calm.Load() && w.sched.chance("open database").IntN(40) == 0 },
		FailCommit: func() (fail, applied bool) {
			r := w.sched.chance("commit")
			return !w.calm.Load() && r.IntN(200) == 0, r.IntN(2) == 0
		},
	}
}

// ownTransport answers for our registry as it is now.
func (w *world) ownTransport() upstream.Transport {
	if l := w.alive(); l != nil {
		return upstream.Adapt(l.own)
	}
	return nil
}

// upTransport answers for the upstream: from either of its histories, if it has two.
func (w *world) upTransport() upstream.Transport {
	if w.fork != nil && w.sched.chance("upstream lies").IntN(2) == 0 {
		return upstream.Adapt(w.fork)
	}
	return upstream.Adapt(w.up)
}

// alive returns the process that answers now, or nil.
func (w *world) alive() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.current
	if l == nil || l.own == nil {
		return nil
	}
	return l
}

// now is our clock. It may be wrong.
func (w *world) now(origin time.Time) time.Time {
	return w.began.Add(time.Since(origin)).Add(time.Duration(w.shift.Load()))
}

// start begins a new process.
func (w *world) start(origin time.Time) {
	ctx, die := context.WithCancel(context.Background())
	w.mu.Lock()
	w.lives++
	l := &life{number: w.lives, fault: durable.NewFault(w.disk), ctx: ctx, die: die, ended: make(chan struct{})}
	w.current = l
	w.mu.Unlock()
	l.fault.SetPlan(w.plan(l))
	now := func() time.Time { return w.now(origin) }
	go func() {
		defer close(l.ended)
		own, up, err := w.open(l, now)
		var fed *proxy.Federation
		if err == nil {
			fed, err = proxy.NewFederation(own, map[string]proxy.Upstream{upDomain: up}, map[string]string{"up": upDomain})
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		l.own, l.up, l.fed, l.err = own, up, fed, err
	}()
}

// plan draws which call of the file system fails in a life, and how. It counts the
// calls to one place alone, where one goroutine works at a time: calls to different
// places come in no order.
func (w *world) plan(l *life) durable.Plan {
	r := w.sched.chance("plan of a life")
	if w.calm.Load() || r.IntN(3) > 0 {
		return durable.Plan{}
	}
	places := []string{"authority/log", "authority/pending", "authority/anchor", "content", "upstreams"}
	place := "/data/" + places[r.IntN(len(places))]
	p := durable.Plan{At: 1 + r.IntN(80), Outcome: durable.Outcome(r.IntN(3)), Err: syscall.EIO}
	p.Match = func(op durable.Op, name string) bool {
		switch op {
		case durable.OpStat, durable.OpFstat, durable.OpSpace, durable.OpIdentity, durable.OpReadDir:
			return false
		}
		return strings.HasPrefix(name, place)
	}
	w.sched.tell("life %d: call %d to %s is to end as %d", l.number, p.At, place, p.Outcome)
	return p
}

// open opens our registry and the replica of the upstream.
func (w *world) open(l *life, now func() time.Time) (*authority.Authority, *upstream.Replica, error) {
	if err := durable.MkdirAll(l.fault, "/data"); err != nil {
		return nil, nil, err
	}
	own, err := authority.Open(l.ctx, authority.Options{
		Dir: "/data/authority", ContentDir: "/data/content", Domain: ownDomain,
		Key: wargtest.Alice(), Namespaces: []string{"own"}, Content: authority.ContentAny,
		Now: now, FS: l.fault, Index: index.InMemory(w.base),
		Step: func(name string) error {
			return w.sched.pause(l, fmt.Sprintf("life %d at %s", l.number, name))
		},
	}.WithSegments(segmentGrow, segmentMax))
	if err != nil {
		return nil, nil, err
	}
	o := w.replicaOptions(upDomain, w.store, l.fault, now)
	o.Transport = network{w, "replica", l, w.upTransport}
	up, err := upstream.Open(l.ctx, o)
	if err != nil {
		return nil, nil, errors.Join(err, own.Close())
	}
	return own, up, nil
}

// end ends a process: by a kill, or with the power of the machine.
func (w *world) end(l *life, power bool) {
	r := w.sched.rnd
	w.mu.Lock()
	w.current = nil
	w.mu.Unlock()
	l.fault.Kill()
	l.die()
	w.sched.waiting() // one thing after another: who waited for an answer gets none
	w.sched.bury(l)
	w.base.Crash(r)
	w.lose(r)
	go func() { // each waits for goroutines of the dead process
		<-l.ended
		if l.own != nil {
			_ = l.own.Close()
			_ = l.up.Close()
		}
		w.sched.tell("life %d has ended", l.number)
	}()
	w.sched.bury(l)
	if power {
		w.disk = w.disk.Crash(r)
		w.store.Crash()
	}
}

// lose makes values of the database unreadable, now and then, while nobody uses it.
func (w *world) lose(r *rand.Rand) {
	if w.calm.Load() || r.IntN(6) > 0 {
		return
	}
	keys := w.base.Keys()
	for range min(len(keys), 1+r.IntN(3)) {
		key := keys[r.IntN(len(keys))]
		w.base.Lose(key)
		w.sched.tell("the value of %.12q is lost", key)
	}
}

// network carries what an upstream says, late, twice, damaged, or not at all.
type network struct {
	w    *world
	name string
	life *life // whose end of it this is
	far  func() upstream.Transport
}

// errUnreachable is what a network says that does not carry.
func errUnreachable() error {
	return &warg.Error{Kind: warg.KindUnavailable, Message: "unreachable", RetryAfter: 1}
}

// carry lets the world interfere with a call, then returns who answers it.
func (n network) carry(call string) (upstream.Transport, error) {
	point := fmt.Sprintf("%s asks for %s", n.name, call)
	if err := n.w.sched.pause(n.life, point); err != nil {
		return nil, err
	}
	far := n.far()
	if far == nil || !n.w.calm.Load() && n.w.sched.chance(point).IntN(6) == 0 {
		return nil, errUnreachable()
	}
	return far, nil
}

// damaged reports whether an answer is damaged on its way; then r says how.
func (n network) damaged(call string) (bool, interface{ IntN(int) int }) {
	r := n.w.sched.chance(n.name + " damages " + call)
	return !n.w.calm.Load() && r.IntN(8) == 0, r
}

func (n network) Checkpoint(ctx context.Context) (warg.View, error) {
	far, err := n.carry("checkpoint")
	if err != nil {
		return warg.View{}, err
	}
	return far.Checkpoint(ctx)
}

func (n network) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	far, err := n.carry("logs")
	if err != nil {
		return warg.LogsPage{}, err
	}
	n.w.confidential(n.name, req)
	page, err := far.Logs(ctx, req)
	if bad, r := n.damaged("logs"); bad && err == nil {
		for i := range page.Packages {
			if list := page.Packages[i].Records; len(list) > 0 {
				page.Packages[i].Records = list[:r.IntN(len(list))]
			}
		}
	}
	return page, err
}

func (n network) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	far, err := n.carry("names")
	if err != nil {
		return nil, err
	}
	names, err := far.Names(ctx, ids)
	if bad, _ := n.damaged("names"); bad && err == nil && len(names) > 0 {
		names[0] = wargtest.Name("up:somebody-else")
	}
	return names, err
}

func (n network) Ledger(ctx context.Context, start uint64, limit int) ([]byte, error) {
	far, err := n.carry("ledger")
	if err != nil {
		return nil, err
	}
	page, err := far.Ledger(ctx, start, limit)
	if bad, r := n.damaged("ledger"); bad && len(page) > 0 {
		page = append([]byte(nil), page...)
		page[r.IntN(len(page))] ^= 1 << r.IntN(8)
	}
	return page, err
}

func (n network) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	far, err := n.carry("consistency")
	if err != nil {
		return nil, err
	}
	return far.Consistency(ctx, from, to)
}

func (n network) Fetch(ctx context.Context, digest warg.Digest, keep func(io.Reader, int64) error) error {
	far, err := n.carry("content")
	if err != nil {
		return err
	}
	bad, r := n.damaged("content")
	return far.Fetch(ctx, digest, func(body io.Reader, size int64) error {
		if bad {
			body = io.LimitReader(body, int64(r.IntN(int(size)+1)))
		}
		return keep(body, size)
	})
}

// confidential judges what leaves the building: an upstream is only ever asked for
// what stands in its own ledger.
func (w *world) confidential(name string, req warg.LogsRequest) {
	if name != "replica" {
		return
	}
	theirs := map[warg.LogID]bool{}
	for _, leaf := range w.upLeaves(w.up) {
		theirs[leaf.LogID] = true
	}
	if w.fork != nil {
		for _, leaf := range w.upLeaves(w.fork) {
			theirs[leaf.LogID] = true
		}
	}
	for _, c := range req.Packages {
		if !theirs[c.LogID] {
			w.judge.mu.Lock()
			w.judge.wrong("the upstream was asked for log %s, which is not its own", c.LogID)
			w.judge.mu.Unlock()
		}
	}
}

// upLeaves returns a ledger of the upstream as it really is.
func (w *world) upLeaves(up *wargtest.Memory) (list []warg.Leaf) {
	packed, err := up.Ledger(context.Background(), 0, 1<<16)
	if err != nil {
		panic(err) // a registry in memory
	}
	for b := range slices.Chunk(packed, warg.LedgerEntrySize) {
		list = append(list, warg.Leaf{LogID: warg.LogID(b[:warg.DigestSize]), RecordID: warg.RecordID(b[warg.DigestSize:])})
	}
	return list
}
