package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrepot/entrepot/internal/observer"
)

// The suite twice: several servers on one folder, servers on copies of it, and folders
// that were set back to an earlier day. One history is signed, whoever asks whom.

const (
	exitFenced     = 78 // what a server exits with that may not go on here
	twiceMost      = 8  // servers at the same time
	twiceRecords   = 5  // published between two scenes
	twiceNamespace = "local"
)

const twiceConfig = "listen = \"127.0.0.1:0\"\n[authority]\ndomain = \"home.example\"\nnamespaces = [\"local\"]\nanchor_file = %q\n"

// twins is the folder that all scenes are about, with everybody who was ever told
// something about it.
type twins struct {
	s      *suite
	dir    string
	launch launch
	watch  *observer.Observer
	author *author
	rng    *rand.Rand
	client *http.Client
}

func runTwice(ctx context.Context, s *suite) error {
	const scenes = 4
	return s.lives(ctx, 2*scenes, func(ctx context.Context, n, points int) error {
		t, err := newTwins(s, n)
		if err != nil {
			return err
		}
		defer func() { s.acknowledged(t.watch.Promises()); _ = t.watch.Close() }()
		for i := range points {
			scene := []struct {
				word string
				play func(context.Context) error
			}{{"one folder", t.together}, {"copy", t.copied}, {"live copy", t.copiedLive}, {"set back", t.setBack}}[i%scenes]
			if err := t.work(ctx); err != nil {
				return fmt.Errorf("before scene %d, %s: %w", i, scene.word, err)
			}
			if err := scene.play(ctx); err != nil {
				return fmt.Errorf("scene %d, %s: %w", i, scene.word, err)
			}
			s.point(scene.word, observer.Verdict{})
		}
		return t.work(ctx)
	})
}

func newTwins(s *suite, n int) (*twins, error) {
	t := &twins{s: s, dir: filepath.Join(s.dir, fmt.Sprintf("%d", n)), rng: rand.New(rand.NewPCG(s.seed, uint64(n))), client: &http.Client{}}
	if err := os.Mkdir(t.dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(t.dir, "home.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, twiceConfig, filepath.Join(t.dir, "anchor")), 0o600); err != nil {
		return nil, err
	}
	t.launch = launch{bin: s.bin, data: filepath.Join(t.dir, "data"), args: []string{"--config", config}}
	var err error
	if t.watch, err = observer.Open(filepath.Join(t.dir, "book"), "", ""); err != nil {
		return nil, err
	}
	t.author, err = newAuthor(t.watch, t.client, t.rng, twiceNamespace+":twin")
	return t, err
}

// serve starts a server and returns it ready.
func (t *twins) serve(ctx context.Context, l launch) (*server, error) {
	s, err := l.start()
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		err = fmt.Errorf("%w (status %d):\n%s", err, s.status(), s.tail())
		s.kill()
		return nil, err
	}
	return s, nil
}

// work lets the one server do what it does: all that was promised is there, and more
// can be published.
func (t *twins) work(ctx context.Context) error {
	s, err := t.serve(ctx, t.launch)
	if err != nil {
		return err
	}
	defer s.kill()
	return t.publishAt(ctx, s)
}

func (t *twins) publishAt(ctx context.Context, s *server) error {
	for range twiceRecords {
		if err := t.author.publish(ctx, s.url); err != nil {
			return fmt.Errorf("%w:\n%s", err, s.tail())
		}
	}
	t.watch.At(s.url)
	return t.verdict(t.watch.Review(ctx, observer.Options{All: true}))
}

func (t *twins) verdict(v observer.Verdict, err error) error {
	t.s.mu.Lock()
	t.s.verdict.Add(v)
	t.s.mu.Unlock()
	if err == nil && v.Bad() {
		err = errors.New(strings.Join(v.Reasons, "\n"))
	}
	return err
}

// together starts several servers on the folder at the same moment, some by another
// path where we may mount: one serves.
func (t *twins) together(ctx context.Context) error {
	other := filepath.Join(t.dir, "bound")
	bound := os.Geteuid() == 0
	if bound {
		if err := os.MkdirAll(other, 0o700); err != nil {
			return err
		}
		if err := unix.Mount(t.launch.data, other, "", unix.MS_BIND, ""); err != nil {
			bound = false // a container without the right to
		} else {
			defer func() { _ = unix.Unmount(other, unix.MNT_DETACH) }()
		}
	}
	servers := make([]*server, 2+t.rng.IntN(twiceMost-1))
	failed := make([]error, len(servers))
	if err := forget(t.launch.data); err != nil {
		return err
	}
	var starting sync.WaitGroup
	for i := range servers {
		l := t.launch
		l.log, l.joins = filepath.Join(t.dir, fmt.Sprintf("twin-%d.log", i)), true
		if bound && i%2 == 1 {
			l.data = other
		}
		starting.Go(func() { servers[i], failed[i] = l.start() })
	}
	starting.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for _, s := range servers {
		defer s.kill()
	}
	one, err := lastOne(ctx, servers)
	if err == nil {
		err = one.ready(ctx)
	}
	if err != nil {
		return err
	}
	return t.publishAt(ctx, one)
}

