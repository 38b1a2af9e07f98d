package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/internal/observer"
)

// The suite kill: one server after the other on the same folder, each ended by SIGKILL
// or by an error at a named step, at a random moment under load, or while it starts.

const (
	killLife      = 20                      // points on one folder
	killAuthors   = 3                       // who publish at the same time
	stepWithin    = 1500 * time.Millisecond // for a step that may not come: then it is killed all the same
	lookEvery     = 5 * time.Millisecond
	maxStepCount  = 9
	maxRandomLoad = 150 * time.Millisecond
	maxStartUp    = 60 * time.Millisecond
)

// crashPoint is how one server ends.
type crashPoint struct {
	word   string        // named, error, random, start
	step   string        // failpoint, or ""
	action string        // of the failpoint
	after  time.Duration // for a kill by the clock
	begin  bool          // the clock runs from the start of the process
}

func (p crashPoint) String() string {
	if p.step != "" {
		return p.step + ":" + p.action
	}
	return fmt.Sprintf("SIGKILL %v after %s", p.after, map[bool]string{true: "the start", false: "being ready"}[p.begin])
}

// env is what the server is told.
func (p crashPoint) env() []string {
	if p.step == "" {
		return nil
	}
	return []string{"ENTREPOT_FAILPOINT=" + p.step + ":" + p.action}
}

// births are the ends that only a new folder can have, and its first server has: the
// steps at which the two sets of segments are begun, and any other step on the way.
func births() []crashPoint {
	return []crashPoint{
		{word: "named", step: "segCreated", action: "1:kill"}, {word: "named", step: "segDirSynced", action: "2:kill"},
		{word: "named", step: "segDirSynced", action: "1:kill"}, {word: "named", step: "segCreated", action: "2:kill"},
		{word: "named", step: "any", action: "3:kill"}, {word: "named", step: "any", action: "8:kill"},
		{word: "error", step: "segCreated", action: "1:error"}, {word: "named", step: "any", action: "11:kill"},
		{word: "error", step: "segDirSynced", action: "2:error-but-persisted"}, {word: "error", step: "batchTaken", action: "2:error"},
	}
}

// laterSteps are the steps that every server comes by.
func laterSteps() []string {
	return slices.DeleteFunc(authority.Steps(), func(step string) bool {
		return step == "segCreated" || step == "segDirSynced"
	})
}

// killPlan returns the end of the i-th server of a life. Over the first lives every step
// comes once, by SIGKILL and by an error; then chance.
func killPlan(rng *rand.Rand, life, i int) crashPoint {
	if i == 0 {
		return births()[life%len(births())]
	}
	steps := laterSteps()
	n := life*(killLife-1) + i - 1
	switch {
	case n < len(steps):
		return crashPoint{word: "named", step: steps[n], action: "1:kill"}
	case n < 2*len(steps):
		return crashPoint{word: "error", step: steps[n-len(steps)], action: "1:" + []string{"error", "error-but-persisted"}[n%2]}
	}
	step, count := steps[rng.IntN(len(steps))], 1+rng.IntN(maxStepCount)
	const share = 100
	switch chance := rng.IntN(share); {
	case chance < 45:
		return crashPoint{word: "named", step: step, action: fmt.Sprintf("%d:kill", count)}
	case chance < 50:
		return crashPoint{word: "panic", step: step, action: fmt.Sprintf("%d:panic", count)}
	case chance < 62:
		action := []string{"error", "error-but-persisted"}[rng.IntN(2)]
		return crashPoint{word: "error", step: step, action: fmt.Sprintf("%d:%s", count, action)}
	case chance < 65: // killed while a step takes long
		return crashPoint{word: "random", step: step, action: fmt.Sprintf("%d:sleep", count), after: time.Duration(rng.Int64N(int64(4 * maxRandomLoad)))}
	case chance < 85:
		return crashPoint{word: "random", after: time.Duration(rng.Int64N(int64(maxRandomLoad)))}
	}
	return crashPoint{word: "start", after: time.Duration(rng.Int64N(int64(maxStartUp))), begin: true}
}

