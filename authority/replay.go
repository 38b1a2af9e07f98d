package authority

import (
	"context"
	"fmt"

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
func (a *Authority) replayInto(ctx context.Context, from, to uint64, progress func(done uint64)) error {
	r := &replayer{a: a}
	if from > 0 {
		_, at, _, err := a.history.Find(from)
		if err != nil {
			return err
		}
		r.at = at
	}
	if err := r.advance(from); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan []item, replayAhead)
	var reading error // of the reader, valid once chunks is closed
	go func() {
		defer close(chunks)
		reading = a.readItems(ctx, from, to, chunks)
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
	return a.journal.Scan(from, to, func(f journal.Frame, p journal.Position) error {
		it, err := itemOf(f, p)
		if err != nil {
			return err
		}
		if chunk = append(chunk, it); len(chunk) < replayChunk && f.Index+1 < to {
			return nil
		}
		select {
		case chunks <- chunk:
			chunk = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// itemOf returns a record of the journal as one of a batch.
func itemOf(f journal.Frame, p journal.Position) (item, error) {
	it := item{frame: f, place: p}
	if f.Kind == journal.Package {
		rec, err := pkglog.Decode(f.Envelope.Content)
		if err != nil {
			return it, fmt.Errorf("%w: record at index %d: %w", errContradiction, f.Index, err)
		}
		it.contents = released(rec)
	}
	return it, nil
}
