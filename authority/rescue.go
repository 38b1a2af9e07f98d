package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Word is what somebody vouches for: the newest checkpoint that this registry ever
// issued had this length and this log root.
type Word struct {
	Length  uint64
	LogRoot warg.Digest
}

// String returns the word as operators write it.
func (w Word) String() string { return fmt.Sprintf("%d:%s", w.Length, w.LogRoot) }

// RefusedError says why a registry cannot be brought back the way it was asked for.
// Nothing was changed.
type RefusedError struct {
	Msg string
	// Untrue says that what the peer holds does not verify, or cannot be true together
	// with what is known here; else it is true, and not enough.
	Untrue bool
	// Ours is the newest checkpoint that is known here, if it is that which the peer's log
	// contradicts, or may.
	Ours warg.SignedCheckpoint
}

// Error returns the sentence for people.
func (e *RefusedError) Error() string { return e.Msg }

func refused(format string, args ...any) error {
	return &RefusedError{Msg: fmt.Sprintf(format, args...)}
}

func untrue(ours warg.SignedCheckpoint, format string, args ...any) error {
	return &RefusedError{Msg: fmt.Sprintf(format, args...), Untrue: true, Ours: ours}
}

// rescue is a registry's truth, opened by somebody who is about to say what is right:
// no index, nothing that runs, and no fence.
type rescue struct {
	*Authority
	anchored bool            // there is an anchor, undamaged
	damaged  bool            // there is one that cannot be read
	short    bool            // the journal ends before what was signed for
	remains  *anchor.Remains // of the history, nil if there is none
}

// openRescue takes the lock and reads anchor and history. The caller closes it.
func openRescue(o Options) (_ *rescue, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	counts := new(counts)
	o.FS = countedFS{o.FS, &counts.syncs}
	r := &rescue{Authority: &Authority{o: o, fs: o.FS, counts: counts, keyID: o.Key.Public().ID(), ops: new(operators)}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closeFiles())
		}
	}()
	if err := durable.MkdirAll(r.fs, o.Dir); err != nil {
		return nil, fmt.Errorf("opening authority: %w", err)
	}
	holder := fmt.Sprintf("process %d since %s", os.Getpid(), o.Now().UTC().Format(time.RFC3339))
	if r.lock, err = r.fs.Lock(r.path(lockFile), holder); err != nil {
		return nil, fmt.Errorf("opening authority: %w", err)
	}
	if r.content, err = cas.Open(cas.Options{FS: r.fs, Dir: o.ContentDir}); err != nil {
		return nil, err
	}
	r.anchors = anchor.NewFile(r.fs, o.AnchorFile, holder)
	if err := r.readAnchor(); err != nil {
		return nil, err
	}
	return r, r.readHistory()
}

func (r *rescue) readAnchor() (err error) {
	r.anchor, err = r.anchors.Load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.registry, err = r.findRegistry()
		return err
	case err != nil && errors.As(err, new(*fs.PathError)):
		return err
	case err != nil:
		r.damaged = true
		r.registry, err = r.findRegistry()
		return err
	case r.anchor.Domain != r.o.Domain:
		return configErr("the registry in %s is %s, not %s as configured", r.o.Dir, r.anchor.Domain, r.o.Domain)
	}
	r.anchored, r.registry = true, r.anchor.Registry
	return nil
}

// findRegistry returns the id of the registry whose files are there, or a new one if
// there are none: from the newest segment, else from the stamp beside the key.
func (r *rescue) findRegistry() (warg.Digest, error) {
	found, ok, err := r.registryOfSegments()
	if ok || err != nil {
		return found, err
	}
	stamp, ok, err := r.stamp()
	if err != nil {
		return warg.Digest{}, err
	}
	if ok {
		if d, err := warg.ParseDigest("sha256:" + stamp.Registry); err == nil {
			return d, nil
		}
	}
	return r.newRegistry(), nil
}

// registryOfSegments returns the id of the registry that the newest segment which can be
// read belongs to; ok is false if there is none.
func (a *Authority) registryOfSegments() (id warg.Digest, ok bool, err error) {
	dir := a.segments(logDir)
	numbers, err := dir.List()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return id, false, err
	}
	var bad error
	for _, n := range slices.Backward(numbers) {
		s, err := dir.OpenReader(n)
		if err == nil {
			return s.Registry, true, s.Close()
		}
		if bad = err; !errors.As(err, new(*segment.DamageError)) {
			break
		}
	}
	if bad != nil {
		return id, false, fmt.Errorf("looking for the registry's id: %w", bad)
	}
	return id, false, nil
}

// readHistory opens the history if there is one, and reads all of it: what is damaged is
// mended when everything else is settled.
func (r *rescue) readHistory() (err error) {
	if r.remains, err = anchor.Salvage(r.fs, r.path(historyFile), r.registry); r.remains == nil || err != nil {
		return err
	}
	if r.remains.Damaged() {
		r.o.Log.Warn("the history of checkpoints is damaged", "file", r.path(historyFile), "lost", r.remains.Lost, "kept", len(r.remains.Lines))
		return nil
	}
	if r.history, err = anchor.OpenHistory(r.fs, r.path(historyFile), r.registry); err != nil {
		return fmt.Errorf("opening the history of checkpoints: %w", err)
	}
	return nil
}

// known returns the newest checkpoint that anchor or history have, a zero one if there
// is none.
func (r *rescue) known() (c warg.SignedCheckpoint, err error) {
	if r.anchored {
		c = r.anchor.Signed
	}
	if r.remains == nil {
		return c, nil
	}
	for _, line := range r.remains.Lines {
		if c.IsZero() || before(c.Unverified(), line.Unverified()) {
			c = line
		}
	}
	return c, nil
}

// replayOperatorsOf replays the operator records of the journal below a length.
func (r *rescue) replayOperatorsOf(j *journal.Journal, length uint64) error {
	return j.Scan(0, length, func(f journal.Frame, _ journal.Position) error {
		if f.Kind != journal.Operator {
			return nil
		}
		return r.ops.apply(f.Index, f.Envelope)
	})
}

// settle makes a checkpoint the last one issued: anchor first, then history, then the
// stamp, as a publish does.
func (r *rescue) settle(signed warg.SignedCheckpoint) error {
	id, err := r.fs.Identity(r.o.Dir)
	if err != nil {
		return err
	}
	next := anchor.Anchor{
		Registry: r.registry, Domain: r.o.Domain, Directory: id, Frozen: r.anchored && r.anchor.Frozen,
		KeyID: signed.KeyID(), Signed: signed,
	}
	if r.damaged {
		if err := r.fs.Rename(r.o.AnchorFile, r.o.AnchorFile+".bad"); err != nil {
			return fmt.Errorf("moving the damaged anchor aside: %w", err)
		}
	}
	if err := r.anchors.Swap(next, nil); err != nil {
		return err
	}
	r.anchor, r.anchored, r.damaged = next, true, false
	return nil
}

// record appends the anchor's checkpoint to the history, and makes that anew if there is
// none, if it is damaged, or if it does not have all that was issued since.
func (r *rescue) record(ctx context.Context) (err error) {
	if r.history == nil || r.skips() && !r.history.HasGaps() {
		if err := r.mendHistory(ctx); err != nil {
			return err
		}
	}
	last, ok, err := r.history.Last()
	if err != nil {
		return err
	}
	if !ok || last != r.anchor.Signed {
		if err := r.history.Append(r.anchor.Signed, nil); err != nil {
			return err
		}
	}
	return r.writeStamp()
}
