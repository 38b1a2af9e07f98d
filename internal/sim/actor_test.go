package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// act runs an actor: time and again, whenever the scheduler lets it, it does one thing
// with the process that is there.
func (w *world) act(name string, seed uint64, thing func(ctx context.Context, l *life, r *rand.Rand)) {
	r := rand.New(rand.NewPCG(w.sched.seed, seed))
	go func() {
		for w.sched.pause(nil, name) == nil {
			l := w.alive()
			if l == nil {
				continue
			}
			ctx, giveUp := context.WithCancel(l.ctx)
			w.busy(name, giveUp)
			thing(ctx, l, r)
			w.busy(name, nil)
			giveUp()
		}
	}()
}

// busy notes how an actor can be made to give up what it is at, or that it is at
// nothing.
func (w *world) busy(name string, giveUp context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if giveUp == nil {
		delete(w.atWork, name)
		return
	}
	w.atWork[name] = giveUp
}

// impatience makes one of those who wait for an answer go away. It comes while nothing
// else happens, as everything does that somebody may wait for: of two things at the
// same instant neither is the first.
func (w *world) impatience(r *rand.Rand) {
	w.mu.Lock()
	names := slices.Sorted(maps.Keys(w.atWork))
	var giveUp context.CancelFunc
	if len(names) > 0 {
		name := names[r.IntN(len(names))]
		giveUp = w.atWork[name]
		w.sched.tell("%s gives up", name)
	}
	w.mu.Unlock()
	if giveUp != nil {
		giveUp()
	}
}

// publisher publishes one record after another of packages of its own.
type publisher struct {
	w        *world
	name     string
	packages int
	releases int
	pkg      *wargtest.Package
	env      warg.Envelope // on its way
	contents [][]byte
	past     []warg.PublishRequest
}

func (p *publisher) act(ctx context.Context, l *life, r *rand.Rand) {
	switch {
	case len(p.past) > 0 && r.IntN(8) == 0:
		p.submit(ctx, l, p.past[r.IntN(len(p.past))], nil)
	case p.env.Content == nil && p.w.calm.Load():
	case p.env.Content == nil:
		p.next(r)
		fallthrough
	default:
		p.goOn(ctx, l, r)
	}
}

// next makes the next record.
func (p *publisher) next(r *rand.Rand) {
	var entries []pkglog.Entry
	if p.pkg == nil {
		p.packages++
		p.pkg = wargtest.NewPackage(fmt.Sprintf("own:%s-p%d", p.name, p.packages))
		p.releases = 0
		entries = append(entries, wargtest.Init(wargtest.Bob()))
	}
	p.contents = nil
	switch {
	case p.releases > 0 && r.IntN(5) == 0:
		entries = append(entries, wargtest.Yank(fmt.Sprintf("%d.0.0", p.releases)))
		p.releases = 0
		p.env = p.pkg.Next(wargtest.Bob(), entries...)
		p.past = append(p.past, p.pkg.Request(p.env))
		p.releases = 1000 * (1 + len(p.past)) // versions go on above
		return
	case len(entries) == 0 || r.IntN(2) == 0:
		for range 1 + r.IntN(2) {
			p.releases++
			content := fmt.Appendf(nil, "%s %d %d", p.name, p.packages, p.releases)
			p.contents = append(p.contents, content)
			entries = append(entries, wargtest.Release(fmt.Sprintf("%d.0.0", p.releases), content))
		}
	}
	p.env = p.pkg.Next(wargtest.Bob(), entries...)
	p.past = append(p.past, p.pkg.Request(p.env))
}

// goOn asks for the state of the record on its way, and does what it wants.
func (p *publisher) goOn(ctx context.Context, l *life, r *rand.Rand) {
	st, ok := p.submit(ctx, l, p.pkg.Request(p.env), p.contents)
	if !ok || ctx.Err() != nil {
		return
	}
	switch st.State {
	case warg.StateSourcing:
		p.upload(ctx, l, st, r)
	case warg.StatePublished:
		p.env = warg.Envelope{}
	case warg.StateRejected:
		p.env, p.pkg = warg.Envelope{}, nil
	case warg.StateProcessing:
	}
}

// submit publishes a record, for the first time or again.
func (p *publisher) submit(ctx context.Context, l *life, req warg.PublishRequest, contents [][]byte) (warg.RecordStatus, bool) {
	id := req.Record.PackageRecordID()
	st, err := l.own.Publish(ctx, req)
	p.w.sched.tell("%s publishes %s: %s, %v", p.name, id.String()[:16], st.State, err)
	if err != nil {
		p.w.refusal(p.name, id, err)
		return st, false
	}
	p.w.judge.accepted(req.Name, req.Record, contents, st)
	return st, true
}

