package authority

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/pending"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/space"
	"github.com/entrepot/entrepot/warg"
)

// Authority is an open registry of our own. It is safe for concurrent use.
type Authority struct {
	o        Options
	fs       durable.FS
	registry warg.Digest // id of the registry
	noAnchor bool        // it was opened without one that can be read, and is fenced
	keyID    warg.KeyID

	lock    io.Closer
	anchors *anchor.File
	history *anchor.History
	journal *journal.Journal
	pending *pending.Log
	index   *index.Index
	small   *cas.Hot // content that is small and read often
	content *cas.Store

	adopts map[string]string // namespaces that are adopted, and from where

	counts *counts
	pool   *pool
	states *states
	ops    *operators
	hot    *hotLogs
	space  *space.Watch

	view  atomic.Pointer[warg.View] // what readers see; nil before the first checkpoint
	fence atomic.Pointer[Fence]     // nil = not fenced

	turns atomic.Uint64 // of the sequencer, and what it did within one: grows as long as it is alive

	wake  chan struct{} // buffered: there is something for the sequencer
	stop  chan struct{} // closed by Close
	close sync.Once
	group sync.WaitGroup // the sequencer

	failing sync.Once
	done    chan struct{} // closed after a final error
	err     error         // set before done is closed

	peersMu sync.Mutex
	heard   map[string]bool // under peersMu: peers that answered since the start

	jobsMu   sync.Mutex
	controls []*control // under jobsMu: what operators ask for
	jobs     []*job     // under jobsMu: operator records to append
	closed   bool       // under jobsMu: the sequencer takes no more

	// Owned by the sequencer.
	anchor   anchor.Anchor
	lastSeen time.Time // by its clock
	finished bool      // see finishOpening
}

// failed reports whether a final error occurred.
func (a *Authority) failed() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// fail makes an error final: nothing is written any more, because what is on disk
// is no longer known.
func (a *Authority) fail(err error) {
	a.failing.Do(func() {
		a.err = err
		close(a.done)
		a.o.Log.Error("authority stops writing", "error", err)
	})
}

// Done is closed when an error has ended all writing for good. The process should
// end and be started again; what was acknowledged is safe.
func (a *Authority) Done() <-chan struct{} { return a.done }

// Err returns the error that ended all writing, or nil.
func (a *Authority) Err() error {
	if a.failed() {
		return a.err
	}
	return nil
}

// Domain implements [warg.Registry].
func (a *Authority) Domain() string { return a.o.Domain }

// Close ends the sequencer after the batch that is on its way and closes all
// files. Submissions that are not published yet are, at the next start.
func (a *Authority) Close() error {
	var err error
	a.close.Do(func() {
		close(a.stop)
		a.group.Wait()
		a.refuseJobs()
		err = a.closeFiles()
	})
	return err
}

// closeFiles closes what was opened, as far as opening came.
func (a *Authority) closeFiles() error {
	var errs []error
	if a.pending != nil {
		errs = append(errs, a.pending.Close())
	}
	if a.journal != nil {
		errs = append(errs, a.journal.Close())
	}
	if a.history != nil {
		errs = append(errs, a.history.Close())
	}
	if a.index != nil {
		errs = append(errs, a.index.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(errs...)
}

// poke tells the sequencer that there is something to do.
func (a *Authority) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// internal reports an error of the index or of files that are only read. Damage
// of the index makes the next start build a new one.
func (a *Authority) internal(doing string, err error) error {
	var known *warg.Error
	if errors.As(err, &known) {
		return err
	}
	a.o.Log.Error(doing, "error", err)
	if isCorrupt(err) {
		// It would go on failing, for this log at least. The next start makes the index
		// anew, and a supervisor sees to that.
		a.fail(errors.Join(err, a.index.Distrust()))
	}
	return &warg.Error{Kind: warg.KindInternal, Err: err}
}

func (a *Authority) path(name string) string { return filepath.Join(a.o.Dir, name) }

// Settled waits until a record that was accepted is published or rejected, and
// returns its state.
func (a *Authority) Settled(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	if s := a.pool.find(id); s != nil && s.log == log {
		select {
		case <-s.settled:
			if s.dropped == nil {
				return s.outcome, nil
			}
		case <-a.done:
			return warg.RecordStatus{}, unavailable("this registry is stopping")
		case <-a.stop:
			return warg.RecordStatus{}, unavailable("this registry is stopping")
		case <-ctx.Done():
			return warg.RecordStatus{}, ctx.Err()
		}
	}
	return a.Record(ctx, log, id)
}
