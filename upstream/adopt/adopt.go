// Package adopt keeps namespaces of our own registry in step with another registry.
//
// Clients that follow no hint, and sites without a network, ask only us. For them the
// records of another registry's packages are appended to our own log, byte for byte as
// their authors signed them; what the clients then trust us for is that the list is
// complete and fresh, not who made it.
//
// The source is a verified replica. A [Keeper] reads its ledger as it grows, has the
// names of new logs looked up, and brings every log of its namespaces up to date:
// first the content that records release, then the records, in order. So yanks and
// grants arrive without anybody asking, and whoever can see a release can fetch it,
// unless the registry itself does not have its content any more.
//
// Nothing is kept here: where to go on from is read off our own log.
package adopt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Source is the replica of the registry that packages come from.
type Source interface {
	warg.Registry
	// Refresh asks the registry for its checkpoint now.
	Refresh(ctx context.Context) error
}

// Own is our own registry.
type Own interface {
	// Head returns the last record of a log.
	Head(log warg.LogID) (id warg.RecordID, ok bool, err error)
	// Adopt appends those records of a log that it does not have yet.
	//
	//	KindUnavailable  RetryAfter: they cannot be appended yet
	Adopt(ctx context.Context, name warg.PackageName, records []warg.Envelope) error
	// HasContent reports whether content is there.
	HasContent(d warg.Digest) (bool, error)
	// KeepContent stores content of at most limit bytes.
	KeepContent(d warg.Digest, body io.Reader, limit int64) error
}

// Options say what is adopted, and from where.
type Options struct {
	Source     Source
	Own        Own
	Namespaces []string
	Offline    bool // the source is not asked for news; what it holds may grow all the same
	Now        func() time.Time
	Log        *slog.Logger
}

// Sizes and times.
const (
	ledgerBatch = 10_000 // leaves read at a time
	logsBatch   = 64     // logs that the source is asked to have at hand at a time
	workers     = 8      // logs that are brought up to date at a time

	// retryAbsent is how often content that the registry does not have, and names that
	// it does not give, are asked for again.
	retryAbsent = time.Minute
)

// Keeper keeps namespaces in step. It is safe for concurrent use.
type Keeper struct {
	o          Options
	namespaces map[string]bool

	pass    sync.Mutex // held by who makes a pass
	scanned uint64     // leaves of the ledger that were looked at; under pass
	retried time.Time  // when nameless and absent were last tried; under pass

	mu       sync.Mutex               // for what follows
	open     map[warg.LogID]*openLog  // logs that are not in step
	examined map[warg.LogID]bool      // logs of which all records were looked at
	nameless map[warg.LogID]struct{}  // logs whose name is not known yet
	absent   map[warg.Digest]struct{} // content that the registry did not have
	inStep   uint64                   // length up to which all is done
	last     error                    // of the last pass
}

// openLog is a log that has leaves which were not adopted yet.
type openLog struct {
	name warg.PackageName
	full bool // all its records are to be looked at: content of old ones may be missing
}

// New returns a keeper. It does nothing before its first pass.
func New(o Options) *Keeper {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{
		o: o, namespaces: map[string]bool{}, open: map[warg.LogID]*openLog{}, examined: map[warg.LogID]bool{},
		nameless: map[warg.LogID]struct{}{}, absent: map[warg.Digest]struct{}{},
	}
	for _, ns := range o.Namespaces {
		k.namespaces[ns] = true
	}
	return k
}

// Status says how far adoption has come.
type Status struct {
	Length uint64 // of the registry's log, up to which everything is adopted
	Open   int    // logs that are not in step
	Absent int    // contents that the registry does not have
	Err    error  // why not everything is in step, nil if it is
}

// Status returns how far adoption has come.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Status{k.inStep, len(k.open), len(k.absent), k.last}
}

// Restart makes the next pass look at everything again, because the source has another
// history now. What was adopted stays: our own log says where its packages go on from.
func (k *Keeper) Restart() {
	k.pass.Lock()
	defer k.pass.Unlock()
	k.scanned, k.retried = 0, time.Time{}
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.open)
	clear(k.examined)
	clear(k.nameless)
	clear(k.absent)
	k.inStep, k.last = 0, nil
}

// Run makes a pass now and again, with pauses between them, until ctx ends. What goes
// wrong is logged when it changes.
func (k *Keeper) Run(ctx context.Context, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	said := ""
	for {
		err := k.Pass(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != said:
			said = err.Error()
			k.o.Log.Warn("adopted packages are not in step", "upstream", k.o.Source.Domain(), "error", err)
		case err == nil && said != "":
			said = ""
			k.o.Log.Info("adopted packages are in step again", "upstream", k.o.Source.Domain())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Pass brings everything up to date that can be. A registry that cannot be asked, or a
// log that is wrong, keeps nothing else from being adopted; the error says what is not
// in step.
func (k *Keeper) Pass(ctx context.Context) error {
	k.pass.Lock()
	defer k.pass.Unlock()
	err := k.once(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = err
	return err
}

func (k *Keeper) once(ctx context.Context) error {
	var stale error
	if !k.o.Offline {
		stale = k.o.Source.Refresh(ctx)
	}
	view, err := k.o.Source.Checkpoint(ctx)
	if err != nil {
		return cmp.Or(stale, err)
	}
	length := view.Checkpoint.LogLength
	if err := k.scan(ctx, length); err != nil {
		return err
	}
	missing := k.retry(ctx)
	behind := k.catchUp(ctx, length)
	k.mu.Lock()
	defer k.mu.Unlock()
	if behind == nil && len(k.nameless) == 0 {
		k.inStep = length
	}
	return errors.Join(stale, missing, behind)
}

// catchUp brings the open logs up to date.
func (k *Keeper) catchUp(ctx context.Context, length uint64) error {
	k.mu.Lock()
	open := maps.Clone(k.open)
	k.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(open), func(a, b warg.LogID) int { return warg.Digest(a).Compare(warg.Digest(b)) })
	var failed failures
	for batch := range slices.Chunk(ids, logsBatch) {
		k.atHand(ctx, batch, length)
		var group sync.WaitGroup
		slots := make(chan struct{}, workers)
		for _, id := range batch {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				l := open[id]
				if err := k.adopt(ctx, id, l, length); err != nil {
					failed.add(fmt.Errorf("%s: %w", l.name, err))
					return
				}
				k.mu.Lock()
				defer k.mu.Unlock()
				delete(k.open, id)
				k.examined[id] = true
			})
		}
		group.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return failed.joined()
}

// atHand lets the source fetch logs together. What it cannot have shows when they are
// read one by one.
func (k *Keeper) atHand(ctx context.Context, ids []warg.LogID, length uint64) {
	if len(ids) < 2 {
		return
	}
	req := warg.LogsRequest{LogLength: length, Limit: 1}
	for _, id := range ids {
		req.Packages = append(req.Packages, warg.LogCursor{LogID: id})
	}
	_, _ = k.o.Source.Logs(ctx, req)
}

// failures are errors of several goroutines.
type failures struct {
	mu   sync.Mutex
	list []error
}

// shownFailures is how many errors are told; a thousand say no more.
const shownFailures = 3

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, err)
}

func (f *failures) joined() error {
	if len(f.list) <= shownFailures {
		return errors.Join(f.list...)
	}
	more := fmt.Errorf("and %d more", len(f.list)-shownFailures)
	return errors.Join(append(f.list[:shownFailures:shownFailures], more)...)
}
