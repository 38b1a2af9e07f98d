package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/entrepot/entrepot/internal/observer"
	"github.com/entrepot/entrepot/warg"
)

// The suite behind: a server that answers for another registry is ended by SIGKILL while
// everything is under way that has to do with that one: records and content that are passed
// through to it, its replica that is filled, archives of it that are imported, content that
// is fetched into a cache that is too small and pushed out again. Its own registry works
// as well. What both were seen to say and promise must be there after the next start, and
// every byte of its folder sound.

const (
	behindLife   = 8 // points on one folder
	behindLoad   = 800 * time.Millisecond
	behindCheck  = 4 // points from one fsck to the next
	behindCLI    = time.Minute
	behindReads  = 3 * time.Millisecond
	behindSpace  = "1MiB" // of the cache, where nothing is pinned
	behindThrows = 2      // authors whose records are passed through
)

const behindConfig = `listen = "127.0.0.1:0"
[authority]
domain = "home.example"
namespaces = ["local"]
[cache]
max_size = %q
[upstream."up.example"]
url = %q
operator_key = %q
namespaces = ["up"]
mirror = %q
max_age = "1s"
allow_private_addresses = true
`

// errBroken says that a promise was broken; which one is in the verdict.
var errBroken = errors.New("the server before was to leave all that was promised")

func runBehind(ctx context.Context, s *suite) error {
	b, err := newFlipBase(ctx, s)
	if err != nil {
		return fmt.Errorf("starting the registry behind: %w", err)
	}
	defer b.up.kill()
	return s.lives(ctx, behindLife, func(ctx context.Context, n, points int) error {
		l, err := newFront(ctx, b, n)
		if err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
		defer l.close()
		for i := range points {
			if err := l.crash(ctx, i); err != nil {
				return fmt.Errorf("point %d: %w; folder %s", i, err, l.launch.data)
			}
		}
		return l.end(ctx)
	})
}

// front is one folder over many servers, with all who use it.
type front struct {
	*flipBase
	rng     *rand.Rand
	launch  launch
	own     *observer.Observer // of our own registry
	through *observer.Observer // of the registry behind, by way of us
	authors []*author
	archive string // of the registry behind, made now and then

	mu       sync.Mutex
	contents []warg.Digest // under mu: that were published through us
}

func newFront(ctx context.Context, b *flipBase, n int) (_ *front, err error) {
	dir := filepath.Join(b.s.dir, fmt.Sprintf("front-%d", n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	f := &front{flipBase: b, rng: newRand(b.s.seed, n), archive: filepath.Join(dir, "up.archive")}
	var key struct{ KeyID string }
	if err := b.command(ctx, &key, "key", "of", b.up.url, "--json"); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "home.toml")
	text := fmt.Sprintf(behindConfig, "20GiB", b.up.url, key.KeyID, "full")
	if n%2 == 1 { // what is fetched on demand is not pinned, and pushed out again
		text = fmt.Sprintf(behindConfig, behindSpace, b.up.url, key.KeyID, "on-demand")
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	f.launch = launch{bin: b.s.bin, data: filepath.Join(dir, "data"), args: []string{"--config", config}}
	if f.own, err = observer.Open(filepath.Join(dir, "own.book"), "", ""); err != nil {
		return nil, err
	}
	if f.through, err = observer.Open(filepath.Join(dir, "through.book"), "", "up.example"); err != nil {
		return nil, errors.Join(err, f.own.Close())
	}
	for i := range behindThrows + 1 {
		watch, name := f.through, fmt.Sprintf("up:front%dx%d", n, i)
		if i == behindThrows {
			watch, name = f.own, fmt.Sprintf("local:front%d", n)
		}
		a, err := newAuthor(watch, b.client, newRand(b.s.seed, n*behindLife+i), name)
		if err != nil {
			return nil, errors.Join(err, f.own.Close(), f.through.Close())
		}
		if watch == f.through {
			a.registry = "up.example"
		}
		f.authors = append(f.authors, a)
	}
	return f, f.export(ctx)
}

func (f *front) close() {
	f.s.acknowledged(f.own.Promises() + f.through.Promises())
	_ = errors.Join(f.own.Close(), f.through.Close())
}

// command runs the program under test for a person; into, if not nil, takes its JSON.
func (b *flipBase) command(ctx context.Context, into any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, behindCLI)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.s.bin, args...)
	cmd.Env, cmd.Dir = []string{"HOME=" + b.s.dir}, b.s.dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%v: %w: %s", args, err, exit.Stderr)
		}
		return err
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(out, into)
}

// export makes an archive of the registry behind, as it is now.
func (f *front) export(ctx context.Context) error {
	if err := os.RemoveAll(f.archive); err != nil {
		return err
	}
	return f.command(ctx, nil, "archive", "export", "--own", "--config", filepath.Join(f.s.dir, "up.toml"), "--data", f.up.data, "-o", f.archive)
}

// crash starts a server, judges what the one before it left, lets everybody work, and
// kills it.
func (f *front) crash(ctx context.Context, i int) error {
	s, err := f.launch.start()
	if err != nil {
		return err
	}
	defer s.kill()
	v, err := f.review(ctx, s, observer.Options{})
	if err == nil && !v.Bad() {
		err = f.load(ctx, s)
	}
	f.s.point("killed", v)
	if err == nil && v.Bad() {
		err = errBroken
	}
	if err != nil {
		return fmt.Errorf("%w %v; its log ends:\n%s", err, v.Reasons, s.tail())
	}
	if s.panicked() {
		return fmt.Errorf("the server panicked:\n%s", s.tail())
	}
	if i%behindCheck == behindCheck-1 {
		return f.sound(ctx)
	}
	return nil
}

