package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
)

// PeerLog is what a peer holds of this registry. Nothing of it is believed.
type PeerLog interface {
	// Head returns the newest checkpoint of ours that the peer holds.
	Head(ctx context.Context) (warg.SignedCheckpoint, error)
	// Leaves returns records in the order of the registry, from an index on and below
	// another. It may be called several times.
	Leaves(ctx context.Context, from, to uint64) iter.Seq2[PeerLeaf, error]
	// Content opens content; the error is KindContentNotFound if the peer does not have it.
	Content(ctx context.Context, d warg.Digest) (io.ReadCloser, error)
}

// PeerLeaf is one record of a peer's replica.
type PeerLeaf struct {
	Name     warg.PackageName // zero for the operator log
	Envelope warg.Envelope
}

// Healing says how a registry is to be healed, and what came of it.
type Healing struct {
	// Word is needed where there is no anchor, and must be the peer's head.
	Word *Word
	// Progress is called with the records that were taken over, and how many there are.
	Progress func(done, total uint64)

	From, To uint64        // set by Heal: what was missing
	Lacking  []warg.Digest // set by Heal: content that the peer does not have either
}

// NeedWordError says that nothing here tells how much was issued, so that somebody has
// to vouch for the peer's head.
type NeedWordError struct{ Head warg.SignedCheckpoint }

// Error says which word is needed.
func (e *NeedWordError) Error() string {
	c := e.Head.Unverified()
	return fmt.Sprintf("there is no anchor: if nothing newer than the peer's checkpoint was ever issued, say so with %d:%s", c.LogLength, c.LogRoot)
}

// Heal takes over what a peer holds of this registry beyond what is here: after a
// restore of an old copy, or after the loss of everything but the key. Nobody may have
// the registry open. It goes to the peer's newest checkpoint, which must bear our
// signature and extend what we know; a peer that is behind us is refused with a
// [*RefusedError].
//
// Everything is verified before anything is written or cleared: the peer's records
// continue our journal to the very root that we signed. Then content is fetched, the
// anchor is raised, the records are appended, and the index follows at the next Open. A
// crash in between leaves a registry that is fenced until Heal is called again.
func Heal(ctx context.Context, o Options, peer PeerLog, h *Healing) (err error) {
	r, err := openRescue(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.closeFiles()) }()
	head, err := peer.Head(ctx)
	if err != nil {
		return fmt.Errorf("asking the peer for its newest checkpoint: %w", err)
	}
	if head, err = r.mayHeal(head, h.Word); err != nil {
		return err
	}
	if err := r.lookAtJournal(head.Unverified().LogLength); err != nil {
		return err
	}
	edge := r.journal.Anchored()
	t := &takeover{r: r, peer: peer, head: head, h: h}
	h.From, h.To = edge.Len(), head.Unverified().LogLength
	if err := t.verify(ctx, edge); err != nil {
		return err
	}
	// As in a publish: content before the checkpoint that covers its release.
	if err := t.contents(ctx); err != nil {
		return err
	}
	if err := r.openJournal(h.From); err != nil {
		return err
	}
	if err := r.settle(head); err != nil {
		return err
	}
	if err := t.append(ctx); err != nil {
		return err
	}
	if err := r.record(ctx); err != nil {
		return err
	}
	r.o.Log.Warn("the log was healed from a peer", "from", h.From, "to", h.To)
	return nil
}

