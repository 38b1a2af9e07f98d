package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/pending"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/space"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Names below Options.Dir.
const (
	lockFile    = "lock"
	historyFile = "anchor.log"
	logDir      = "log"
	pendingDir  = "pending"
	indexDir    = "index"
	openingFile = "index.opening"
	adoptedFile = "adopted"
)

// Open opens the registry, or creates it if there is none. Errors that
// configuration can mend are a [*ConfigError]; if another process has the
// directory the error is a [*durable.HeldError] that names it. A registry that
// must not sign is opened fenced, without an error: see [Authority.Status].
func Open(ctx context.Context, o Options) (*Authority, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	a, err := openOnce(ctx, o)
	if isCorrupt(err) {
		// Damage that opening the index does not notice: it is marked by now, and made
		// anew. The journal has everything.
		a, err = openOnce(ctx, o)
	}
	return a, err
}

func openOnce(ctx context.Context, o Options) (*Authority, error) {
	counts := new(counts)
	o.FS = countedFS{o.FS, &counts.syncs}
	a := &Authority{
		o: o, fs: o.FS, counts: counts, keyID: o.Key.Public().ID(), ops: new(operators), pool: newPool(o.Limits),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	a.space = o.Space
	if a.space == nil {
		a.space = space.New(space.Options{FS: o.FS, Dirs: []string{o.Dir, o.ContentDir}, Mark: o.Limits.FreeSpace, Log: o.Log})
	}
	a.states = newStates(a.replay)
	var err error
	if a.hot, err = newHotLogs(); err != nil {
		return nil, err
	}
	if a.small, err = cas.NewHot(smallContents, smallBytes); err != nil {
		return nil, err
	}
	if err := a.open(ctx); err != nil {
		if isCorrupt(err) && a.index != nil {
			o.Log.Warn("index is made anew: it is damaged", "error", err)
			err = errors.Join(err, a.index.Distrust())
		}
		return nil, errors.Join(err, a.closeFiles())
	}
	a.lastSeen = o.Now()
	if !o.byHand {
		a.group.Go(a.sequence)
	}
	return a, nil
}

func (a *Authority) open(ctx context.Context) error {
	if err := a.refuseLost(); err != nil {
		return err // before anything is made in what may be an empty mount point
	}
	if err := durable.MkdirAll(a.fs, a.o.Dir); err != nil {
		return fmt.Errorf("opening authority: %w", err)
	}
	holder := fmt.Sprintf("process %d since %s", os.Getpid(), a.o.Now().UTC().Format(time.RFC3339))
	var err error
	if a.lock, err = a.fs.Lock(a.path(lockFile), holder); err != nil {
		return fmt.Errorf("opening authority: %w", err)
	}
	if a.content, err = cas.Open(cas.Options{FS: a.fs, Dir: a.o.ContentDir, Step: a.o.Step}); err != nil {
		return err
	}
	a.anchors = anchor.NewFile(a.fs, a.o.AnchorFile, holder)
	if err := a.findAnchor(); err != nil {
		return err
	}
	if a.fence.Load() == nil {
		err = a.openTruth()
	}
	switch {
	case err != nil:
		return err
	case a.fence.Load() != nil:
		return a.openFenced(ctx)
	}
	return a.openRest(ctx)
}

// findAnchor reads the anchor, or creates the registry if there is nothing at all.
func (a *Authority) findAnchor() (err error) {
	a.anchor, err = a.anchors.Load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found, err := a.anyFiles()
		switch {
		case err != nil:
			return err
		case found:
			a.noAnchor = true
			a.setFence(FenceBehind, "there are files of a registry in %s, but no anchor at %s", a.o.Dir, a.anchors.Path())
			return nil
		}
		return a.create()
	case err != nil && errors.As(err, new(*fs.PathError)):
		return err
	case err != nil:
		a.noAnchor = true
		a.setFence(FenceBehind, "%v", err)
		return nil
	}
	a.registry = a.anchor.Registry
	return a.checkAnchor()
}

// checkAnchor compares the anchor with the configuration and with where it was
// found.
func (a *Authority) checkAnchor() error {
	if a.anchor.Domain != a.o.Domain {
		return configErr("the registry in %s is %s, not %s as configured", a.o.Dir, a.anchor.Domain, a.o.Domain)
	}
	stamp, ok, err := a.stamp()
	switch {
	case err != nil:
		return err
	case ok && stamp.Registry != a.registry.Hex():
		return configErr("the operator key %s belongs to another registry than the one in %s (its stamp %s says %s)",
			a.o.KeyFile, a.o.Dir, anchor.StampPath(a.o.KeyFile), stamp.Domain)
	case !ok:
		if err := a.writeStamp(); err != nil {
			return err
		}
	}
	id, err := a.fs.Identity(a.o.Dir)
	if err != nil {
		return err
	}
	if !id.Same(a.anchor.Directory) {
		a.setFence(FenceBehind, "%s is not the directory that the anchor was written for: it was copied, moved or restored", a.o.Dir)
	}
	return nil
}

