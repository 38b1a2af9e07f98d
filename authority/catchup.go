package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// catchUp brings the index to the anchor's length, checkpoint by checkpoint. An
// index that contradicts the history is made anew; if it does so again, history
// and journal do not belong together.
func (a *Authority) catchUp(ctx context.Context) error {
	head := a.index.Head()
	if head.Length > a.anchor.Length() {
		a.setFence(FenceBehind, "the index knows length %d, the anchor only %d", head.Length, a.anchor.Length())
		return nil
	}
	agrees, err := a.agrees(head)
	if err == nil && agrees {
		err = a.extendIndex(ctx)
		if !isCorrupt(err) && !errors.Is(err, errContradiction) {
			return a.damaged(err)
		}
	}
	a.o.Log.Warn("index is made anew: it contradicts the history of checkpoints", "length", head.Length, "error", err)
	if err := a.index.Reset(); err != nil {
		return err
	}
	return a.damaged(a.extendIndex(ctx))
}

// damaged turns an error that says that journal or history cannot be what was
// signed for into a fence.
func (a *Authority) damaged(err error) error {
	files := errors.As(err, new(*journal.Damage)) || errors.As(err, new(*anchor.DamageError))
	if files || errors.Is(err, errContradiction) || isCorrupt(err) {
		a.setFence(FenceBehind, "%v", err)
		return nil
	}
	return err
}

// errContradiction says that the journal leads to other roots than were signed.
var errContradiction = errors.New("journal and history of checkpoints contradict each other")

// agrees reports whether a head of the index is one that was signed for.
func (a *Authority) agrees(h tree.Head) (bool, error) {
	if h.Length == 0 {
		return true, nil
	}
	c, _, ok, err := a.history.Find(h.Length)
	if err != nil || !ok {
		return false, err
	}
	return sameRoots(c.Unverified(), h), nil
}

func sameRoots(c warg.CheckpointClaims, h tree.Head) bool {
	return c.LogLength == h.Length && c.LogRoot == h.LogRoot.AnyHash() && c.MapRoot == h.MapRoot.AnyHash()
}

// muchToReplay is how many records are worth opening the index for much, unless a test
// says otherwise.
const muchToReplay = 20_000

// extendIndex replays the journal from the index's head to the anchor.
func (a *Authority) extendIndex(ctx context.Context) error {
	return (&replayer{a: a}).extend(ctx, a.anchor.Length())
}

// extend replays the journal from the index's head to a length.
func (r *replayer) extend(ctx context.Context, to uint64) error {
	a := r.a
	from := a.index.Head().Length
	if from == to {
		return nil
	}
	a.o.Log.Info("index catches up", "from", from, "to", to)
	if to-from < cmp.Or(a.o.much, muchToReplay) {
		return r.replayInto(ctx, from, to, func(uint64) {})
	}
	if err := a.index.Bulk(to - from); err != nil {
		return err
	}
	return errors.Join(r.replayInto(ctx, from, to, a.tellReplay(from, to)), a.index.Settle())
}

// tellInterval is how often a log says how far a long replay is.
const tellInterval = 10 * time.Second

// tellReplay returns what is told how far a replay is, and logs it now and then.
func (a *Authority) tellReplay(from, to uint64) func(done uint64) {
	began := a.o.Now()
	next := began.Add(tellInterval)
	return func(done uint64) {
		now := a.o.Now()
		if done == from || now.Before(next) {
			return
		}
		next = now.Add(tellInterval)
		left := time.Duration(float64(now.Sub(began)) / float64(done-from) * float64(to-done))
		a.o.Log.Info("index is being made", "length", done, "to", to, "left", left.Round(time.Second))
	}
}

// replayer gathers frames until the next checkpoint and puts them into the index.
type replayer struct {
	a    *Authority
	lax  bool   // lines of the history may be missing; the anchor is one more
	at   uint64 // place of next in the history
	next warg.CheckpointClaims
	list []item
}

// advance finds the next checkpoint beyond a length; of several of one length the
// last counts.
func (r *replayer) advance(length uint64) error {
	for ; r.a.history != nil && r.at < r.a.history.Len(); r.at++ {
		c, err := r.a.history.At(r.at)
		if r.lax && errors.As(err, new(*anchor.DamageError)) {
			continue
		}
		if err != nil {
			return err
		}
		if r.next = c.Unverified(); r.next.LogLength > length {
			return nil
		}
	}
	if r.lax && r.a.anchor.Length() > length {
		r.next = r.a.anchor.Signed.Unverified()
	}
	return nil
}

// add takes in the next record, and commits all that it has at a checkpoint.
func (r *replayer) add(it item) error {
	r.list = append(r.list, it)
	if it.frame.Index+1 < r.next.LogLength {
		return nil
	}
	return r.commit()
}

