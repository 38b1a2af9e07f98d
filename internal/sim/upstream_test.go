package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// stranger publishes to the upstream, without us.
type stranger struct {
	w        *world
	packages []*wargtest.Package
	contents [][]byte
}

func (s *stranger) act(ctx context.Context, _ *life, r *rand.Rand) {
	if s.w.calm.Load() {
		return
	}
	var entries []pkglog.Entry
	if len(s.packages) == 0 || r.IntN(3) == 0 {
		s.packages = append(s.packages, wargtest.NewPackage(fmt.Sprintf("up:p%d", len(s.packages))))
		entries = append(entries, wargtest.Init(wargtest.Bob()))
	}
	p := s.packages[len(s.packages)-1]
	content := fmt.Appendf(nil, "upstream %d", len(s.contents))
	s.contents = append(s.contents, content)
	entries = append(entries, wargtest.Release(fmt.Sprintf("%d.0.0", len(s.contents)), content))
	env := p.Next(wargtest.Bob(), entries...)
	if s.w.liar && s.w.fork == nil && len(s.contents) > 3 {
		s.w.fork = s.w.up.Clone()
		s.publish(ctx, s.w.fork, wargtest.NewPackage("up:only-here"), []byte("a release that only some are shown"))
		s.w.sched.tell("the upstream has two histories from now on")
	}
	s.publishTo(ctx, s.w.up, p, env, content)
}

// publish begins a package.
func (s *stranger) publish(ctx context.Context, up *wargtest.Memory, p *wargtest.Package, content []byte) {
	env := p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", content))
	s.publishTo(ctx, up, p, env, content)
}

func (s *stranger) publishTo(ctx context.Context, up *wargtest.Memory, p *wargtest.Package, env warg.Envelope, content []byte) {
	st, err := up.Publish(ctx, p.Request(env))
	if err == nil {
		err = up.Upload(ctx, p.LogID(), st.RecordID, warg.Sum(content), bytes.NewReader(content))
	}
	if err != nil && ctx.Err() == nil {
		panic(err) // a registry in memory
	}
}

// readUpstream reads the upstream through us, and compares with what it really is.
func (s *stranger) readUpstream(ctx context.Context, l *life, r *rand.Rand) {
	w := s.w
	v, err := l.up.Checkpoint(ctx)
	st := l.up.Status()
	w.sched.tell("a reader of the upstream: length %d, %v, %s", v.Checkpoint.LogLength, err, st.State)
	w.judge.mu.Lock()
	if st.Quarantine != nil && w.fork == nil {
		w.judge.wrong("an honest upstream is in quarantine: %s", st.Quarantine.Class)
	}
	w.judge.mu.Unlock()
	if err != nil || ctx.Err() != nil {
		return
	}
	w.judge.saw("the upstream through us", &w.judge.up, v.Checkpoint)
	// The ledger through us leads to the roots that are shown, whatever the upstream does.
	if packed, err := l.up.Ledger(ctx, 0, 1<<16); err == nil {
		w.judge.read("the upstream through us", &w.judge.up, 0, packed)
	}
	if len(s.packages) == 0 || w.fork != nil {
		return
	}
	s.readPackage(ctx, l, s.packages[r.IntN(len(s.packages))], v.Checkpoint.LogLength)
	if ctx.Err() != nil {
		return
	}
	s.readContent(ctx, l, s.contents[r.IntN(len(s.contents))])
	if ctx.Err() != nil {
		return
	}
	// A log that the upstream does not have; it may be one of ours that nobody knows yet.
	secret := wargtest.Name(fmt.Sprintf("own:secret-p%d", r.IntN(3))).LogID()
	if _, err := l.up.Logs(ctx, warg.LogsRequest{LogLength: v.Checkpoint.LogLength, Packages: []warg.LogCursor{{LogID: secret}}}); err == nil {
		w.judge.mu.Lock()
		w.judge.wrong("the upstream through us has log %s, which it does not have", secret)
		w.judge.mu.Unlock()
	}
}

func (s *stranger) readPackage(ctx context.Context, l *life, p *wargtest.Package, length uint64) {
	req := warg.LogsRequest{LogLength: length, Limit: warg.MaxFetchLimit, Packages: []warg.LogCursor{{LogID: p.LogID()}}}
	got, err := l.up.Logs(ctx, req)
	s.w.sched.tell("a reader of %s: %v", p.Name(), err)
	if err != nil {
		return
	}
	want, err := s.w.up.Logs(ctx, req)
	if err != nil || len(got.Packages) != 1 || len(want.Packages[0].Records) != len(got.Packages[0].Records) {
		s.w.judge.mu.Lock()
		defer s.w.judge.mu.Unlock()
		s.w.judge.wrong("the upstream through us has %d records of %s at length %d, not %d: %v",
			len(got.Packages[0].Records), p.Name(), length, len(want.Packages[0].Records), err)
		return
	}
	for i, r := range got.Packages[0].Records {
		if w := want.Packages[0].Records[i]; !bytes.Equal(r.Content, w.Content) || r.Index != w.Index {
			s.w.judge.mu.Lock()
			s.w.judge.wrong("the upstream through us has another record %d of %s", i, p.Name())
			s.w.judge.mu.Unlock()
		}
	}
}

func (s *stranger) readContent(ctx context.Context, l *life, want []byte) {
	c, err := l.up.Open(ctx, warg.Sum(want))
	if err != nil {
		return
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err == nil && !bytes.Equal(got, want) {
		s.w.judge.mu.Lock()
		defer s.w.judge.mu.Unlock()
		s.w.judge.wrong("content through us is %q, not %q", got, want)
	}
}
