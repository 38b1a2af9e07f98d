package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/observer"
)

// The suite readonly: the file system of a registry turns read-only while it works, as
// one does that meets an error of its disk. The registry must end with the status of such
// an error, or refuse; it must not start on what is read-only and say that all is well;
// and once the disk is mounted again, everything that was acknowledged is there.

const (
	readonlySize    = 256 << 20
	readonlyRecords = 4  // before and after
	readonlyTries   = 20 // records that are tried on a disk that is read-only
)

func runReadonly(ctx context.Context, s *suite) error {
	s.parallel = 1
	return s.lives(ctx, 1, func(ctx context.Context, n, _ int) (err error) {
		path := filepath.Join(s.dir, fmt.Sprint(n))
		if err := newImage(path+".img", readonlySize, "mkfs.ext4", "-q", "-m", "0"); err != nil {
			return err
		}
		d, err := mountImage(path+".img", path, "")
		if err != nil {
			return err
		}
		defer d.clear()
		word, err := s.turnReadonly(ctx, d, n)
		if err != nil {
			return err
		}
		s.point(word, observer.Verdict{})
		return d.unmount()
	})
}

// turnReadonly is one disk that turns read-only.
func (s *suite) turnReadonly(ctx context.Context, d volume, n int) (word string, err error) {
	watch, err := observer.Open(d.path+".book", "", "")
	if err != nil {
		return "", err
	}
	defer func() { s.acknowledged(watch.Promises()); _ = watch.Close() }()
	a, err := newAuthor(watch, &http.Client{}, newRand(s.seed, n), "local:thing")
	if err != nil {
		return "", err
	}
	f := &filling{s: s, launch: launch{bin: s.bin, data: filepath.Join(d.path, "data"), log: d.path + ".log"}, watch: watch, author: a}
	if f.server, err = f.launch.start(); err != nil {
		return "", err
	}
	defer func() { f.server.kill() }()
	if err := errors.Join(f.begin(ctx), f.some(ctx)); err != nil {
		return "", fmt.Errorf("before: %w\n%s", err, f.server.tail())
	}
	// What the kernel does after an error: the journal of the file system is given up.
	if err := tool("mount", "-o", "remount,abort", d.path); err != nil {
		return "", err
	}
	if word, err = f.onReadonly(ctx); err != nil {
		return "", fmt.Errorf("while it is read-only: %w\n%s", err, f.server.tail())
	}
	f.server.kill()
	if err := f.startReadonly(ctx); err != nil {
		return "", err
	}
	if err := d.unmount(); err != nil {
		return "", err
	}
	if _, err := mountImage(d.path+".img", d.path, ""); err != nil {
		return "", err
	}
	if f.server, err = f.launch.start(); err != nil {
		return "", err
	}
	if err := errors.Join(f.begin(ctx), f.review(ctx), f.some(ctx)); err != nil {
		return "", fmt.Errorf("after: %w\n%s", err, f.server.tail())
	}
	f.server.kill()
	return word, nil
}

func (f *filling) some(ctx context.Context) error {
	for range readonlyRecords {
		if err := f.author.publish(ctx, f.server.url); err != nil {
			return err
		}
	}
	return f.review(ctx)
}

// onReadonly publishes where nothing can be written. Nothing may be acknowledged that
// needs the disk, and the end, if there is one, is that of an error.
func (f *filling) onReadonly(ctx context.Context) (word string, err error) {
	for range readonlyTries {
		err := f.author.publish(ctx, f.server.url)
		var status *statusError
		switch {
		case err == nil:
			return "", errors.New("a record was published")
		case errors.As(err, &status) && status.code >= http.StatusInternalServerError:
		case errors.Is(err, errGone) && f.server.ended(stopWithin) == nil:
			const ioError = 74
			if got := f.server.status(); got != ioError || f.server.panicked() {
				return "", fmt.Errorf("ended with status %d", got)
			}
			return "ends with 74", nil
		default:
			return "", err
		}
	}
	return "refuses", nil
}

// startReadonly starts a server where nothing can be written: it must say so and end.
func (f *filling) startReadonly(ctx context.Context) error {
	l := f.launch
	l.joins = true // the address of the last one cannot be removed
	s, err := l.start()
	if err != nil {
		return err
	}
	defer s.kill()
	switch err := s.ready(ctx); {
	case err == nil:
		return errors.New("a server starts where nothing can be written")
	case !errors.Is(err, errEnded):
		return err
	case s.panicked() || s.status() <= 0:
		return fmt.Errorf("a start where nothing can be written ends with status %d:\n%s", s.status(), s.tail())
	}
	return nil
}
