package sim

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/upstream/memstore"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func newDrill(t *testing.T, seed uint64, sum *tally) *drill {
	d := &drill{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), tally: sum, book: newBook(),
		anchorFile: "/data/authority/anchor", disk: durable.NewMemory(), store: memstore.New(),
		now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC),
	}
	d.lag = []int{5, 15, 40}[d.r.IntN(3)]
	if d.r.IntN(3) == 0 {
		d.anchorFile = "/volume/anchor"
	}
	if d.r.IntN(2) == 0 {
		d.keyFile = "/keys/operator.key"
	}
	for _, dir := range []string{"/data", "/volume", "/keys"} {
		d.must(durable.MkdirAll(d.disk, dir))
	}
	d.openPeer()
	return d
}

// must ends a drill that cannot go on.
func (d *drill) must(err error) {
	d.t.Helper()
	if err != nil && d.own != nil {
		err = errors.Join(err, d.own.Err())
	}
	if err != nil {
		d.t.Fatalf("%v\n%s", err, strings.Join(d.story, "\n"))
	}
}

// options are those of our registry. The index is made anew by each process: that it can
// be is not what is drilled.
func (d *drill) options(fsys durable.FS) authority.Options {
	return authority.Options{
		Dir: "/data/authority", ContentDir: "/data/content", AnchorFile: d.anchorFile, KeyFile: d.keyFile,
		Domain: ownDomain, Key: wargtest.Alice(), Namespaces: []string{"own"}, Content: authority.ContentAny,
		Peers: []string{drillPeer}, Now: d.clock, FS: fsys, Index: index.InMemory(new(kv.Memory)), Log: slog.New(slog.DiscardHandler),
		Step: d.step,
	}.WithSegments(drillGrow, drillMax)
}

// step is where our registry is at each durable effect.
func (d *drill) step(name string) error {
	if d.silence.Load() && (name == "batchTaken" || strings.HasPrefix(name, "anchor")) {
		d.book.guilty("a registry that may be behind is about to sign: %s", name)
	}
	d.snap.step(d.disk)
	return nil
}

// begin starts the registry for the first time.
func (d *drill) begin() {
	d.start()
	d.must(d.own.PeerSaw(drillPeer, nil))
	d.opened()
	d.follow() // a peer that never saw us cannot tell our loss from our beginning
}

// start begins a process, which is fenced until its peer was heard.
func (d *drill) start() {
	d.fault = durable.NewFault(d.disk)
	own, err := authority.Open(d.t.Context(), d.options(d.fault))
	d.must(err)
	d.own = own
	if f := own.Status().Fence; f == nil || f.Kind != authority.FencePeers && f.Kind != authority.FenceBehind {
		d.book.guilty("it starts although its peer was not heard: %+v", f)
	}
}

// opened waits until a registry that is not fenced shows a checkpoint: one that begins
// has to sign it first.
func (d *drill) opened() {
	d.must(d.own.DefineNamespace(d.t.Context(), d.name()))
	d.line.Store(d.own)
	d.look()
}

// name returns a word that was not used before, not even in what was lost.
func (d *drill) name() string {
	d.names++
	return fmt.Sprintf("n%d", d.names)
}

// kill ends the process, as a machine that fails does.
func (d *drill) kill() {
	if d.own == nil {
		return
	}
	d.line.Store(nil)
	d.fault.Kill()
	_ = d.own.Close() // its files are gone
	d.own = nil
}

// look is what everybody sees.
func (d *drill) look() {
	v, err := d.view()
	d.must(err)
	d.book.saw(v.Checkpoint)
}

// released is a package of ours.
type released struct {
	*wargtest.Package
	req     warg.PublishRequest
	content []byte
	records []warg.RecordID // acknowledged
}

// live lets so many things happen.
func (d *drill) live(events int) {
	for range events {
		if len(d.book.verdict()) > 0 {
			return
		}
		d.pass(time.Duration(d.r.IntN(90)) * time.Second)
		d.rest() // a signature may be due
		d.event(d.r.IntN(100))
		d.rest()
		d.look()
	}
}

func (d *drill) event(draw int) {
	switch {
	case draw < d.lag:
		d.follow()
	case draw < d.lag+2:
		d.headOnly()
	case draw < 50:
		d.publish(d.compose())
	case draw < 58:
		p := d.compose()
		_, err := d.own.Publish(d.t.Context(), p.req)
		d.must(err)
		d.tell("%s is accepted, its content is not sent", p.Name())
		d.waiting = append(d.waiting, p)
	case draw < 66 && len(d.waiting) > 0:
		d.publish(d.waiting[0])
		d.waiting = d.waiting[1:]
	case draw < 70:
		d.must(d.own.DefineNamespace(d.t.Context(), d.name()))
		d.tell("a namespace is defined")
	case draw < 76:
		d.restart()
	default:
		d.publish(d.compose())
	}
}

