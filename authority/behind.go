package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// This file is about what is served behind a fence that was raised while opening: what
// was published once stays published, whatever came after it. So records and content are
// served as far as a checkpoint covers them that we know we signed. Nothing of the truth
// is written; the index is, up to such a checkpoint and never beyond, so that it does not
// claim more than was signed for when somebody is asked for a word.

// openFenced opens what can be served without knowing what the newest checkpoint is. What
// cannot be opened is not served; that is no error.
func (a *Authority) openFenced(ctx context.Context) error {
	err := a.openBehind(ctx)
	if isCorrupt(err) && a.index != nil {
		a.o.Log.Warn("index is made anew: it is damaged", "error", err)
		if err = a.index.Reset(); err == nil {
			err = a.openBehind(ctx)
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	a.o.Log.Warn("authority serves nothing but its fence", "error", err)
	if a.index != nil {
		err = a.index.Close()
		a.index = nil
		if err != nil {
			a.o.Log.Warn("closing the index", "error", err)
		}
	}
	return nil
}

// openBehind opens history, journal and index as far as they are not open and can be, and
// brings the index to the newest checkpoint that is known.
func (a *Authority) openBehind(ctx context.Context) (err error) {
	if a.registry.IsZero() {
		found, ok, err := a.registryOfSegments()
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("there is no segment that says which registry it is of")
		}
		a.registry = found
	}
	if a.history == nil {
		if a.history, err = anchor.OpenHistory(a.fs, a.path(historyFile), a.registry); err != nil {
			a.o.Log.Warn("the history of checkpoints is not used", "error", err)
			a.history = nil
		}
	}
	newest, err := a.newestKnown()
	if err != nil {
		return err
	}
	if a.index == nil {
		if a.index, err = index.Open(a.indexOptions()); err != nil {
			a.index = nil
			return err
		}
	}
	if err := a.lookBehind(newest.Unverified().LogLength); err != nil {
		a.o.Log.Warn("the journal is not read: the index is served as it stands", "error", err)
		return nil
	}
	extended, err := a.extendBehind(ctx, newest)
	if err != nil {
		return err
	}
	if err := a.replayOperators(); err != nil {
		a.o.Log.Warn("the operator log is not known", "error", err)
	}
	if err := a.signedByUs(newest); extended && err != nil {
		return errors.Join(fmt.Errorf("the newest checkpoint that is here: %w", err), a.index.Reset())
	}
	return nil
}

// newestKnown returns the newest checkpoint of anchor and history, a zero one if there is
// none. Lines that are damaged are passed over.
func (a *Authority) newestKnown() (warg.SignedCheckpoint, error) {
	newest := a.anchor.Signed
	for i := a.historyLen(); i > 0; i-- {
		c, err := a.history.At(i - 1)
		if errors.As(err, new(*anchor.DamageError)) {
			continue
		}
		if err == nil && (newest.IsZero() || before(newest.Unverified(), c.Unverified())) {
			newest = c
		}
		return newest, err
	}
	return newest, nil
}

func (a *Authority) historyLen() uint64 {
	if a.history == nil {
		return 0
	}
	return a.history.Len()
}

// lookBehind opens the journal to be read, or as much of it as there is. Where not even
// its first segment can be read there is no journal, and an error.
func (a *Authority) lookBehind(length uint64) error {
	if a.journal != nil {
		return nil
	}
	j, err := journal.Look(a.segments(logDir), a.registry, length)
	if errors.As(err, new(*journal.Damage)) {
		a.o.Log.Warn("the journal is not what was signed for", "error", err)
		j, err = journal.LookShort(a.segments(logDir), a.registry)
	}
	if err != nil {
		return err
	}
	a.journal = j
	return nil
}

// extendBehind brings the index to the newest checkpoint that is known, or to an older
// one where the journal does not lead further, and reports whether it tried. An index that
// is ahead stays so: that is what proves that more was issued.
func (a *Authority) extendBehind(ctx context.Context, newest warg.SignedCheckpoint) (bool, error) {
	head, to := a.index.Head(), newest.Unverified().LogLength
	if head.Length >= min(to, a.journal.Length()) {
		return false, nil
	}
	switch contradicts, err := a.contradicts(head); {
	case err != nil:
		return false, err
	case contradicts:
		return false, fmt.Errorf("%w: it is of another history", index.ErrCorrupt)
	}
	err := (&replayer{a: a, lax: true}).extend(ctx, min(to, a.journal.Length()))
	switch {
	case errors.As(err, new(*journal.Damage)), errors.Is(err, errContradiction):
		a.o.Log.Warn("the index ends before what was signed for", "from", a.index.Head().Length, "to", to, "error", err)
		return true, nil
	case err != nil:
		return true, err
	}
	return true, nil
}

// contradicts reports whether a checkpoint of the index's length is known, and it has
// other roots. One of a line that is lost contradicts nothing.
func (a *Authority) contradicts(h tree.Head) (bool, error) {
	if a.anchor.Length() == h.Length {
		return h.Length > 0 && !sameRoots(a.anchor.Signed.Unverified(), h), nil
	}
	if a.history == nil || h.Length == 0 {
		return false, nil
	}
	c, _, ok, err := a.history.Find(h.Length)
	if errors.As(err, new(*anchor.DamageError)) {
		return false, nil
	}
	return ok && !sameRoots(c.Unverified(), h), err
}