// openTruth opens history and journal and compares them with the anchor. Where
// they do not agree the authority is fenced.
func (a *Authority) openTruth() error {
	if err := a.openHistory(); err != nil || a.fence.Load() != nil {
		return err
	}
	if err := durable.MkdirAll(a.fs, a.path(logDir)); err != nil {
		return err
	}
	var err error
	a.journal, err = journal.Open(a.segments(logDir), a.registry, a.anchor.Length())
	if errors.As(err, new(*journal.Damage)) {
		a.setFence(FenceBehind, "%v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening journal: %w", err)
	}
	tail, _ := a.journal.Tail()
	if len(tail) > journal.MaxTail {
		a.setFence(FenceBehind, "the journal has %d records above the anchor, more than a crash can leave", len(tail))
	}
	if !a.anchor.IsGenesis() && a.journal.Root().AnyHash() != a.anchor.Signed.Unverified().LogRoot {
		a.setFence(FenceBehind, "the journal has another root at length %d than the anchor", a.anchor.Length())
	}
	return nil
}

func (a *Authority) segments(dir string) *segment.Dir {
	return &segment.Dir{FS: a.fs, Path: a.path(dir), Grow: a.o.segments.Grow, Max: a.o.segments.Max, Step: a.o.Step}
}

// openHistory opens the history and completes its last line from the anchor.
func (a *Authority) openHistory() (err error) {
	path := a.path(historyFile)
	a.history, err = anchor.OpenHistory(a.fs, path, a.registry)
	if errors.Is(err, fs.ErrNotExist) && a.anchor.IsGenesis() {
		a.history, err = anchor.CreateHistory(a.fs, path, a.registry)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, new(*anchor.DamageError)):
		a.setFence(FenceBehind, "the history of checkpoints cannot be read: %v", err)
		return nil
	case err != nil:
		return err
	}
	last, ok, err := a.history.Last()
	if errors.As(err, new(*anchor.DamageError)) {
		a.setFence(FenceBehind, "%v", err)
		return nil
	}
	switch {
	case err != nil:
		return err
	case a.anchor.IsGenesis() && !ok || last == a.anchor.Signed:
		return nil
	case ok && !before(last.Unverified(), a.anchor.Signed.Unverified()):
		a.setFence(FenceBehind, "%s has a checkpoint of length %d that the anchor, at length %d, does not know",
			path, last.Unverified().LogLength, a.anchor.Length())
		return nil
	}
	return a.history.Append(a.anchor.Signed, nil) // the crash came between the two
}

// before reports whether a checkpoint can have been issued before another one.
func before(c, next warg.CheckpointClaims) bool {
	if c.LogLength != next.LogLength {
		return c.LogLength < next.LogLength
	}
	return c.LogRoot == next.LogRoot && c.MapRoot == next.MapRoot && c.Timestamp < next.Timestamp
}

func (a *Authority) indexOptions() index.Options {
	o := index.Options{
		FS: a.fs, Database: a.o.Index, Counter: a.path(openingFile), Registry: a.registry, Log: a.o.Log,
	}
	if o.Database == nil {
		o.Database = index.Badger(a.path(indexDir), a.o.Log)
	}
	return o
}

// openRest brings everything derived up to date, lets the journal's tail become
// the first checkpoint, and takes up what was pending.
func (a *Authority) openRest(ctx context.Context) error {
	var err error
	if a.index, err = index.Open(a.indexOptions()); err != nil {
		return err
	}
	if err := a.catchUp(ctx); err != nil {
		return err
	}
	if a.fence.Load() != nil {
		return a.openFenced(ctx)
	}
	if err := a.replayOperators(); err != nil {
		return err
	}
	if err := a.openAdopted(); err != nil {
		return err
	}
	if err := a.openView(); err != nil {
		return err
	}
	if err := a.openAudit(); err != nil {
		return err
	}
	if err := a.openPending(); err != nil {
		return err
	}
	if a.checkStart(); a.fence.Load() != nil {
		return nil
	}
	if !a.roomForBatch() {
		a.o.Log.Warn("nothing is written: the disk is full")
		return nil // what is on its way waits for room
	}
	return a.finishOpening()
}

// finishOpening does what only a registry may do that is not fenced: it sequences the
// journal's tail, begins the operator log, and checks and extends that as configured.
// Where a fence or a full disk delays it, the sequencer does it once that has passed.
func (a *Authority) finishOpening() error {
	if a.finished {
		return nil
	}
	if err := a.runTail(); err != nil {
		return fmt.Errorf("sequencing what was on its way: %w", err)
	}
	if a.journal.Length() == 0 {
		if err := a.firstRecord(); err != nil {
			return fmt.Errorf("creating registry: %w", err)
		}
	}
	if err := a.checkOperators(); err != nil {
		return err
	}
	if err := a.defineAdopted(); err != nil {
		return err
	}
	a.finished = true
	return nil
}