// compose makes the next record of a package, or the first of another.
func (d *drill) compose() *released {
	p := &released{Package: wargtest.NewPackage("own:" + d.name())}
	entries := []pkglog.Entry{wargtest.Init(wargtest.Bob())}
	if len(d.packages) > 0 && d.r.IntN(2) == 0 {
		n := d.r.IntN(len(d.packages))
		p, entries = d.packages[n], nil
		d.packages = slices.Delete(d.packages, n, n+1) // until it is published
	}
	version := d.name()[1:] + ".0.0"
	p.content = []byte("content of " + version)
	p.req = p.Request(p.Next(wargtest.Bob(), append(entries, wargtest.Release(version, p.content))...))
	return p
}

// publish sees a record through, and takes down that it was acknowledged.
func (d *drill) publish(p *released) {
	ctx, id, digest := d.t.Context(), p.req.Record.PackageRecordID(), warg.Sum(p.content)
	_, err := d.own.Publish(ctx, p.req)
	d.must(err)
	d.must(d.own.Upload(ctx, p.LogID(), id, digest, bytes.NewReader(p.content)))
	st, err := d.own.Settled(ctx, p.LogID(), id)
	d.must(err)
	if st.State != warg.StatePublished {
		d.t.Fatalf("%s became %s: %s", p.Name(), st.State, st.Reason)
	}
	d.book.acks[id] = ack{p.Name(), st.Index, digest}
	p.records = append(p.records, id)
	d.packages = append(d.packages, p)
	d.tell("%s is published at %d", p.Name(), st.Index)
}

// restart ends the process and begins another.
func (d *drill) restart() {
	d.kill()
	d.disk = d.disk.Crash(d.r)
	d.start()
	d.hear()
	if f := d.own.Status().Fence; f != nil {
		d.book.guilty("a restart is fenced: %s", f.Reason)
		return
	}
	d.line.Store(d.own)
	d.tell("a restart")
}

// hear has our registry hear its peer.
func (d *drill) hear() {
	var held *warg.SignedCheckpoint
	if head, ok := d.peer.Held(); ok {
		held = &head
	}
	if err := d.own.PeerSaw(drillPeer, held); err != nil {
		d.book.guilty("what the peer saw is no part of our history: %v", err)
	}
	d.rest()
}

// rest waits until the registry has nothing more to do: what an operator asks for comes
// before everything else that is due, and so the second time after all that was due the
// first time. The clock is right, so that there is nothing to accept.
func (d *drill) rest() {
	for range 2 {
		d.acceptNothing()
	}
}

func (d *drill) acceptNothing() {
	if err := d.own.AcceptClock(d.t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindConflict}) {
		d.book.guilty("a clock that is right is accepted: %v", err)
	}
}

// inspect judges all that our registry has.
func (d *drill) inspect() {
	ctx := d.t.Context()
	packed, err := d.own.Ledger(ctx, 0, 1<<16)
	d.must(err)
	d.book.read(leavesOf(packed))
	for id, a := range d.book.acks {
		st, err := d.own.Record(ctx, a.name.LogID(), id)
		if err != nil || st.State != warg.StatePublished || st.Index != a.index {
			d.book.guilty("record %s was published at %d; now it is %s at %d (%v)", id, a.index, st.State, st.Index, err)
		}
		if a.content.IsZero() {
			continue
		}
		c, err := d.own.Open(ctx, a.content)
		if err != nil {
			d.book.guilty("content of %s: %v", a.name, err)
			continue
		}
		_ = c.Close() // in memory
	}
}

func leavesOf(packed []byte) (list []warg.Leaf) {
	for b := range slices.Chunk(packed, warg.LedgerEntrySize) {
		list = append(list, warg.Leaf{LogID: warg.LogID(b[:warg.DigestSize]), RecordID: warg.RecordID(b[warg.DigestSize:])})
	}
	return list
}

// forget drops packages of which records are gone: their authors begin others.
func (d *drill) forget() {
	d.packages = slices.DeleteFunc(d.packages, func(p *released) bool {
		return slices.ContainsFunc(p.records, func(id warg.RecordID) bool { _, ok := d.book.acks[id]; return !ok })
	})
	d.waiting = nil
}

// closed checks that a fenced registry does nothing that only an open one may.
func (d *drill) closed() {
	unavailable := &warg.Error{Kind: warg.KindUnavailable}
	if _, err := d.view(); !errors.Is(err, unavailable) {
		d.book.guilty("the head is shown behind the fence: %v", err)
	}
	p := wargtest.NewPackage("own:" + d.name())
	if _, err := d.own.Publish(d.t.Context(), p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob())))); !errors.Is(err, unavailable) {
		d.book.guilty("a record is taken behind the fence: %v", err)
	}
	if err := d.own.DefineNamespace(d.t.Context(), d.name()); err == nil {
		d.book.guilty("a namespace is defined behind the fence")
	}
}
