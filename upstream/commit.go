package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/warg"
)

// Imported says what an import brought to a replica. What was here already is not
// counted.
type Imported struct {
	Domain       string `json:"domain"`
	From         uint64 `json:"from"` // length before
	To           uint64 `json:"to"`   // length after
	Packages     uint64 `json:"packages"`
	Records      uint64 `json:"records"`
	Contents     uint64 `json:"contents"`
	ContentBytes uint64 `json:"contentBytes"`
}

// Pinner is a [Store] that evicts content. What was pinned it keeps, whether it was
// put before or after.
type Pinner interface {
	PinContent(digest warg.Digest) error
}

// Judge fails if what was loaded contradicts what the replica accepted before, which
// quarantines it, or if it cannot be compared with that.
func (s *Stage) Judge() error {
	if err := s.judge(); err != nil {
		return fmt.Errorf("comparing the archive with what is known of registry `%s`: %w", s.o.Domain, s.convict(err))
	}
	return nil
}

func (s *Stage) judge() error {
	r, loaded := s.of, s.scratch.view.Load()
	h := r.trusted.current()
	switch {
	case h.Quarantine != nil:
		return warg.Errorf(warg.KindUpstreamInvalid, "it is quarantined (%s: %s) and believed nothing more until an operator decides", h.Quarantine.Class, h.Quarantine.Reason)
	case h.Format == 0:
		return nil
	case loaded.cp.LogLength < h.view.LogLength:
		return s.judgeOlder(h, loaded)
	case loaded.cp.LogLength == h.view.LogLength && !loaded.cp.SameView(h.view):
		return twoOfOneLength(&view{signed: h.signed, cp: h.view, op: loaded.op}, loaded.signed)
	}
	edge, err := edgeAt(s.scratch.o.Store, h.view.LogLength)
	if err != nil || edge.Root() == h.view.LogRoot {
		return err
	}
	proof, err := s.scratch.o.Store.ProveConsistency(h.view.LogLength, loaded.cp.LogLength)
	if err != nil {
		return err
	}
	return &contradiction{
		class:    ClassEquivocation,
		reason:   fmt.Sprintf("the log of length %d does not extend the log of length %d", loaded.cp.LogLength, h.view.LogLength),
		believed: h.signed, refused: loaded.signed, op: loaded.op, consistency: proof,
	}
}

// judgeOlder judges what is shorter than the head. If it is true, it changes nothing
// of what is served, but what was lost may be restored from it.
func (s *Stage) judgeOlder(h head, loaded *view) error {
	if served := s.of.view.Load(); served != nil && served.cp.LogLength == h.view.LogLength {
		return s.of.weigh(loaded.signed)
	}
	return warg.Errorf(warg.KindNotFound, "it leads to length %d, and length %d was served here before the cache was lost; import the archives up to that length together", loaded.cp.LogLength, h.view.LogLength)
}

// Room returns how many bytes of content the replica does not hold, and will get.
func (s *Stage) Room() (n int64, err error) {
	for _, c := range s.cargoes {
		for stat, err := range c.Contents() {
			if err != nil {
				return n, err
			}
			_, err := s.of.o.Store.StatContent(stat.Digest)
			switch {
			case errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}):
				n += stat.Size
			case err != nil:
				return n, err
			}
		}
	}
	return n, nil
}

// Commit takes what was loaded over into the replica. Where the archive is older, or
// the same, only what is not held is added. Nothing but a lack of space, a broken
// disk, or a change of the archive while it is read can keep it from succeeding; then
// no client sees anything of it, and importing again completes it. The order:
//
//	content → leaves → records and names → lengths and head durable → served
//
// progress, if not nil, is told how many bytes of content were copied.
func (s *Stage) Commit(ctx context.Context, progress func(n int64)) (Imported, error) {
	r := s.of
	if err := r.seize(ctx); err != nil {
		return Imported{}, err
	}
	defer r.refreshes.land(struct{}{}, nil)
	done := Imported{Domain: s.o.Domain, From: r.trusted.current().view.LogLength}
	if err := r.heal(); err != nil {
		return done, err
	}
	if err := s.Judge(); err != nil { // a refresh may have come between
		return done, err
	}
	m := &move{s: s, done: &done, progress: progress}
	err := m.run(ctx)
	done.To = r.trusted.current().view.LogLength
	if err != nil {
		return done, fmt.Errorf("storing what the archive has of registry `%s`: %w", s.o.Domain, err)
	}
	return done, nil
}

// seize keeps refreshes away until the caller lands theirs.
func (r *Replica) seize(ctx context.Context) error {
	for {
		mine, all := r.refreshes.join([]struct{}{{}})
		if len(mine) > 0 {
			return nil
		}
		_ = wait(ctx, all) // how it ends is the business of those who wanted it
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// move copies from the scratch store and the cargoes into the replica's store.
type move struct {
	s        *Stage
	done     *Imported
	progress func(n int64)
}

func (m *move) run(ctx context.Context) error {
	for _, c := range m.s.cargoes {
		for stat, err := range c.Contents() {
			if err == nil {
				err = m.content(ctx, c, stat)
			}
			if err != nil {
				return err
			}
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
		for l, err := range c.Packages() {
			if err == nil {
				err = m.log(ctx, l)
			}
			if err != nil {
				return err
			}
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
	older := m.s.scratch.trusted.signedBeyond(m.s.of.trusted.longest())
	return m.s.of.acceptAll(older, &view{loaded.signed, loaded.cp, loaded.op, m.s.of.epoch.Load()})
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
	if errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		err = c.Fetch(ctx, stat.Digest, func(body io.Reader, size int64) error {
			return store.PutContent(ctx, stat.Digest, body, size)
		})
		m.done.Contents++
		m.done.ContentBytes += uint64(stat.Size)
	}
	if err != nil {
		return fmt.Errorf("content `%s`: %w", stat.Digest, err)
	}
	if m.progress != nil {
		m.progress(stat.Size)
	}
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
	return m.copyRecords(ctx, warg.OperatorLogID)
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
	before := m.done.Records
	if l.Count > 0 {
		if err := m.copyLog(ctx, l.LogID); err != nil {
			return fmt.Errorf("log `%s`: %w", l.LogID, err)
		}
	}
	if m.done.Records > before {
		m.done.Packages++
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
func (m *move) copyLog(ctx context.Context, log warg.LogID) error {
	r := m.s.of
	for {
		mine, all := r.logs.join([]warg.LogID{log})
		if len(mine) > 0 {
			break
		}
		_ = wait(ctx, all)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	err := m.copyRecords(ctx, log)
	r.logs.land(log, err)
	return err
}

// copyRecords copies the records of a log that are not held. They were verified in
// the scratch store; that they are those of our ledger is looked at once more.
func (m *move) copyRecords(ctx context.Context, log warg.LogID) error {
	from, to := m.s.scratch.o.Store, m.s.of.o.Store
	leaves, held, err := to.Log(log)
	if err != nil {
		return err
	}
	for held < leaves {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := from.Records(log, held, warg.MaxFetchLimit)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil // ours is longer
		}
		for i, rec := range page {
			index, id, ok, err := to.Position(log, held+uint64(i))
			if err != nil {
				return err
			}
			if !ok || index != rec.Index || id != rec.RecordID(log) {
				return fmt.Errorf("record %d is not the one in the ledger", held+uint64(i))
			}
		}
		if err := to.PutRecords(log, held, page); err != nil {
			return err
		}
		held += uint64(len(page))
		if log != warg.OperatorLogID {
			m.done.Records += uint64(len(page))
		}
	}
	return nil
}