// mayHeal returns what the newest checkpoint is to be, or an error unless a peer's head
// can be what comes after what we know.
func (r *rescue) mayHeal(head warg.SignedCheckpoint, w *Word) (warg.SignedCheckpoint, error) {
	known, err := r.known()
	if err != nil {
		return head, err
	}
	theirs, ours := head.Unverified(), known.Unverified()
	root, err := theirs.LogRoot.Digest()
	switch {
	case err != nil:
		return head, err
	case (!r.anchored || known.IsZero()) && w == nil:
		return head, &NeedWordError{head}
	case w != nil && (w.Length != theirs.LogLength || w.LogRoot != root):
		return head, refused("the peer's newest checkpoint is %s, not %s", Word{theirs.LogLength, root}, w)
	case theirs.LogLength < ours.LogLength:
		return head, refused("the peer is behind: it holds length %d, and %d was issued here", theirs.LogLength, ours.LogLength)
	case theirs.LogLength == ours.LogLength && (theirs.LogRoot != ours.LogRoot || theirs.MapRoot != ours.MapRoot):
		return head, untrue(known, "the peer holds another checkpoint of length %d: two histories were signed", ours.LogLength)
	case theirs.LogLength == ours.LogLength && theirs.Timestamp < ours.Timestamp:
		return known, nil // the same state, and time never goes back
	}
	return head, nil
}

// lookAtJournal reads the journal up to the newest checkpoint that is known here, or as
// far as it can be read. Where none is known it is as long as what somebody vouches for.
// Nothing is changed.
func (r *rescue) lookAtJournal(vouched uint64) error {
	known, err := r.known()
	if err != nil {
		return err
	}
	most := vouched
	if !known.IsZero() {
		most = known.Unverified().LogLength
	}
	r.journal, err = journal.Look(r.segments(logDir), r.registry, most)
	if errors.As(err, new(*journal.Damage)) {
		r.o.Log.Warn("the journal ends early; the rest is taken from the peer", "error", err)
		r.short = true
		r.journal, err = journal.LookShort(r.segments(logDir), r.registry)
	}
	if err != nil {
		return fmt.Errorf("reading journal: %w", err)
	}
	edge := r.journal.Anchored()
	if n := edge.Len(); n > most {
		return refused("the journal has %d records that are sealed, and only %d were signed for", n, most)
	}
	return nil
}

// openJournal opens the journal that was looked at, to be continued at a length. What
// stands above, and nobody was told about or cannot be read, is cleared: the peer's
// records, which are verified by now, take its place.
func (r *rescue) openJournal(length uint64) (err error) {
	looked := r.journal
	r.journal = nil
	if err := looked.Close(); err != nil {
		return err
	}
	if err := durable.MkdirAll(r.fs, r.path(logDir)); err != nil {
		return err
	}
	if r.short {
		r.journal, err = journal.OpenShort(r.segments(logDir), r.registry)
	} else {
		r.journal, err = journal.Open(r.segments(logDir), r.registry, length)
	}
	if err != nil {
		return fmt.Errorf("opening journal: %w", err)
	}
	edge := r.journal.Anchored()
	if n := edge.Len(); n != length {
		return fmt.Errorf("the journal had %d records a moment ago, now it has %d", length, n)
	}
	if r.short {
		return nil
	}
	return r.journal.Cut(length)
}

// takeover is a healing under way.
type takeover struct {
	r    *rescue
	peer PeerLog
	head warg.SignedCheckpoint
	h    *Healing

	leaves []warg.Digest // verified leaf hashes, from h.From on
	wanted []warg.Digest // content that records release
}

// frames yields the peer's records beyond our journal as frames.
func (t *takeover) frames(ctx context.Context) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		index := t.h.From
		for leaf, err := range t.peer.Leaves(ctx, t.h.From, t.h.To) {
			if err != nil {
				yield(journal.Frame{}, fmt.Errorf("reading record %d from the peer: %w", index, err))
				return
			}
			if !yield(journal.NewFrame(index, leaf.Name, leaf.Envelope), nil) {
				return
			}
			index++
		}
		if index != t.h.To {
			yield(journal.Frame{}, fmt.Errorf("the peer has %d of %d records", index, t.h.To))
		}
	}
}