// upload sends one of the contents that are missing, now and then a wrong one first.
func (p *publisher) upload(ctx context.Context, l *life, st warg.RecordStatus, r *rand.Rand) {
	if r.IntN(10) == 0 {
		err := l.own.Upload(ctx, p.pkg.LogID(), st.RecordID, st.Missing[0], bytes.NewReader([]byte("something else")))
		if err == nil {
			p.w.judge.mu.Lock()
			p.w.judge.wrong("content with another digest was taken for record %s", st.RecordID)
			p.w.judge.mu.Unlock()
		}
		return
	}
	for _, content := range p.contents {
		d := warg.Sum(content)
		for _, missing := range st.Missing {
			if d != missing {
				continue
			}
			err := l.own.Upload(ctx, p.pkg.LogID(), st.RecordID, d, bytes.NewReader(content))
			p.w.sched.tell("%s uploads %s: %v", p.name, d.String()[:16], err)
			if err == nil {
				p.w.judge.uploaded(st.RecordID, d)
			}
			return
		}
	}
}

// refusal judges an error that a publisher was given: what was accepted once is never
// refused.
func (w *world) refusal(who string, id warg.RecordID, err error) {
	var e *warg.Error
	if !errors.As(err, &e) {
		return
	}
	switch e.Kind {
	case warg.KindUnavailable, warg.KindInternal, warg.KindUpstreamTimeout, warg.KindNoSpace, warg.KindTooMany:
		return
	}
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	if f := w.judge.facts[id]; f != nil {
		w.judge.wrong("%s: record %s was accepted (%s), now it is refused: %v", who, id, f.state, err)
	}
}

// reader reads our own registry.
func (w *world) reader(ctx context.Context, l *life, r *rand.Rand) {
	v, err := l.own.Checkpoint(ctx)
	if err != nil {
		return
	}
	w.judge.saw("our registry", &w.judge.own, v.Checkpoint)
	switch draw := r.IntN(3); {
	case ctx.Err() != nil:
	case draw == 0:
		start := uint64(r.IntN(int(v.Checkpoint.LogLength) + 1))
		if packed, err := l.own.Ledger(ctx, min(start, uint64(len(w.judge.own.leaves))), 1000); err == nil {
			w.judge.read("our registry", &w.judge.own, min(start, uint64(len(w.judge.own.leaves))), packed)
		}
	case draw == 1:
		w.readRecord(ctx, l, r)
	default:
		w.readLog(ctx, l, r, v.Checkpoint.LogLength)
	}
}

// pick returns one of the records that somebody was promised something about.
func (w *world) pick(r *rand.Rand) (warg.RecordID, fact, bool) {
	ids := w.judge.records()
	if len(ids) == 0 {
		return warg.RecordID{}, fact{}, false
	}
	id := ids[r.IntN(len(ids))]
	f, ok := w.judge.known(id)
	return id, f, ok
}

func (w *world) readRecord(ctx context.Context, l *life, r *rand.Rand) {
	id, f, ok := w.pick(r)
	if !ok {
		return
	}
	st, err := l.own.Record(ctx, f.name.LogID(), id)
	if err != nil {
		w.refusal("a reader", id, err)
		return
	}
	w.judge.accepted(f.name, f.env, f.contents, st)
	if st.State == warg.StatePublished && ctx.Err() == nil {
		w.readContents(ctx, l, id, f)
	}
}

// readContents reads what a published record releases.
func (w *world) readContents(ctx context.Context, l *life, id warg.RecordID, f fact) {
	for _, want := range f.contents {
		c, err := l.own.Open(ctx, warg.Sum(want))
		if err != nil {
			w.refusal("a reader of content", id, err)
			continue
		}
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, want) {
			w.judge.mu.Lock()
			w.judge.wrong("content of record %s is %q, not %q", id, got, want)
			w.judge.mu.Unlock()
		}
		_ = c.Close()
	}
}

func (w *world) readLog(ctx context.Context, l *life, r *rand.Rand, length uint64) {
	_, f, ok := w.pick(r)
	if !ok {
		return
	}
	page, err := l.own.Logs(ctx, warg.LogsRequest{LogLength: length, Limit: warg.MaxFetchLimit, Packages: []warg.LogCursor{{LogID: f.name.LogID()}}})
	if err != nil || len(page.Packages) != 1 {
		return // not published yet
	}
	w.judge.logRead(f.name, length, page.Packages[0].Records)
}

// lookAtMirror lets somebody who mirrors us ask for news: he verifies everything, and
// keeps proof if we sign two histories.
func (w *world) lookAtMirror(ctx context.Context, _ *life, _ *rand.Rand) {
	err := w.mirror.Refresh(ctx)
	s := w.mirror.Status()
	w.sched.tell("the mirror looks: %s at %d, %v", s.State, s.LogLength, err)
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	if s.Quarantine != nil {
		w.judge.wrong("our mirror has proof against us: %s", s.Quarantine.Class)
	}
}
