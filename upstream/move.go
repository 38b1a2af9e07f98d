package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/warg"
)

// movers is how many contents, or logs, are copied at a time. What takes the time is
// waiting for the store to commit.
const movers = 16

// recordsAtATime bounds what each of them has in memory.
const recordsAtATime = 64

// move copies from the scratch store and the cargoes into the replica's store.
type move struct {
	s *Stage

	head *view // what is to be served, once everything of it is stored; nil = nothing else

	mu       sync.Mutex // guards what follows
	done     *Imported
	progress func(n int64)
}

// each calls f for everything in a sequence, several at a time.
func each[T any](ctx context.Context, seq iter.Seq2[T, error], f func(context.Context, T) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(movers)
	for v, err := range seq {
		if err != nil {
			work.Go(func() error { return err })
		}
		if err != nil || ctx.Err() != nil {
			break
		}
		work.Go(func() error { return f(ctx, v) })
	}
	return work.Wait()
}

// store copies everything and shows nothing that was not shown before.
func (m *move) store(ctx context.Context) error {
	for _, c := range m.s.cargoes {
		err := each(ctx, c.Contents(), func(ctx context.Context, stat warg.ContentInfo) error { return m.content(ctx, c, stat) })
		if err != nil {
			return err
		}
	}
	loaded, h := m.s.scratch.view.Load(), m.s.of.trusted.current()
	longer := h.Format == 0 || loaded.cp.LogLength > h.view.LogLength
	lost := m.s.of.view.Load() == nil && loaded.cp.LogLength == h.view.LogLength
	if longer || lost {
		if err := m.leaves(ctx); err != nil {
			return err
		}
	}
	for _, c := range m.s.cargoes {
		if err := each(ctx, c.Packages(), m.log); err != nil {
			return err
		}
	}
	if err := m.s.of.o.Store.Sync(); err != nil {
		return err
	}
	newer := loaded.cp.LogLength == h.view.LogLength && loaded.cp.Timestamp > h.view.Timestamp
	if !longer && !lost && !newer {
		return nil
	}
	if lost && !newer {
		loaded = &view{h.signed, h.view, loaded.op, 0}
	}
	m.head = &view{loaded.signed, loaded.cp, loaded.op, m.s.of.epoch.Load()}
	return nil
}

// show makes what was stored the head, and serves it.
func (m *move) show() error {
	if m.head != nil {
		older := m.s.scratch.trusted.signedBeyond(m.s.of.trusted.longest())
		if err := m.s.of.acceptAll(older, m.head); err != nil {
			return err
		}
	}
	m.done.To = m.s.of.trusted.current().view.LogLength
	return nil
}

