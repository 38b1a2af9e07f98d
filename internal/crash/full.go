package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrepot/entrepot/internal/observer"
)

// The suite full: the disk of a registry fills up, all at once or while it works, by
// bytes or by files. It goes on serving, takes nothing in, comes up again on the full
// disk, and goes on by itself once there is space.

const (
	fullSize     = 192 << 20 // bytes of a disk
	fullInodes   = 400       // files that fit where those run out first
	fullLeft     = 3         // per cent that are left where a little is: the server wants five
	fullRecords  = 6
	fullTries    = 25                      // records that are tried on a full disk
	fullPatience = 2 * time.Second         // for a record that was accepted before
	noticeAfter  = 1100 * time.Millisecond // a server looks at its disk every second
	freeWithin   = 30 * time.Second        // for a server to notice that there is space
	fillBlock    = 1 << 20
)

// fullDisk is a disk that can be filled.
type fullDisk struct {
	volume
	inodes bool // files run out before bytes
	low    bool // a little is left, less than the server wants to be free
	fill   string
}

func runFull(ctx context.Context, s *suite) error {
	s.parallel = 1
	return s.lives(ctx, 1, func(ctx context.Context, n, _ int) error {
		word := fullWords()[n%len(fullWords())]
		d, err := newFullDisk(filepath.Join(s.dir, fmt.Sprintf("%d", n)), word)
		if err != nil {
			return err
		}
		defer d.clear()
		if err := s.fill(ctx, d, n); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		s.point(word, observer.Verdict{})
		return d.unmount()
	})
}

func fullWords() []string {
	return []string{"low", "ext4", "tmpfs", "inodes", "tmpfs inodes", "tmpfs low"}
}

func newFullDisk(path, word string) (fullDisk, error) {
	d := fullDisk{volume: volume{path}, inodes: word == "inodes" || word == "tmpfs inodes", fill: filepath.Join(path, "fill")}
	d.low = word == "low" || word == "tmpfs low"
	var err error
	switch word {
	case "ext4", "inodes", "low":
		inodes := fmt.Sprint(fullInodes)
		if !d.inodes {
			inodes = fmt.Sprint(100 * fullInodes)
		}
		if err = newImage(path+".img", fullSize, "mkfs.ext4", "-q", "-m", "0", "-N", inodes); err == nil {
			d.volume, err = mountImage(path+".img", path, "")
		}
	case "tmpfs", "tmpfs low":
		err = errors.Join(os.Mkdir(path, 0o700), tool("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", fullSize), "crash", path))
	default:
		err = errors.Join(os.Mkdir(path, 0o700), tool("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,nr_inodes=%d", fullSize, fullInodes), "crash", path))
	}
	if err != nil {
		return d, err
	}
	return d, os.Mkdir(d.fill, 0o700)
}

// fillUp takes all space there is, or all files.
func (d fullDisk) fillUp() error {
	if d.inodes {
		for i := 0; ; i++ {
			f, err := os.Create(filepath.Join(d.fill, fmt.Sprint(i)))
			if err != nil {
				return noSpace(err)
			}
			_ = f.Close()
		}
	}
	f, err := os.OpenFile(filepath.Join(d.fill, "bytes"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return noSpace(err)
	}
	defer f.Close()
	for block := make([]byte, fillBlock); len(block) > 0; {
		if d.low {
			var space unix.Statfs_t
			if err := unix.Statfs(d.path, &space); err != nil {
				return err
			}
			if int64(space.Bavail)*space.Bsize < fullSize*fullLeft/100 {
				return nil
			}
		}
		if _, err := f.Write(block); err == nil {
			continue
		} else if noSpace(err) != nil {
			return err
		}
		block = block[:len(block)/2] // the last bytes as well
	}
	return nil
}

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}

// empty gives the space back.
func (d fullDisk) empty() error {
	return errors.Join(os.RemoveAll(d.fill), os.Mkdir(d.fill, 0o700))
}

// fill is one disk that fills up.
func (s *suite) fill(ctx context.Context, d fullDisk, n int) error {
	rng := rand.New(rand.NewPCG(s.seed, uint64(n)))
	l := launch{bin: s.bin, data: filepath.Join(d.path, "data"), log: d.path + ".log"}
	watch, err := observer.Open(d.path+".book", "", "")
	if err != nil {
		return err
	}
	defer func() { s.acknowledged(watch.Promises()); _ = watch.Close() }()
	a, err := newAuthor(watch, &http.Client{}, rng, "local:thing")
	if err != nil {
		return err
	}
	f := &filling{s: s, d: d, launch: l, watch: watch, author: a}
	if f.server, err = l.start(); err != nil {
		return err
	}
	defer func() { f.server.kill() }()
	for i, step := range []func(context.Context) error{f.begin, f.publishSome, f.fillAndTry, f.restart, f.tryFull, f.free, f.publishSome} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("step %d: %w (status %s); its log ends:\n%s", i, err, f.how(), f.server.tail())
		}
	}
	return f.server.signal(syscall.SIGTERM)
}