func (r *replayer) commit() error {
	leaves := make([]warg.Leaf, len(r.list))
	for i, it := range r.list {
		leaves[i] = it.frame.Value()
	}
	u, err := r.a.index.Tree().Prepare(leaves)
	if err != nil {
		return err
	}
	if h := u.Head(); !sameRoots(r.next, h) {
		return fmt.Errorf("%w: at length %d the journal leads to roots %s and %s", errContradiction, h.Length, h.LogRoot, h.MapRoot)
	}
	if err := r.a.index.Commit(u, entries(r.list)); err != nil {
		return err
	}
	r.list = r.list[:0]
	return r.advance(r.next.LogLength)
}

// replayOperators replays the operator log. Its records were verified when they
// were signed for, and are verified again: there are few.
func (a *Authority) replayOperators() error {
	length := a.index.Head().Length
	l, ok, err := a.index.Log(warg.OperatorLogID, length)
	switch {
	case err != nil:
		return err
	case !ok && length > 0:
		return fmt.Errorf("%w: it has lost the operator log, which comes first", index.ErrCorrupt)
	case !ok:
		return nil
	}
	places, err := a.index.Places(warg.OperatorLogID, 0, l.Count)
	if err != nil {
		return err
	}
	for _, p := range places {
		f, err := a.journal.Read(p.Position)
		if err != nil {
			return err
		}
		if err := a.ops.apply(f.Index, f.Envelope); err != nil {
			return fmt.Errorf("replaying operator log at index %d: %w", f.Index, err)
		}
	}
	return nil
}

// replay replays a package log from the journal. Everything in it was verified
// before it was signed for.
func (a *Authority) replay(log warg.LogID) (*pkglog.State, int, error) {
	state := new(pkglog.State)
	l, ok, err := a.index.Log(log, a.index.Head().Length)
	if err != nil || !ok {
		return state, 0, err
	}
	places, err := a.index.Places(log, 0, l.Count)
	if err != nil {
		return nil, 0, err
	}
	for _, p := range places {
		if err := a.replayRecord(state, log, p); err != nil {
			return nil, 0, fmt.Errorf("record at index %d: %w", p.Index, err)
		}
	}
	return state, len(places), nil
}

func (a *Authority) replayRecord(state *pkglog.State, log warg.LogID, p index.Place) error {
	f, err := a.read(log, p)
	if err != nil {
		return err
	}
	rec, err := pkglog.Decode(f.Envelope.Content)
	if err != nil {
		return err
	}
	return state.Apply(rec, f.Envelope, pkglog.SignatureVerified)
}

// read reads a record of a log from the journal.
func (a *Authority) read(log warg.LogID, p index.Place) (journal.Frame, error) {
	f, err := a.journal.Read(p.Position)
	if err == nil && (f.Log != log || f.Record != p.Record || f.Index != p.Index) {
		err = fmt.Errorf("%w: another record stands at index %d", index.ErrCorrupt, p.Index)
	}
	return f, err
}

// runTail sequences what stands in the journal above the anchor: a batch that was
// written, and nobody was told about. It is cut where it cannot be continued.
func (a *Authority) runTail() error {
	frames, places := a.journal.Tail()
	b := &batch{}
	defer func() {
		for _, l := range b.held {
			a.states.release(l)
		}
	}()
	for i, f := range frames {
		it, err := a.validateFrame(b, f)
		if err != nil {
			a.o.Log.Warn("journal is cut above the anchor", "index", f.Index, "records", len(frames)-i, "error", err)
			cut := trail.Event{Kind: trail.Cut, Index: trail.Number(f.Index), Records: uint64(len(frames) - i), Reason: err.Error()}
			if err := a.note(cut); err != nil {
				return err
			}
			if err := a.journal.Cut(f.Index); err != nil {
				return err
			}
			break
		}
		it.place = places[i]
		b.items = append(b.items, it)
	}
	if len(b.items) == 0 {
		return nil
	}
	if err := a.journal.Sync(); err != nil {
		return err
	}
	return a.publish(b)
}

// validateFrame validates a frame of the tail as if its record had just come.
func (a *Authority) validateFrame(b *batch, f journal.Frame) (item, error) {
	it := item{frame: f}
	if _, known, err := a.index.RecordOf(f.Log, f.Record); known || err != nil {
		return it, errors.Join(err, fmt.Errorf("record %s is known already", f.Record))
	}
	if f.Kind == journal.Operator {
		return it, a.ops.apply(f.Index, f.Envelope)
	}
	rec, err := pkglog.Decode(f.Envelope.Content)
	if err != nil {
		return it, err
	}
	l, err := a.states.acquire(f.Log)
	if err != nil {
		return it, err
	}
	b.held = append(b.held, l)
	it.time, it.contents = rec.Time, released(rec)
	return it, a.states.apply(l, rec, f.Envelope, pkglog.CheckSignature)
}