func runKill(ctx context.Context, s *suite) error {
	err := s.lives(ctx, killLife, func(ctx context.Context, n, points int) error {
		l, err := newLife(s, n)
		if err != nil {
			return err
		}
		defer l.close()
		for i := range points {
			p := killPlan(l.rng, n, i)
			if err := l.crash(ctx, p); err != nil {
				return fmt.Errorf("point %d, %v: %w", i, p, err)
			}
		}
		if err := l.end(ctx); err != nil {
			return err
		}
		return os.RemoveAll(l.launch.data)
	})
	if err == nil && s.points >= 3*len(laterSteps()) {
		err = s.reached()
	}
	return err
}

// reached demands that every step ended a server: a step that nothing comes by any more
// would be tested no more, and nobody would notice.
func (s *suite) reached() error {
	for _, step := range authority.Steps() {
		if s.steps[step] == 0 {
			return fmt.Errorf("no server ended at the step %s", step)
		}
	}
	return nil
}

// life is one data folder over many servers, with those who use it.
type life struct {
	s       *suite
	rng     *rand.Rand
	launch  launch
	watch   *observer.Observer
	authors []*author
	spaces  int // namespaces that were asked for
	client  *http.Client
}

func newLife(s *suite, n int) (*life, error) {
	dir := filepath.Join(s.dir, fmt.Sprintf("%d", n))
	watch, err := observer.Open(dir+".book", "", "")
	if err != nil {
		return nil, err
	}
	l := &life{
		s: s, rng: rand.New(rand.NewPCG(s.seed, uint64(n))), launch: launch{bin: s.bin, data: dir}, watch: watch,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: killAuthors}},
	}
	for i := range killAuthors {
		a, err := newAuthor(watch, l.client, rand.New(rand.NewPCG(l.rng.Uint64(), uint64(i))), fmt.Sprintf("local:author%d", i))
		if err != nil {
			return nil, errors.Join(err, watch.Close())
		}
		l.authors = append(l.authors, a)
	}
	return l, nil
}

func (l *life) close() {
	l.s.acknowledged(l.watch.Promises())
	_ = l.watch.Close()
}

// crash starts a server, judges what the one before it left, works with it, and ends it
// as planned.
func (l *life) crash(ctx context.Context, p crashPoint) error {
	lc := l.launch
	lc.env = p.env()
	s, err := lc.start()
	if err != nil {
		return err
	}
	defer s.kill()
	if p.begin {
		if err := pause(ctx, p.after); err != nil {
			return err
		}
		s.kill()
		l.s.point(p.word, observer.Verdict{})
		return nil
	}
	v, err := l.judge(ctx, s, observer.Options{})
	if err == nil && !v.Bad() {
		err = l.load(ctx, s, p)
	}
	if err != nil && !(s.ended(stopWithin) == nil && (errors.Is(err, errEnded) || errors.Is(err, errGone))) {
		return fmt.Errorf("%w; its log ends:\n%s", err, s.tail())
	}
	l.s.point(l.s.met(s, p), v)
	if v.Bad() {
		return fmt.Errorf("the server before was to leave all that it promised:\n%v\nlog:\n%s", v.Reasons, s.tail())
	}
	return p.ended(s)
}

