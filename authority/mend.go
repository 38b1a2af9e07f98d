package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// This file is for commands that mend what can be made again, without signing anything
// and without the operator's key. Nobody may have the registry open.

// openMending takes the lock and opens what an index is made from, as a start does: the
// last line of the history is completed, and what a crash left above the anchor is cut
// where it cannot be read. The caller closes it.
func openMending(o Options) (_ *Authority, err error) {
	o = o.forMending()
	counts := new(counts)
	a := &Authority{o: o, fs: countedFS{o.FS, &counts.syncs}, counts: counts, ops: new(operators)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.closeFiles())
		}
	}()
	holder := fmt.Sprintf("process %d since %s", os.Getpid(), a.o.Now().UTC().Format(time.RFC3339))
	if a.lock, err = a.fs.Lock(a.path(lockFile), holder); err != nil {
		return nil, fmt.Errorf("opening authority: %w", err)
	}
	if a.content, err = cas.Open(cas.Options{FS: a.fs, Dir: o.ContentDir}); err != nil {
		return nil, err
	}
	a.anchors = anchor.NewFile(a.fs, a.o.AnchorFile, holder)
	a.anchor, err = a.anchors.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, configErr("there is no anchor at %s, so nobody knows what is to be believed", a.o.AnchorFile)
	}
	if err != nil {
		return nil, err
	}
	a.registry = a.anchor.Registry
	return a, nil
}

// forMending fills in what is not said and matters here.
func (o Options) forMending() Options {
	orElse(&o.AnchorFile, filepath.Join(o.Dir, AnchorFile))
	orElse(&o.segments.Grow, defaultGrow)
	orElse(&o.segments.Max, defaultMax)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	return o
}

// Mend does for a registry what can be done without judging anything: it removes
// temporary files, completes the last line of the history from the anchor, and moves
// damaged content aside, so that it can be uploaded again. It returns where that is now.
func Mend(o Options, damaged []warg.Digest) (moved []string, err error) {
	a, err := openMending(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.closeFiles()) }()
	if err := a.openTruth(); err != nil {
		return nil, err
	}
	for _, d := range damaged {
		f, _, err := a.content.Open(d)
		var corrupt *cas.CorruptError
		switch {
		case errors.As(err, &corrupt):
			moved = append(moved, corrupt.Moved)
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return moved, err
		default:
			f.Close()
		}
	}
	return moved, nil
}

// RebuildIndex moves the index aside and makes it again from journal and history. It
// returns the number of records. progress is told how many are done, of how many.
func RebuildIndex(ctx context.Context, o Options, progress func(done, total uint64)) (length uint64, err error) {
	a, err := openMending(o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.closeFiles()) }()
	if err := a.openTruth(); err != nil {
		return 0, err
	}
	if f := a.fence.Load(); f != nil {
		return 0, refused("the registry is fenced: %s; an index can be made when it is not", f.Reason)
	}
	x := a.indexOptions()
	if err := x.Database.SetAside(); err != nil {
		return 0, fmt.Errorf("moving the index aside: %w", err)
	}
	if err := a.fs.Remove(x.Counter); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("moving the index aside: %w", err)
	}
	if a.index, err = index.Open(x); err != nil {
		return 0, err
	}
	total := a.anchor.Length()
	if err := a.index.Bulk(total); err != nil {
		return 0, err
	}
	err = (&replayer{a: a}).replayInto(ctx, 0, total, func(done uint64) { progress(done, total) })
	if err != nil {
		return 0, fmt.Errorf("making the index again: %w", err)
	}
	progress(total, total)
	return total, nil
}