// content copies content unless it is held. It is pinned either way: no upstream may
// be there to fetch it from again.
func (m *move) content(ctx context.Context, c Cargo, stat warg.ContentInfo) error {
	store := m.s.of.o.Store
	if p, ok := store.(Pinner); ok {
		if err := p.PinContent(stat.Digest); err != nil {
			return err
		}
	}
	_, err := store.StatContent(stat.Digest)
	missing := errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound})
	if missing {
		err = c.Fetch(ctx, stat.Digest, func(body io.Reader, size int64) error {
			return store.PutContent(ctx, stat.Digest, body, size)
		})
	}
	if err != nil {
		return fmt.Errorf("content `%s`: %w", stat.Digest, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if missing {
		m.done.Contents++
		m.done.ContentBytes += uint64(stat.Size)
	}
	m.progress(stat.Size)
	return nil
}

// leaves extends the replica's trees up to the loaded length, with a stop at every
// length that was accepted here or there, and brings the operator log.
func (m *move) leaves(ctx context.Context) error {
	from, to := m.s.scratch.o.Store, m.s.of.o.Store
	goal := m.s.scratch.view.Load().cp
	at := to.Trees().LogLength
	if at > goal.LogLength { // after a crash while something longer was being fetched
		if ok, err := to.HasLength(goal.LogLength); err != nil || !ok {
			return errors.Join(err, warg.Errorf(warg.KindNotFound, "an import that leads to length %d was interrupted; import that archive again", at))
		}
	}
	for _, b := range mergeViews(m.s.scratch.trusted.beyond(at), m.s.of.trusted.beyond(at), goal.LogLength) {
		for at < b.LogLength {
			packed, err := from.Ledger(at, int(min(b.LogLength-at, ledgerChunk)))
			if err != nil {
				return err
			}
			leaves := unpack(packed)
			if len(leaves) == 0 {
				return fmt.Errorf("the scratch store ends at %d of %d leaves", at, b.LogLength)
			}
			var accept func(warg.Checkpoint) error
			if at += uint64(len(leaves)); at == b.LogLength {
				accept = func(got warg.Checkpoint) error { return sameRoots(got, b) }
			}
			if err := to.Extend(ctx, leaves, accept); err != nil {
				return err
			}
		}
	}
	_, err := m.copyRecords(ctx, warg.OperatorLogID)
	return err
}

// mergeViews returns the checkpoints of two ascending lists up to a length, ascending,
// one of each length.
func mergeViews(a, b []warg.Checkpoint, upTo uint64) (all []warg.Checkpoint) {
	for len(a) > 0 || len(b) > 0 {
		var next warg.Checkpoint
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].LogLength < b[0].LogLength:
			next, a = a[0], a[1:]
		case len(a) > 0 && a[0].LogLength == b[0].LogLength:
			a = a[1:]
			fallthrough
		default:
			next, b = b[0], b[1:]
		}
		if next.LogLength <= upTo {
			all = append(all, next)
		}
	}
	return all
}

// log brings the records and the name of a package log.
func (m *move) log(ctx context.Context, l CargoLog) error {
	if l.Count > 0 {
		n, err := m.copyLog(ctx, l.LogID)
		if err != nil {
			return fmt.Errorf("log `%s`: %w", l.LogID, err)
		}
		if n > 0 {
			m.mu.Lock()
			m.done.Packages++
			m.done.Records += n
			m.mu.Unlock()
		}
	}
	if !l.Named {
		return nil
	}
	name, ok, err := m.s.scratch.o.Store.Name(l.LogID)
	if err != nil || !ok {
		return err
	}
	if _, held, err := m.s.of.o.Store.Name(l.LogID); err != nil || held {
		return err
	}
	return m.s.of.o.Store.PutName(l.LogID, name)
}

// copyLog copies records while nobody else fetches that log.
func (m *move) copyLog(ctx context.Context, log warg.LogID) (n uint64, err error) {
	r := m.s.of
	for {
		mine, all := r.logs.join([]warg.LogID{log})
		if len(mine) > 0 {
			break
		}
		_ = wait(ctx, all)
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	n, err = m.copyRecords(ctx, log)
	r.logs.land(log, err)
	return n, err
}

// copyRecords copies the records of a log that are not held. They were verified in
// the scratch store; that they are those of our ledger is looked at once more.
func (m *move) copyRecords(ctx context.Context, log warg.LogID) (n uint64, err error) {
	from, to := m.s.scratch.o.Store, m.s.of.o.Store
	leaves, held, err := to.Log(log)
	if err != nil {
		return n, err
	}
	for held < leaves {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		page, err := from.Records(log, held, recordsAtATime)
		if err != nil {
			return n, err
		}
		if len(page) == 0 {
			return n, nil // ours is longer
		}
		for i, rec := range page {
			index, id, ok, err := to.Position(log, held+uint64(i))
			if err != nil {
				return n, err
			}
			if !ok || index != rec.Index || id != rec.RecordID(log) {
				return n, fmt.Errorf("record %d is not the one in the ledger", held+uint64(i))
			}
		}
		if err := to.PutRecords(log, held, page); err != nil {
			return n, err
		}
		m.s.of.stored(page)
		held += uint64(len(page))
		n += uint64(len(page))
	}
	return n, nil
}
