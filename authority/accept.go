package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Accept takes the operator's word for what the newest checkpoint of a registry is,
// where its files do not say so by themselves: the directory was copied, moved or
// restored, or the anchor is lost. Nobody may have the registry open. The next Open is
// not fenced for that reason any more.
//
// The word is checked as far as anything is known: the journal must have that root at
// that length, and neither anchor nor history nor index may know more. Else the error is
// a [*RefusedError].
func Accept(ctx context.Context, o Options, w Word) (err error) {
	r, err := openRescue(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.closeFiles()) }()
	if err := r.mayBe(w); err != nil {
		return err
	}
	if err := r.bearsOut(w); err != nil {
		return err
	}
	j, err := journal.Open(r.segments(logDir), r.registry, w.Length)
	if err != nil {
		return fmt.Errorf("reading the journal up to length %d: %w", w.Length, err)
	}
	r.journal = j
	if err := r.replayOperatorsOf(j, w.Length); err != nil {
		return err
	}
	signed, err := r.checkpointOf(ctx, w)
	if err != nil {
		return err
	}
	if err := r.settle(signed); err != nil {
		return err
	}
	r.o.Log.Warn("an operator vouches for the newest checkpoint", "length", w.Length)
	return r.record(ctx)
}

// mayBe returns an error if something newer than the word is known.
func (r *rescue) mayBe(w Word) error {
	known, err := r.known()
	if err != nil {
		return err
	}
	if w.Length == 0 {
		return refused("a registry of length 0 has nothing to accept: remove its directory and begin anew")
	}
	if n := known.Unverified().LogLength; n > w.Length {
		return refused("this registry has issued a checkpoint of length %d; nothing shorter can be its newest", n)
	}
	x, err := index.Open(r.indexOptions())
	if err != nil {
		return err
	}
	n := x.Head().Length
	if err := x.Close(); err != nil {
		return err
	}
	if n > w.Length {
		return refused("the index knows length %d, so more was issued than %d: recover from a peer, or run `entrepot rebuild-index` if the index is wrong", n, w.Length)
	}
	return nil
}

// bearsOut returns an error unless the journal can be one of the word's length. Nothing
// is changed: opening it for writing clears what cannot be read above that, and if the
// word is too low this may be what was signed for.
func (r *rescue) bearsOut(w Word) error {
	j, err := journal.Look(r.segments(logDir), r.registry, w.Length)
	if errors.As(err, new(*journal.Damage)) {
		return refused("the journal does not bear out length %d: %v", w.Length, err)
	}
	if err != nil {
		return fmt.Errorf("reading the journal up to length %d: %w", w.Length, err)
	}
	root, tail := j.Root(), 0
	if frames, _ := j.Tail(); frames != nil {
		tail = len(frames)
	}
	if err := j.Close(); err != nil {
		return err
	}
	switch {
	case root != w.LogRoot:
		return refused("the log has root %s at length %d, not %s", root, w.Length, w.LogRoot)
	case tail > journal.MaxTail:
		return refused("the journal has %d records above length %d, more than a crash can leave: that is not the newest", tail, w.Length)
	}
	return nil
}

// checkpointOf returns the checkpoint of the word: the one that was issued, or, if it is
// lost, a new one for the same state.
func (r *rescue) checkpointOf(ctx context.Context, w Word) (warg.SignedCheckpoint, error) {
	known, err := r.known()
	if err != nil {
		return known, err
	}
	if c := known.Unverified(); !known.IsZero() && c.LogLength == w.Length {
		if c.LogRoot != w.LogRoot.AnyHash() {
			return known, refused("the checkpoint that was issued at length %d has log root %s", w.Length, c.LogRoot)
		}
		return known, r.signedByUs(known)
	}
	if !r.ops.mayCommit(r.keyID) {
		return known, configErr("the operator key %s (key id %s) may not sign for this registry", r.o.KeyFile, r.keyID)
	}
	next := warg.Checkpoint{LogLength: w.Length, LogRoot: w.LogRoot, Timestamp: known.Unverified().Timestamp}
	if next.MapRoot, err = r.mapRoot(ctx, &next); err != nil {
		return known, err
	}
	next.Timestamp = max(next.Timestamp, uint64(max(r.o.Now().Unix(), 0)))
	return r.sign(next)
}

// mapRoot computes the map of the journal below a checkpoint's length, and sees to it
// that the checkpoint is not older than any record.
func (r *rescue) mapRoot(ctx context.Context, c *warg.Checkpoint) (warg.Digest, error) {
	const part = 4096 // leaves that are put into the map together
	var m vmap.Map
	var batch []vmap.Entry
	err := r.journal.Scan(0, c.LogLength, func(f journal.Frame, _ journal.Position) error {
		leaf := f.Value()
		batch = append(batch, vmap.Entry{Key: leaf.MapKey(), Value: leaf.MapValue()})
		if len(batch) == part {
			m, batch = m.Update(batch), nil
		}
		if f.Kind == journal.Package {
			rec, err := pkglog.Decode(f.Envelope.Content)
			if err != nil {
				return fmt.Errorf("record at index %d: %w", f.Index, err)
			}
			c.Timestamp = max(c.Timestamp, uint64(max(rec.Time.Seconds, 0)))
		}
		return ctx.Err()
	})
	return m.Update(batch).Root(), err
}
