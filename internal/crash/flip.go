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
	"syscall"

	"github.com/entrepot/entrepot/internal/observer"
)

// The suite flip: in a copy of a data folder one file is damaged, a server is started
// there, everything is read, something is published. Every answer must be right or be
// an error, every checkpoint must continue what was shown before.

const (
	flipRecords = 40 // of each registry
)

func runFlip(ctx context.Context, s *suite) error {
	b, err := newFlipBase(ctx, s)
	if err != nil {
		return fmt.Errorf("making the folders to damage: %w", err)
	}
	defer b.up.kill()
	sites := make(chan *flipSite, s.parallel)
	for i := range s.parallel {
		site, err := b.newSite(ctx, i)
		if err != nil {
			return fmt.Errorf("making a folder to damage: %w", err)
		}
		sites <- site
	}
	return s.lives(ctx, 1, func(ctx context.Context, n, _ int) error {
		site := <-sites
		defer func() { sites <- site }()
		return site.flip(ctx, n)
	})
}

// flipBase is what all sites have: a registry behind them that goes on.
type flipBase struct {
	s      *suite
	up     *server
	other  string // book of what it showed and promised
	client *http.Client
}

// flipSite is a site with a registry of its own and a replica of the other one, and
// copies of its data as a good end, a kill, and an earlier day left it. Damage is done
// in place: a folder that is copied is recognised, and only read.
type flipSite struct {
	*flipBase
	dir  string
	data string
	own  string // book
}

const flipConfig = `listen = "127.0.0.1:0"
[authority]
domain = "home.example"
namespaces = ["local"]
[upstream."up.example"]
url = %q
trust_first_key = true
namespaces = ["up"]
mirror = "full"
max_age = "1s"
allow_private_addresses = true
`

func newFlipBase(ctx context.Context, s *suite) (_ *flipBase, err error) {
	b := &flipBase{s: s, other: filepath.Join(s.dir, "other.book"), client: &http.Client{}}
	config := filepath.Join(s.dir, "up.toml")
	if err := os.WriteFile(config, []byte("[authority]\ndomain = \"up.example\"\nnamespaces = [\"up\"]\n"), 0o600); err != nil {
		return nil, err
	}
	if b.up, err = (launch{bin: s.bin, data: filepath.Join(s.dir, "up"), args: []string{"--config", config}}).start(); err != nil {
		return nil, err
	}
	if err := b.up.ready(ctx); err != nil {
		return nil, err
	}
	return b, b.fill(ctx, b.other, b.up.url, "up:base", flipRecords)
}

func (b *flipBase) newSite(ctx context.Context, n int) (*flipSite, error) {
	dir := filepath.Join(b.s.dir, fmt.Sprintf("site-%d", n))
	f := &flipSite{flipBase: b, dir: dir, data: filepath.Join(dir, "data"), own: filepath.Join(dir, "own.book")}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	offline := strings.Replace(flipConfig, "max_age", "offline = true\nmax_age", 1)
	for name, config := range map[string]string{"home.toml": flipConfig, "offline.toml": offline} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, config, b.up.url), 0o600); err != nil {
			return nil, err
		}
	}
	for n, end := range []struct {
		name string
		sig  syscall.Signal
	}{{"stale", syscall.SIGTERM}, {"killed", syscall.SIGKILL}, {"clean", syscall.SIGTERM}} {
		if err := f.day(ctx, n, end.sig); err != nil {
			return nil, err
		}
		if err := copyTree(f.data, filepath.Join(dir, end.name)); err != nil {
			return nil, err
		}
	}
	return f, copyFile(f.own, f.own+".all")
}

// day lets a site run, publish, and be read. Nothing is published on the last one, so
// that one book is right for what was killed and what ended well.
func (f *flipSite) day(ctx context.Context, n int, sig syscall.Signal) error {
	s, err := f.launch("home.toml").start()
	if err != nil {
		return err
	}
	defer s.kill()
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("%w:\n%s", err, s.tail())
	}
	if err := f.review(ctx, s.url, f.other, "up.example"); err != nil {
		return err
	}
	if sig == syscall.SIGKILL || n == 0 {
		if err := f.fill(ctx, f.own, s.url, fmt.Sprintf("local:base%d", n), flipRecords/2); err != nil {
			return err
		}
	}
	return s.signal(sig)
}

func (f *flipSite) launch(config string) launch {
	return launch{bin: f.s.bin, data: f.data, args: []string{"--config", filepath.Join(f.dir, config)}}
}

