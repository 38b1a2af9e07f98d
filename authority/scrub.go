package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/segment"
	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/scrub"
	"github.com/entrepot/entrepot/warg"
)

// Scrubs returns what of this registry is read again in the background. Damage of what
// was signed for fences it; damaged content is withheld, and fetched from wherever
// Options.Heal says.
func (a *Authority) Scrubs() []scrub.Source {
	return []scrub.Source{
		{Name: "journal", Items: a.sealedSegments, Check: a.scrubSegment},
		{Name: "history", Items: func() ([]string, error) { return []string{historyFile}, nil }, Check: a.scrubHistory},
		{Name: "content", Items: a.content.Folders, Check: a.scrubContent},
	}
}

// Busy reports whether records are on their way.
func (a *Authority) Busy() bool {
	s := a.Status()
	return s.Pending > s.Waiting
}

// sealedSegments returns the numbers of all segments but the one that is written.
func (a *Authority) sealedSegments() ([]string, error) {
	numbers, err := a.segments(logDir).Numbers()
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	var names []string
	for _, n := range numbers[:len(numbers)-1] {
		names = append(names, fmt.Sprintf("%020d", n))
	}
	return names, nil
}

// scrubSegment verifies every frame of a sealed segment, and its footer, which covers
// them all. What seems damaged is read once more.
func (a *Authority) scrubSegment(ctx context.Context, item string, pace scrub.Pace) (damaged int, err error) {
	var number uint64
	if _, err := fmt.Sscanf(item, "%d", &number); err != nil {
		return 0, err
	}
	var why error
	for range 2 {
		if why, err = a.readSegment(number, pace); err != nil || why == nil || ctx.Err() != nil {
			return 0, errors.Join(err, ctx.Err())
		}
	}
	a.logDamaged(filepath.Join(a.path(logDir), item), why)
	return 1, nil
}

// readSegment says why a sealed segment is not what was written; err is about reading.
func (a *Authority) readSegment(number uint64, pace scrub.Pace) (why, err error) {
	r, err := a.segments(logDir).OpenReader(number)
	if errors.As(err, new(*segment.DamageError)) || errors.Is(err, fs.ErrNotExist) {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	durable.Forget(r.Bytes())
	const frame = 8 // bytes in front of each payload
	end, err := r.Scan(false, func(_ segment.Position, payload []byte) error { return pace(frame + len(payload)) })
	switch {
	case err != nil:
		return nil, err
	case end.Bad != "":
		return &segment.DamageError{Path: r.Path(), Offset: end.Offset, Reason: end.Bad}, nil
	case end.Footer == nil, end.Offset+end.Footer.Size() != r.Size():
		return &segment.DamageError{Path: r.Path(), Offset: end.Offset, Reason: "the frames end before the footer does"}, nil
	}
	return nil, nil
}

// scrubHistory verifies every checkpoint of the history that there was when it began.
func (a *Authority) scrubHistory(ctx context.Context, _ string, pace scrub.Pace) (damaged int, err error) {
	var why error
	for range 2 {
		if why, err = a.readHistory(pace); err != nil || why == nil || ctx.Err() != nil {
			return 0, errors.Join(err, ctx.Err())
		}
	}
	a.logDamaged(a.path(historyFile), why)
	return 1, nil
}

func (a *Authority) readHistory(pace scrub.Pace) (why, err error) {
	if a.history == nil {
		return nil, nil // it could not be opened, which has fenced the registry
	}
	count := a.history.Len()
	r, err := anchor.ReadHistory(a.fs, a.path(historyFile), a.registry)
	if errors.As(err, new(*anchor.DamageError)) || errors.Is(err, fs.ErrNotExist) {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	durable.Forget(r.Bytes())
	before := r.Offset()
	for range count {
		_, ok, err := r.Next()
		switch {
		case errors.As(err, new(*anchor.DamageError)):
			return err, nil
		case err != nil:
			return nil, err
		case !ok:
			return &anchor.DamageError{Path: a.path(historyFile), Block: count, Reason: "it ends early"}, nil
		}
		if err := pace(int(r.Offset() - before)); err != nil {
			return nil, err
		}
		before = r.Offset()
	}
	return nil, nil
}

// logDamaged fences the registry: what it signed for is not there as it was any more.
func (a *Authority) logDamaged(file string, why error) {
	a.damageNoted(file, why)
	a.setFence(FenceBehind, "%v", why)
}

func (a *Authority) damageNoted(file string, why error) {
	a.o.Log.Error("scrubbing found damage", "file", file, "error", why)
	if err := a.note(trail.Event{Kind: trail.Damaged, File: file, Reason: why.Error()}); err != nil {
		a.o.Log.Error("damage is not in the audit log", "error", err)
	}
}

// scrubContent verifies the content in one folder. What is damaged has been moved aside
// by then, is withheld, and is put back from elsewhere if that is possible.
func (a *Authority) scrubContent(ctx context.Context, folder string, pace scrub.Pace) (damaged int, err error) {
	err = a.content.Scrub(folder, pace.Reader, func(c *cas.CorruptError) {
		damaged++
		a.small.Remove(c.Digest)
		a.damageNoted(c.Moved, c)
		a.healContent(ctx, c.Digest)
	})
	return damaged, err
}

// healContent puts content back that was damaged.
func (a *Authority) healContent(ctx context.Context, d warg.Digest) {
	if a.o.Heal == nil || a.index == nil || !a.room(admissionRoom) {
		return
	}
	err := a.o.Heal(ctx, d, func(body io.Reader) error {
		_, err := a.content.Put(d, body, cas.Checks{MaxSize: a.o.Limits.ContentSize})
		return err
	})
	var fault *cas.StoreError
	switch {
	case errors.As(err, &fault):
		a.fail(fault)
	case err != nil:
		a.o.Log.Error("damaged content cannot be fetched from elsewhere", "digest", d.String(), "error", err)
	default:
		a.o.Log.Warn("damaged content was fetched from elsewhere", "digest", d.String())
	}
}