// lastOne waits until all servers but one have ended, each because the folder is taken.
func lastOne(ctx context.Context, servers []*server) (one *server, err error) {
	for deadline := time.Now().Add(readyWithin); time.Now().Before(deadline); {
		var running []*server
		for _, s := range servers {
			if s.running() {
				running = append(running, s)
			} else if status := s.status(); status != exitFenced {
				return nil, fmt.Errorf("status %d:\n%s", status, s.tail())
			}
		}
		switch len(running) {
		case 0:
			return nil, errors.New("none of them serves")
		case 1:
			return running[0], nil
		}
		if err := pause(ctx, readyPoll); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("several servers run on one folder")
}

// copied starts a server on the folder and one on a copy of it with the same anchor.
func (t *twins) copied(ctx context.Context) error {
	return t.beside(ctx, func() error { return copyTree(t.launch.data, t.twin()) })
}

// copiedLive does so with a copy that is made while the server writes, file by file.
func (t *twins) copiedLive(ctx context.Context) error {
	return t.beside(ctx, nil)
}

func (t *twins) twin() string { return filepath.Join(t.dir, "twin") }

// beside starts the server and then another one on a copy, which is made before, or
// while the server is at work.
func (t *twins) beside(ctx context.Context, before func() error) error {
	defer os.RemoveAll(t.twin())
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	s, err := t.serve(ctx, t.launch)
	if err != nil {
		return err
	}
	defer s.kill()
	if before == nil {
		var copying sync.WaitGroup
		var copyErr error
		copying.Go(func() { copyErr = copyTree(t.launch.data, t.twin()) })
		err := t.publishAt(ctx, s)
		copying.Wait()
		if err := errors.Join(err, copyErr); err != nil {
			return err
		}
	}
	l := t.launch
	l.data = t.twin()
	if err := t.mayNotSign(ctx, l); err != nil {
		return err
	}
	return t.publishAt(ctx, s)
}

// mayNotSign starts a server that must not sign: it ends and says so, or it serves what
// it has and takes nothing. Nobody may be shown less than before.
func (t *twins) mayNotSign(ctx context.Context, l launch) error {
	l.log = filepath.Join(t.dir, "fenced.log")
	s, err := l.start()
	if err != nil {
		return err
	}
	defer s.kill()
	switch err := s.ready(ctx); {
	case errors.Is(err, errEnded):
		return s.refusal()
	case err != nil:
		return err
	}
	t.watch.At(s.url)
	if err := t.verdict(t.watch.Review(ctx, observer.Options{All: true, Damaged: true})); err != nil {
		return err
	}
	stranger, err := newAuthor(t.watch, t.client, t.rng, twiceNamespace+":stranger")
	if err != nil {
		return err
	}
	err = stranger.publish(ctx, s.url)
	var status *statusError
	switch {
	case err == nil:
		return errors.New("a server published that does not know what the other one signed")
	case errors.As(err, &status) && status.code == http.StatusServiceUnavailable:
		return nil
	case errors.Is(err, errGone) && s.ended(stopWithin) == nil:
		return s.refusal()
	}
	return err
}

// setBack puts the folder back to how it was an hour ago, as a backup would, and then
// makes good for it. The anchor lies elsewhere and knows more.
func (t *twins) setBack(ctx context.Context) error {
	now, past := filepath.Join(t.dir, "now"), filepath.Join(t.dir, "past")
	defer os.RemoveAll(now)
	defer os.RemoveAll(past)
	if err := copyTree(t.launch.data, past); err != nil {
		return err
	}
	anchor := filepath.Join(t.dir, "anchor")
	if err := t.work(ctx); err != nil {
		return err
	}
	if err := errors.Join(copyTree(t.launch.data, now), copyFile(anchor, anchor+".now"), replaceTree(past, t.launch.data)); err != nil {
		return err
	}
	if err := t.mayNotSign(ctx, t.launch); err != nil {
		return err
	}
	return errors.Join(replaceTree(now, t.launch.data), copyFile(anchor+".now", anchor))
}

// replaceTree puts the files of one folder in the place of those of another one, whose
// folders stay: the registry knows its own by more than their names.
func replaceTree(from, to string) error {
	all, err := files(to)
	if err != nil {
		return err
	}
	for _, name := range all {
		if err := os.Remove(filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return copyTree(from, to)
}
