package space

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

// The default mark is the smaller of these.
const (
	markBytes = 2 << 30
	markShare = 20 // a twentieth of the file system
)

// lookEvery is how old the answer of the file system may be: even at full speed
// little is written meanwhile, compared with the mark. It is how often [Watch.Run]
// looks as well.
const lookEvery = time.Second

// makeEvery is how often making the ballast is tried, if it fails.
const makeEvery = time.Minute

// Mark returns below how much room nothing is taken in on a file system of a size, in
// bytes. want is what was configured, 0 = the default.
func Mark(total, want uint64) uint64 {
	if want == 0 {
		return min(markBytes, total/markShare)
	}
	return want
}

// The mark for files is the smaller of these.
const (
	markFiles      = 1024
	markFilesShare = 20
)

// filesMark returns below how many free files nothing is taken in; 0 = any number will do.
func filesMark(total uint64) uint64 { return min(markFiles, total/markFilesShare) }

// Options say what to watch.
type Options struct {
	FS      durable.FS
	Dirs    []string     // that are written to
	Mark    uint64       // bytes, 0 = the default
	Ballast string       // file that holds the ballast, best in one of Dirs; "" = none
	Log     *slog.Logger // nil = discarded
}

// Watch watches the free space of file systems. It is safe for concurrent use.
type Watch struct {
	o       Options
	ballast ballast

	mu    sync.Mutex
	at    time.Time // under mu: when it was looked last
	low   bool      // under mu
	once  bool      // under mu: at is valid
	whole bool      // under mu: the ballast is there, and has no holes
	next  time.Time // under mu: when the ballast may be made
}

// New returns a watch that has not looked yet.
func New(o Options) *Watch {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Watch{o: o, ballast: ballast{o.FS, o.Ballast}}
}

// Enough reports whether there is room for more. A file system that cannot be asked
// counts as one with room: writing will tell.
func (w *Watch) Enough(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.once || now.Sub(w.at).Abs() >= lookEvery {
		w.look(now)
	}
	return !w.low
}

// batchFiles is more than how many files anything makes at once.
const batchFiles = 8

// Room reports whether there is room for so many bytes, and a few files, just now.
func (w *Watch) Room(bytes uint64) bool {
	return !slices.ContainsFunc(w.o.Dirs, func(dir string) bool {
		left, ok := w.ask(dir)
		return ok && (left.Free < bytes || left.TotalFiles > 0 && left.FreeFiles < batchFiles)
	})
}

// Low returns the last answer.
func (w *Watch) Low() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.low
}

// look asks the file systems. The caller holds mu.
func (w *Watch) look(now time.Time) {
	was := w.low
	w.at, w.once, w.low = now, true, false
	held, err := w.ballast.held()
	files, filesErr := w.ballast.spares()
	if err := errors.Join(err, filesErr); err != nil {
		w.o.Log.Warn("the ballast cannot be looked at", "error", err)
	}
	for _, dir := range w.o.Dirs {
		space, ok := w.ask(dir)
		if !ok {
			continue
		}
		w.low = w.low || space.Free+min(held, w.size(space)) < Mark(space.Total, w.o.Mark)+w.size(space) ||
			space.FreeFiles+min(files, w.spares(space)) < filesMark(space.TotalFiles)+w.spares(space)
	}
	if w.low != was {
		w.o.Log.Warn("free space", "low", w.low)
	}
}

func (w *Watch) ask(dir string) (durable.Space, bool) {
	space, err := w.o.FS.Space(dir)
	if err != nil {
		w.o.Log.Warn("free space is not known", "dir", dir, "error", err)
	}
	return space, err == nil
}

// size returns how large the ballast should be.
func (w *Watch) size(s durable.Space) uint64 {
	if w.ballast.path == "" {
		return 0
	}
	return BallastSize(s.Total)
}

// spares returns how many empty files there should be.
func (w *Watch) spares(s durable.Space) uint64 {
	if w.ballast.path == "" {
		return 0
	}
	return SpareFiles(s.TotalFiles)
}

// Relieve is for a start, before anything is opened: where less is left than the mark
// it deletes the ballast.
func (w *Watch) Relieve(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	held, err := w.ballast.held()
	files, filesErr := w.ballast.spares()
	if err := errors.Join(err, filesErr); err != nil || held+files == 0 || !slices.ContainsFunc(w.o.Dirs, w.short) {
		return err
	}
	if err := w.ballast.free(); err != nil {
		return err
	}
	w.whole = false
	w.o.Log.Warn("the ballast is given up: little space is left", "bytes", held, "files", files)
	w.look(now)
	return nil
}

// short reports whether less is left than the mark.
func (w *Watch) short(dir string) bool {
	space, ok := w.ask(dir)
	return ok && (space.Free < Mark(space.Total, w.o.Mark) || space.FreeFiles < filesMark(space.TotalFiles))
}

// Tend looks, and makes the ballast where there is room for it above the mark.
func (w *Watch) Tend(now time.Time) {
	size, files := w.lacking(now)
	if size+files == 0 {
		return
	}
	err := w.ballast.spare(files)
	if size > 0 {
		err = errors.Join(err, w.ballast.make(size))
	}
	if err != nil {
		w.o.Log.Warn("the ballast cannot be made", "bytes", size, "error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = true
}

// lacking looks, and returns how large a ballast should be made now, of how many files
// beside it; 0 = none.
func (w *Watch) lacking(now time.Time) (bytes, files uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look(now)
	if w.low || w.whole || w.ballast.path == "" || now.Before(w.next) {
		return 0, 0
	}
	w.next = now.Add(makeEvery)
	space, ok := w.ask(filepath.Dir(w.ballast.path))
	if !ok {
		return 0, 0
	}
	return w.size(space), w.spares(space)
}

// Run tends until ctx ends.
func (w *Watch) Run(ctx context.Context, now func() time.Time) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		w.Tend(now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
