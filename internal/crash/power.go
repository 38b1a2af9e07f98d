package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrepot/entrepot/internal/observer"
)

// The suite power: the disk of a registry is an image on a file system that can copy a
// file in one moment. While the registry works such copies are taken: each is what the
// disk held when the power went. On each the registry is started, and must have all
// that was promised before the copy was taken.

const (
	powerHost  = 6 << 30   // bytes of the file system that holds the images; sparse
	powerDisk  = 512 << 20 // bytes of an image; sparse
	powerEvery = 50 * time.Millisecond
	powerLife  = 30 // images of one disk
	powerBirth = 5  // of them while the registry is made

	powerControlImages = 12
)

// syncCalls are the system calls that make something durable.
const syncCalls = "fsync,fdatasync,sync_file_range,syncfs,msync"

// outage is a picture of the disk, and of what was known when it was taken.
type outage struct {
	image string
	book  string // copy of the observer's book
	known int    // promises that stand in it, at least
}

func runPower(ctx context.Context, s *suite) error {
	s.parallel = 1
	host := filepath.Join(s.dir, "host")
	if err := newImage(host+".img", powerHost, "mkfs.btrfs", "-q"); err != nil {
		return err
	}
	v, err := mountImage(host+".img", host, "")
	if err != nil {
		return err
	}
	defer v.clear()
	if err := s.powerControl(ctx, host); err != nil {
		return err
	}
	err = s.lives(ctx, powerLife, func(ctx context.Context, n, points int) error {
		p := &power{s: s, dir: filepath.Join(host, fmt.Sprint(n))}
		if err := os.Mkdir(p.dir, 0o700); err != nil {
			return err
		}
		if err := p.live(ctx, points); err != nil {
			return err
		}
		for i, o := range p.taken {
			if err := p.judge(ctx, o); err != nil {
				return fmt.Errorf("image %d of %d: %w", i, len(p.taken), err)
			}
			s.point("images", observer.Verdict{})
		}
		return os.RemoveAll(p.dir)
	})
	return errors.Join(err, v.unmount())
}

// powerControl proves that the suite can fail: a registry whose syncs do nothing must
// lose what it promised. strace makes them so.
func (s *suite) powerControl(ctx context.Context, host string) error {
	p := &power{s: s, dir: filepath.Join(host, "control"), forgets: true}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return err
	}
	if err := p.live(ctx, powerControlImages); err != nil {
		return fmt.Errorf("without syncs: %w", err)
	}
	o := p.taken[len(p.taken)-1]
	trial := &power{s: &suite{bin: s.bin, seed: s.seed, counts: map[string]int{}}, dir: p.dir, taken: p.taken}
	if err := trial.judge(ctx, o); err == nil {
		return errors.New("a registry whose syncs do nothing lost nothing: the pictures of the disk prove nothing")
	}
	return os.RemoveAll(p.dir)
}

// power is a disk, and the pictures that were taken of it.
type power struct {
	s     *suite
	dir   string // on the file system that holds the images
	taken []outage

	forgets bool // the registry's syncs do nothing
}

// live lets a registry work on the disk, from its first start on, and takes pictures.
func (p *power) live(ctx context.Context, points int) error {
	image, mounted := filepath.Join(p.dir, "disk"), filepath.Join(p.dir, "live")
	if err := newImage(image, powerDisk, "mkfs.ext4", "-q"); err != nil {
		return err
	}
	v, err := mountImage(image, mounted, "commit=300") // nothing reaches the disk but what was asked to
	if err != nil {
		return err
	}
	defer v.clear()
	watch, err := observer.Open(filepath.Join(p.dir, "book"), "", "")
	if err != nil {
		return err
	}
	defer func() { p.s.acknowledged(watch.Promises()); _ = watch.Close() }()
	l := launch{bin: p.s.bin, data: filepath.Join(mounted, "data"), log: filepath.Join(p.dir, "live.log")}
	if p.forgets {
		l.under = []string{"strace", "-f", "-o", "/dev/null", "-e", "trace=" + syncCalls, "-e", "inject=" + syncCalls + ":retval=0"}
	}
	s, err := l.start()
	if err != nil {
		return err
	}
	defer s.kill()
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	var people sync.WaitGroup
	failed := make(chan error, killAuthors+1)
	for len(p.taken) < powerBirth { // while it makes its registry
		if err := errors.Join(pause(ctx, powerEvery/4), p.picture(image, watch.Promises())); err != nil {
			return err
		}
	}
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("%w:\n%s", err, s.tail())
	}
	watch.At(s.url)
	people.Go(func() {
		watch.Watch(working, lookEvery, func(v observer.Verdict) { failed <- errors.New(strings.Join(v.Reasons, "\n")) })
	})
	for i := range killAuthors {
		people.Go(func() {
			if err := p.work(working, s, watch, i); err != nil && working.Err() == nil {
				failed <- err
			}
		})
	}
	for err == nil && (len(p.taken) < points || p.forgets && p.taken[len(p.taken)-1].known == 0) {
		select {
		case err = <-failed:
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(powerEvery):
			err = p.picture(image, watch.Promises())
		}
	}
	cancel()
	people.Wait()
	s.kill()
	return errors.Join(err, v.unmount())
}

// work publishes until the context ends.
func (p *power) work(ctx context.Context, s *server, watch *observer.Observer, n int) error {
	a, err := newAuthor(watch, &http.Client{}, newRand(p.s.seed, n), fmt.Sprintf("local:author%d", n))
	if err != nil {
		return err
	}
	return a.work(ctx, s.url)
}

// picture copies the book and then the image, at one moment each: what stands in the
// book was promised before.
func (p *power) picture(image string, known int) error {
	o := outage{image: fmt.Sprintf("%s.%d", image, len(p.taken)), book: fmt.Sprintf("%s/book.%d", p.dir, len(p.taken)), known: known}
	if err := errors.Join(reflink(filepath.Join(p.dir, "book"), o.book), reflink(image, o.image)); err != nil {
		return err
	}
	p.taken = append(p.taken, o)
	return nil
}

// reflink copies a file in one moment, without copying bytes.
func reflink(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer target.Close()
	return os.NewSyscallError("ficlone", unix.IoctlFileClone(int(target.Fd()), int(source.Fd())))
}

// judge mounts a picture, starts the registry there, and lets the observer of then
// look at it. Then it goes on.
func (p *power) judge(ctx context.Context, o outage) error {
	v, err := mountImage(o.image, o.image+".mounted", "")
	if err != nil {
		return err
	}
	defer v.clear()
	watch, err := observer.Open(o.book, "", "")
	if err != nil {
		return err
	}
	defer watch.Close()
	data := filepath.Join(v.path, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	s, err := (launch{bin: p.s.bin, data: data, log: o.image + ".log"}).start()
	if err != nil {
		return err
	}
	defer s.kill()
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("%w:\n%s", err, s.tail())
	}
	watch.At(s.url)
	verdict, err := watch.Review(ctx, observer.Options{All: true})
	p.s.mu.Lock()
	p.s.verdict.Add(verdict)
	p.s.mu.Unlock()
	if err != nil || verdict.Bad() {
		return fmt.Errorf("%w %v; its log ends:\n%s", err, verdict.Reasons, s.tail())
	}
	a, err := newAuthor(watch, &http.Client{}, newRand(p.s.seed, len(p.taken)), "local:later")
	if err != nil {
		return err
	}
	if err := a.publish(ctx, s.url); err != nil {
		return fmt.Errorf("going on: %w:\n%s", err, s.tail())
	}
	s.kill()
	if err := v.unmount(); err != nil {
		return err
	}
	return os.Remove(o.image)
}
