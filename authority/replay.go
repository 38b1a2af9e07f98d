package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/warg/pkglog"
)

const (
	// replayChunk is how many records are handed on at a time: enough that handing on
	// costs nothing.
	replayChunk = 256
	// replayAhead is how many chunks may wait: half a megabyte or so.
	replayAhead = 4
)

// replayInto puts the records of the journal from a length of the index to another one
// into the index, checkpoint by checkpoint. One goroutine reads and decodes while this
// one computes trees; a third writes, if the index was opened for much.
func (r *replayer) replayInto(ctx context.Context, from, to uint64, progress func(done uint64)) error {
	if from > 0 && r.a.history != nil {
		_, at, _, err := r.a.history.Find(from)
		switch {
		case r.lax && errors.As(err, new(*anchor.DamageError)): // from the first line on, then
		case err != nil:
			return err
		default:
			r.at = at
		}
	}
	if err := r.advance(from); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan []item, replayAhead)
	var reading error // of the reader, valid once chunks is closed
	go func() {
		defer close(chunks)
		reading = r.a.readItems(ctx, from, to, chunks)
	}()
	err := r.takeAll(ctx, chunks, progress)
	cancel()
	for range chunks { // the reader may not outlive this call
	}
	if err != nil {
		return err
	}
	return reading
}

// takeAll adds records as they come.
func (r *replayer) takeAll(ctx context.Context, chunks <-chan []item, progress func(done uint64)) error {
	for chunk := range chunks {
		progress(chunk[0].frame.Index)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, it := range chunk {
			if err := r.add(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// readItems reads the records of the journal from an index on and below another one.
func (a *Authority) readItems(ctx context.Context, from, to uint64, chunks chan<- []item) error {
	var chunk []item
	send := func() error {
		select {
		case chunks <- chunk:
			chunk = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := a.journal.Scan(from, to, func(f journal.Frame, p journal.Position) error {
		it, err := itemOf(f, p)
		if err != nil {
			return err
		}
		if chunk = append(chunk, it); len(chunk) < replayChunk && f.Index+1 < to {
			return nil
		}
		return send()
	})
	if err != nil && len(chunk) > 0 {
		return errors.Join(err, send()) // what stands before damage may be all there is
	}
	return err
}

// itemOf returns a record of the journal as one of a batch. It was validated before it was
// signed for, and the roots will show that it is the one: only what it releases is looked at.
func itemOf(f journal.Frame, p journal.Position) (item, error) {
	it := item{frame: f, place: p}
	if f.Kind != journal.Package {
		return it, nil
	}
	releases, err := pkglog.Releases(f.Envelope.Content)
	if err != nil {
		return it, fmt.Errorf("%w: record at index %d: %w", errContradiction, f.Index, err)
	}
	for _, r := range releases {
		if d, err := r.Content.Digest(); err == nil {
			it.contents = append(it.contents, d)
		}
	}
	return it, nil
}