// met returns the word to count a point by, and notes the step that it ended at.
func (s *suite) met(srv *server, p crashPoint) string {
	switch {
	case p.step == "" || p.word == "random":
		return p.word
	case srv.stopped: // the step did not come
		return "late"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps[p.step]++
	return p.word
}

// ended judges how the process ended.
func (p crashPoint) ended(s *server) error {
	const ioError = 74
	switch status := s.status(); {
	case p.word == "panic" && status > 0:
		return nil
	case p.word == "panic" && s.stopped && status == -int(syscall.SIGKILL):
		return nil // the step did not come, or one request paid for it
	case s.panicked():
		return fmt.Errorf("the server panicked:\n%s", s.tail())
	case status == -int(syscall.SIGKILL):
		return nil
	case p.word == "error" && status == ioError:
		return nil
	default:
		return fmt.Errorf("the server ended with status %d:\n%s", status, s.tail())
	}
}

// judge waits until a server is ready and reviews it. A server that ends meanwhile is
// errEnded.
func (l *life) judge(ctx context.Context, s *server, o observer.Options) (observer.Verdict, error) {
	if err := s.ready(ctx); err != nil {
		return observer.Verdict{}, err
	}
	l.watch.At(s.url)
	v, err := l.watch.Review(ctx, o)
	if err != nil && s.ended(stopWithin/60) == nil {
		return observer.Verdict{}, errEnded // it was not there to be asked
	}
	return v, err
}

// load works with a server until it ends, or the plan's clock does it.
func (l *life) load(ctx context.Context, s *server, p crashPoint) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, killAuthors+2)
	var people sync.WaitGroup
	for _, a := range l.authors {
		people.Go(func() { failed <- l.author(ctx, s, a, p) })
	}
	people.Go(func() { failed <- l.defineAll(ctx, s) })
	people.Go(func() {
		l.watch.Watch(ctx, lookEvery, func(v observer.Verdict) { failed <- fmt.Errorf("while it ran: %v", v.Reasons) })
	})
	clock := p.after
	if clock == 0 {
		clock = stepWithin
	}
	var err error
	timer := time.NewTimer(clock)
	defer timer.Stop()
	for waiting := true; waiting; {
		select {
		case <-s.done:
			waiting = false
		case <-timer.C:
			s.stopped = true
			if p.word == "panic" {
				err = l.alive(ctx, s)
			}
			err = errors.Join(err, s.signal(syscall.SIGKILL))
			waiting = false
		case e := <-failed:
			err = errors.Join(err, l.unexpected(e, p))
			waiting = err == nil
		}
	}
	s.kill()
	cancel()
	go func() { people.Wait(); close(failed) }()
	for e := range failed {
		err = errors.Join(err, l.unexpected(e, p))
	}
	l.client.CloseIdleConnections()
	return err
}

// author lets an author work. Where somebody's request may panic it is tried again: the
// others' must go on.
func (l *life) author(ctx context.Context, s *server, a *author, p crashPoint) error {
	for {
		err := a.work(ctx, s.url)
		var status *statusError
		if p.word != "panic" || !errors.As(err, &status) || status.code < http.StatusInternalServerError {
			return err
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// alive demands that a server that outlived a panic is not just there: something is
// acknowledged, or it ends by itself.
func (l *life) alive(ctx context.Context, s *server) error {
	before := l.watch.Promises()
	for deadline := time.Now().Add(stopWithin); time.Now().Before(deadline); {
		if l.watch.Promises() > before || !s.running() {
			return nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
	return errors.New("it neither ends nor works any more")
}

// unexpected returns an error of somebody at work, unless it comes from the end of the
// server or of the work.
func (l *life) unexpected(err error, p crashPoint) error {
	var status *statusError
	switch {
	case err == nil, errors.Is(err, errGone), errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &status) && (p.word == "error" || p.word == "panic") && status.code >= http.StatusInternalServerError:
		return nil // it says so before it ends
	}
	return err
}

// defineAll defines namespaces, one after the other.
func (l *life) defineAll(ctx context.Context, s *server) error {
	socket := filepath.Join(s.data, "run", "admin.sock")
	admin := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer admin.CloseIdleConnections()
	const every = 20 * time.Millisecond
	for ctx.Err() == nil {
		if err := define(ctx, admin, l.watch, fmt.Sprintf("space%d", l.spaces)); err != nil {
			return err
		}
		l.spaces++
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// end ends a life well: everything that was promised is looked at, everybody can go on,
// and the server stops when it is told to.
func (l *life) end(ctx context.Context) error {
	s, err := l.launch.start()
	if err != nil {
		return err
	}
	defer s.kill()
	v, err := l.judge(ctx, s, observer.Options{All: true})
	for _, a := range l.authors {
		for range 2 { // what was under way, and one more
			if err == nil {
				err = a.publish(ctx, s.url)
			}
		}
	}
	if err == nil && !v.Bad() {
		v, err = l.watch.Review(ctx, observer.Options{All: true})
	}
	if err == nil {
		err = s.signal(syscall.SIGTERM)
	}
	if err == nil && s.status() != 0 {
		err = fmt.Errorf("status %d at a clean stop", s.status())
	}
	l.s.mu.Lock()
	l.s.verdict.Add(v)
	l.s.mu.Unlock()
	if err == nil && v.Bad() {
		err = fmt.Errorf("at the end: %v", v.Reasons)
	}
	if err != nil {
		return fmt.Errorf("%w; its log ends:\n%s", err, s.tail())
	}
	return nil
}