// checkStart raises the fences that no file asks for: those of the clock, of an end,
// and of peers, who are heard first.
func (a *Authority) checkStart() {
	if a.anchor.Frozen {
		a.setFence(FenceFrozen, "the registry was frozen at length %d", a.anchor.Length())
		return
	}
	if a.fencePeers(); a.fence.Load() != nil {
		return
	}
	if a.checkClock(a.o.Now()); a.fence.Load() != nil {
		return
	}
	if why := a.jumped(); why != "" {
		a.setFence(FenceJump, "%s", why)
	}
}

// jumped says why the clock is too far ahead for a start, or "".
func (a *Authority) jumped() string {
	v, now := a.view.Load(), a.o.Now()
	if v == nil {
		return ""
	}
	head := time.Unix(int64(v.Checkpoint.Timestamp), 0)
	if !now.After(head.Add(maxJump)) {
		return ""
	}
	return fmt.Sprintf("the clock says %s, more than a year after the last checkpoint at %s",
		now.UTC().Format(time.RFC3339), head.UTC().Format(time.RFC3339))
}

// openView makes the anchor's checkpoint what readers see.
func (a *Authority) openView() error {
	if a.anchor.IsGenesis() {
		return nil
	}
	key, ok := a.ops.committer(a.anchor.KeyID, a.anchor.Length())
	if !ok {
		a.setFence(FenceBehind, "the anchor was signed by key %s, which might not", a.anchor.KeyID)
		return nil
	}
	c, err := a.anchor.Signed.Open(key)
	if err != nil {
		a.setFence(FenceBehind, "the anchor's checkpoint does not verify: %v", err)
		return nil
	}
	a.view.Store(&warg.View{Signed: a.anchor.Signed, Checkpoint: c})
	return nil
}

// checkOperators compares the operator log with the configuration.
func (a *Authority) checkOperators() error {
	if !a.ops.mayCommit(a.keyID) {
		return configErr("the operator key %s (key id %s) may not sign for the registry in %s; use the key it was created with, or one that was granted `commit`",
			a.o.KeyFile, a.keyID, a.o.Dir)
	}
	for _, ns := range a.o.Namespaces {
		if err := a.ops.check(ns); err != nil {
			if errors.Is(err, &warg.Error{Kind: warg.KindNamespaceImported}) {
				return configErr("namespace `%s` is configured as our own, but it is imported from another registry", ns)
			}
			return configErr("namespace `%s` is configured, but the registry does not have it: run `entrepot namespace define %s` on the running registry (leave it out of the configuration meanwhile)", ns, ns)
		}
	}
	return nil
}

func isCorrupt(err error) bool {
	return errors.Is(err, tree.ErrIndexCorrupt) || errors.Is(err, index.ErrCorrupt)
}

// openPending opens the log of submissions and takes up what is not settled.
func (a *Authority) openPending() error {
	if err := durable.MkdirAll(a.fs, a.path(pendingDir)); err != nil {
		return err
	}
	var accepted []pending.Entry
	rejected := map[warg.RecordID]bool{}
	dir := a.segments(pendingDir)
	dir.Max = min(dir.Max, pendingMax)
	var err error
	a.pending, err = pending.Open(pending.Options{
		Dir: dir, Registry: a.registry, Log: a.o.Log, Live: a.pool.live,
		From: a.index.Segment(), Step: a.o.Step,
	}, func(e pending.Entry) error {
		if e.Kind == pending.Accepted {
			accepted = append(accepted, e)
			return nil
		}
		rejected[e.Record] = true
		return a.index.Reject(e.Log, e.Record, e.Reason)
	})
	if err != nil {
		return err
	}
	for _, e := range accepted {
		if rejected[e.Record] {
			continue
		}
		if err := a.takeUp(e); err != nil {
			return err
		}
	}
	return a.index.SetSegment(a.pending.Segment())
}

// takeUp puts an accepted record back into the pool, unless it is settled.
func (a *Authority) takeUp(e pending.Entry) error {
	if _, settled, err := a.index.RecordOf(e.Name.LogID(), e.Record); settled || err != nil {
		return err
	}
	s, err := newSubmission(e.Name, e.Envelope, e.Time)
	if err != nil {
		a.o.Log.Warn("accepted record does not decode", "record", e.Record.String(), "error", err)
		return nil
	}
	if a.pool.find(s.id) != nil {
		return nil
	}
	if s.missing, err = a.absent(s.contents); err != nil {
		return err
	}
	a.pool.restore(s)
	return nil
}