// review looks at both registries by way of the server.
func (f *front) review(ctx context.Context, s *server, o observer.Options) (observer.Verdict, error) {
	if err := s.ready(ctx); err != nil {
		return observer.Verdict{}, err
	}
	f.own.At(s.url)
	f.through.At(s.url)
	v, err := f.own.Review(ctx, o)
	if err != nil || v.Bad() {
		return v, err
	}
	o.Others = true
	w, err := f.through.Review(ctx, o)
	v.Add(w)
	return v, err
}

// sound demands that every byte of a folder that a killed server left is as it was
// written, or what the next start mends.
func (f *front) sound(ctx context.Context) error {
	if err := f.command(ctx, nil, "fsck", "--config", f.launch.args[1], "--data", f.launch.data); err != nil {
		return err
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.counts["folders read to the last byte"]++
	return nil
}

// load lets everybody work until the server is killed at a random moment.
func (f *front) load(ctx context.Context, s *server) error {
	if err := f.export(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chance := rand.New(rand.NewPCG(f.rng.Uint64(), 0))
	work := []func() error{
		func() error { return f.read(ctx, s.url, chance) },
		func() error { return f.again(ctx, "mirror", "sync", "up.example") },
		func() error { return f.again(ctx, "archive", "import", f.archive) },
		func() error {
			f.through.Watch(ctx, lookEvery, func(observer.Verdict) {})
			return nil
		},
	}
	for _, a := range f.authors {
		work = append(work, func() error { return f.author(ctx, s.url, a) })
	}
	errs := make([]error, len(work))
	var people sync.WaitGroup
	for i, w := range work {
		people.Go(func() { errs[i] = w() })
	}
	err := pause(ctx, behindLoad/4+time.Duration(f.rng.Int64N(int64(behindLoad))))
	early := !s.running()
	err = errors.Join(err, s.signal(syscall.SIGKILL))
	cancel()
	people.Wait()
	f.client.CloseIdleConnections()
	if early {
		return errors.Join(err, fmt.Errorf("the server ended by itself, with status %d", s.status()))
	}
	return errors.Join(err, errors.Join(errs...))
}

// author lets an author work until the server is gone.
func (f *front) author(ctx context.Context, url string, a *author) error {
	for {
		flight := a.flight
		err := a.publish(ctx, url)
		if errors.Is(err, errGone) || errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		if flight != nil && flight.content != nil && a.registry != "" {
			f.mu.Lock()
			f.contents = append(f.contents, warg.Sum(flight.content))
			f.mu.Unlock()
		}
	}
}

// again runs a command on the server again and again. What it says when the server is
// killed, or is just starting, is not judged: what it did is.
func (f *front) again(ctx context.Context, args ...string) error {
	args = append(args, "--config", f.launch.args[1], "--data", f.launch.data)
	done := 0
	for ctx.Err() == nil {
		if err := f.command(ctx, nil, args...); err == nil {
			done++
		}
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.counts[args[0]+" "+args[1]] += done
	return nil
}

// read fetches content that was published through the server, and so fills its cache, and
// looks at every byte.
func (f *front) read(ctx context.Context, url string, rng *rand.Rand) error {
	for ctx.Err() == nil {
		f.mu.Lock()
		var d warg.Digest
		if len(f.contents) > 0 {
			d = f.contents[rng.IntN(len(f.contents))]
		}
		f.mu.Unlock()
		if err := pause(ctx, behindReads); err != nil {
			return nil
		}
		if d.IsZero() {
			continue
		}
		if err := f.readOne(ctx, url, d); err != nil {
			return err
		}
	}
	return nil
}

func (f *front) readOne(ctx context.Context, url string, d warg.Digest) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/content/up.example/sha256-"+d.Hex(), nil)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return nil // it is gone
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusOK && warg.Sum(b) != d {
		return fmt.Errorf("content %s was served with other bytes", d)
	}
	return nil
}

// end ends a life well: everything that was ever promised is looked at, by way of the
// server and at the registry behind, the folder is read, and the server stops when told to.
func (f *front) end(ctx context.Context) error {
	s, err := f.launch.start()
	if err != nil {
		return err
	}
	defer s.kill()
	v, err := f.review(ctx, s, observer.Options{All: true})
	for _, a := range f.authors {
		if err == nil {
			err = a.publish(ctx, s.url) // what was under way goes on
		}
	}
	if err == nil {
		err = s.signal(syscall.SIGTERM)
	}
	if err == nil && s.status() != 0 {
		err = fmt.Errorf("status %d at a clean stop", s.status())
	}
	f.s.mu.Lock()
	f.s.verdict.Add(v)
	f.s.mu.Unlock()
	if err == nil && v.Bad() {
		err = errBroken
	}
	if err != nil {
		return fmt.Errorf("at the end: %w %v; its log ends:\n%s", err, v.Reasons, s.tail())
	}
	if err := f.sound(ctx); err != nil {
		return err
	}
	return os.RemoveAll(f.launch.data)
}