// filling is a registry on a disk that fills up.
type filling struct {
	s      *suite
	d      fullDisk
	launch launch
	server *server
	watch  *observer.Observer
	author *author
	full   bool // the disk is
}

func (f *filling) how() string {
	if f.server.running() {
		return "running"
	}
	return fmt.Sprint(f.server.status())
}

func (f *filling) begin(ctx context.Context) error {
	if err := f.server.ready(ctx); err != nil {
		return err
	}
	f.watch.At(f.server.url)
	return nil
}

func (f *filling) publishSome(ctx context.Context) error {
	for range fullRecords {
		if err := f.author.publish(ctx, f.server.url); err != nil {
			return err
		}
	}
	return f.review(ctx)
}

// review demands that everything can be read, also on a full disk.
func (f *filling) review(ctx context.Context) error {
	v, err := f.watch.Review(ctx, observer.Options{All: true, Full: f.full})
	f.s.mu.Lock()
	f.s.verdict.Add(v)
	f.s.mu.Unlock()
	if err == nil && v.Bad() {
		err = fmt.Errorf("%v", v.Reasons)
	}
	return err
}

// fillAndTry fills the disk while records come in.
func (f *filling) fillAndTry(ctx context.Context) error {
	f.full = true
	filled := make(chan error, 1)
	go func() { filled <- f.d.fillUp() }()
	return errors.Join(f.tryFull(ctx), <-filled, f.d.fillUp(), pause(ctx, noticeAfter), f.tryFull(ctx))
}

// tryFull publishes on a full disk: it is refused with 507, or there is space after all
// and it goes through.
func (f *filling) tryFull(ctx context.Context) error {
	if !f.server.running() {
		return nil
	}
	refused, waits := 0, 0
	f.author.patience = fullPatience
	defer func() { f.author.patience = 0 }()
	for range fullTries {
		err := f.author.publish(ctx, f.server.url)
		var status *statusError
		if errors.As(err, new(*waitingError)) {
			waits++ // it was accepted when the disk became full, and is not lost
			break
		}
		switch {
		case err == nil:
		case errors.As(err, &status) && (status.code == http.StatusInsufficientStorage || status.code == http.StatusServiceUnavailable):
			refused++
		case errors.Is(err, errGone) && f.server.ended(stopWithin) == nil:
			return f.ended()
		default:
			return err
		}
	}
	f.s.mu.Lock()
	f.s.counts["refused with 507"] += refused
	f.s.counts["waits for space"] += waits
	f.s.mu.Unlock()
	return f.review(ctx)
}

// ended judges how a server ended whose disk became full while it wrote: by the status of
// an error of a disk, which is counted; better is not to end. It may never be a fault:
// the databases write through memory, and what they write has room.
func (f *filling) ended() error {
	const ioError = 74
	switch status := f.server.status(); {
	case f.d.low:
		return errors.New("ended where there was space")
	case status != ioError || f.server.panicked():
		return fmt.Errorf("ended on a full disk with status %d", status)
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.counts["ends with 74"]++
	return nil
}

// restart kills the server and starts it on the full disk: it must come up, and serve.
func (f *filling) restart(ctx context.Context) error {
	f.server.kill()
	var err error
	if f.server, err = f.launch.start(); err != nil {
		return err
	}
	if err := f.begin(ctx); err != nil {
		return fmt.Errorf("starting on the full disk: %w", err)
	}
	return f.review(ctx)
}

// free gives space back and waits until the server has noticed, by itself.
func (f *filling) free(ctx context.Context) error {
	if err := f.d.empty(); err != nil {
		return err
	}
	if !f.server.running() {
		if err := f.restart(ctx); err != nil {
			return err
		}
	}
	f.author.patience = fullPatience
	defer func() { f.author.patience = 0 }()
	for deadline := time.Now().Add(freeWithin); ; {
		err := f.author.publish(ctx, f.server.url)
		if err == nil {
			f.full = false
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		if !errors.As(err, new(*statusError)) && !errors.As(err, new(*waitingError)) {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