// verify reads all records that are missing: they must lead from our journal to the root
// of the peer's checkpoint, and our signature must be on that.
func (t *takeover) verify(ctx context.Context, edge vlog.Edge) error {
	if err := t.replay(); err != nil {
		return err
	}
	known, err := t.r.known()
	if err != nil {
		return err
	}
	for f, err := range t.frames(ctx) {
		if err != nil {
			return err
		}
		if f.Kind == journal.Operator {
			if err := t.r.ops.apply(f.Index, f.Envelope); err != nil {
				return untrue(known, "the peer's operator record at index %d: %v", f.Index, err)
			}
		} else if rec, err := pkglog.Decode(f.Envelope.Content); err != nil {
			return untrue(known, "the peer's record at index %d: %v", f.Index, err)
		} else {
			t.wanted = append(t.wanted, released(rec)...)
		}
		t.leaves = append(t.leaves, f.Leaf)
		edge.Append(f.Leaf)
		if c := known.Unverified(); edge.Len() == c.LogLength && edge.Root().AnyHash() != c.LogRoot {
			return untrue(known, "the peer's log has another root at length %d than was issued here", c.LogLength)
		}
	}
	if c := t.head.Unverified(); edge.Root().AnyHash() != c.LogRoot {
		return untrue(known, "the peer's records lead to log root %s at length %d, not to %s as signed", edge.Root(), c.LogLength, c.LogRoot)
	}
	if err := t.r.signedByUs(t.head); err != nil {
		return untrue(known, "the peer's checkpoint was not signed for this registry: %v", err)
	}
	return nil
}

// replay reads what is here: for the keys that may sign, and for content, of which some
// may be missing as well, or could not be had from the peer the last time.
func (t *takeover) replay() error {
	return t.r.journal.Scan(0, t.h.From, func(f journal.Frame, _ journal.Position) error {
		if f.Kind == journal.Operator {
			return t.r.ops.apply(f.Index, f.Envelope)
		}
		rec, err := pkglog.Decode(f.Envelope.Content)
		if err != nil {
			return fmt.Errorf("record at index %d: %w", f.Index, err)
		}
		t.wanted = append(t.wanted, released(rec)...)
		return nil
	})
}

// append writes the records that were verified.
func (t *takeover) append(ctx context.Context) error {
	var batch []journal.Frame
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if _, err := t.r.journal.Append(batch); err != nil {
			return err
		}
		if err := t.r.journal.Sync(); err != nil {
			return err
		}
		batch = batch[:0]
		if t.h.Progress != nil {
			t.h.Progress(t.r.journal.Length()-t.h.From, t.h.To-t.h.From)
		}
		return nil
	}
	for f, err := range t.frames(ctx) {
		if err != nil {
			return err
		}
		if n := f.Index - t.h.From; n >= uint64(len(t.leaves)) || f.Leaf != t.leaves[n] {
			return fmt.Errorf("the peer has another record at index %d than a moment ago", f.Index)
		}
		if batch = append(batch, f); len(batch) == batchRecords {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// contents fetches what records release and is not here.
func (t *takeover) contents(ctx context.Context) error {
	seen := map[warg.Digest]bool{}
	for _, d := range t.wanted {
		if seen[d] {
			continue
		}
		seen[d] = true
		if has, err := t.r.content.Has(d); has || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := t.content(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (t *takeover) content(ctx context.Context, d warg.Digest) error {
	body, err := t.peer.Content(ctx, d)
	if errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		t.h.Lacking = append(t.h.Lacking, d)
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetching content %s from the peer: %w", d, err)
	}
	defer body.Close()
	_, err = t.r.content.Put(d, body, cas.Checks{MaxSize: t.r.o.Limits.ContentSize})
	if errors.Is(err, cas.ErrTooLarge) || errors.As(err, new(*cas.MismatchError)) {
		t.h.Lacking = append(t.h.Lacking, d)
		t.r.o.Log.Warn("content is not taken from the peer", "digest", d.String(), "error", err)
		return nil
	}
	return err
}