// restore puts the data back as it was, in the folders that are there.
func (f *flipSite) restore(from string) error {
	for book, copied := range map[string]string{f.own + ".all": f.own, f.other: f.dir + "/other.book"} {
		if err := copyFile(book, copied); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(f.data + ".log"); err != nil {
		return err
	}
	return replaceTree(filepath.Join(f.dir, from), f.data)
}

// fill publishes records and lets the observer see that all is well.
func (b *flipBase) fill(ctx context.Context, book, url, name string, records int) error {
	watch, err := observer.Open(book, url, "")
	if err != nil {
		return err
	}
	defer watch.Close()
	a, err := newAuthor(watch, b.client, rand.New(rand.NewPCG(b.s.seed, 0)), name)
	if err != nil {
		return err
	}
	for range records {
		if err := a.publish(ctx, url); err != nil {
			return err
		}
	}
	b.s.acknowledged(watch.Promises())
	v, err := watch.Review(ctx, observer.Options{All: true})
	if err == nil && v.Bad() {
		err = fmt.Errorf("before any damage: %v", v.Reasons)
	}
	return err
}

func (b *flipBase) review(ctx context.Context, url, book, registry string) error {
	watch, err := observer.Open(book, url, registry)
	if err != nil {
		return err
	}
	defer watch.Close()
	v, err := watch.Review(ctx, observer.Options{All: true})
	if err == nil && v.Bad() {
		err = fmt.Errorf("before any damage: %v", v.Reasons)
	}
	return err
}

// flip is one damaged folder.
func (f *flipSite) flip(ctx context.Context, n int) error {
	rng := rand.New(rand.NewPCG(f.s.seed, uint64(n)))
	from := []string{"clean", "killed"}[rng.IntN(2)]
	if err := f.restore(from); err != nil {
		return err
	}
	d, err := f.damage(rng)
	if err != nil {
		return fmt.Errorf("damaging: %w", err)
	}
	config := []string{"home.toml", "offline.toml"}[rng.IntN(2)]
	word, v, err := f.judge(ctx, n, config, d.derived)
	if err != nil || v.Bad() {
		return fmt.Errorf("%s, %s, %s: %w %v; log: %s.log", d.what, from, config, err, v.Reasons, f.data)
	}
	f.s.point(word, v)
	return nil
}

// judge starts a server on a damaged folder, reads, publishes and reads. No damage
// whatever may end it by a panic, and what can be made again must not keep it from
// anything.
func (f *flipSite) judge(ctx context.Context, n int, config string, derived bool) (word string, v observer.Verdict, err error) {
	s, err := f.launch(config).start()
	if err != nil {
		return "", v, err
	}
	word, v, err = f.visit(ctx, n, s, v)
	running := s.running()
	s.kill()
	switch {
	case !running && s.panicked():
		return "", v, fmt.Errorf("the server panicked:\n%s", s.tail())
	case err != nil && !errors.Is(err, errEnded), v.Bad():
		return word, v, err
	case !running:
		word, err = "refused", s.refusal()
	}
	if derived && (word == "refused" || word == "read only") {
		err = fmt.Errorf("%s, though what is damaged can be made again:\n%s", word, s.tail())
	}
	return word, v, err
}

// refusal judges how a server ended that did not want to go on.
func (s *server) refusal() error {
	if status := s.status(); status <= 0 {
		return fmt.Errorf("the server ended with status %d:\n%s", status, s.tail())
	}
	return nil
}

// visit reads everything of both registries, publishes a record, and reads again.
func (f *flipSite) visit(ctx context.Context, n int, s *server, v observer.Verdict) (string, observer.Verdict, error) {
	if err := s.ready(ctx); err != nil {
		return "", v, err
	}
	own, err := observer.Open(f.own, s.url, "")
	if err != nil {
		return "", v, err
	}
	defer own.Close()
	other, err := observer.Open(filepath.Join(f.dir, "other.book"), s.url, "up.example")
	if err != nil {
		return "", v, err
	}
	defer other.Close()
	damaged := observer.Options{All: true, Damaged: true}
	var reading sync.WaitGroup
	var w observer.Verdict
	var otherErr error
	reading.Go(func() { w, otherErr = other.Review(ctx, damaged) })
	u, err := own.Review(ctx, damaged)
	reading.Wait()
	v.Add(u)
	v.Add(w)
	if err := errors.Join(err, otherErr); err != nil || v.Bad() {
		return "", v, f.gone(s, err)
	}
	word := "right"
	if u.Refused+w.Refused > 0 {
		word = "some errors"
	}
	a, err := newAuthor(own, f.client, rand.New(rand.NewPCG(f.s.seed, uint64(n))), fmt.Sprintf("local:case%d", n))
	if err != nil {
		return "", v, err
	}
	before := own.Promises()
	err = a.publish(ctx, s.url)
	f.s.acknowledged(own.Promises() - before)
	var status *statusError
	if err != nil && !errors.As(err, &status) {
		return word, v, f.gone(s, err)
	}
	if err != nil {
		word = "read only"
	}
	u, err = own.Review(ctx, observer.Options{Damaged: true})
	v.Add(u)
	return word, v, f.gone(s, err)
}

// gone turns an error into errEnded if the server has ended, or is about to.
func (f *flipSite) gone(s *server, err error) error {
	if err == nil {
		return nil
	}
	if s.ended(stopWithin/60) == nil {
		return errEnded
	}
	return err
}
