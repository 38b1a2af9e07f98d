package upstream

import (
	"context"
	"errors"
	"fmt"

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
	if err != nil {
		return err
	}
	if edge.Root() == h.view.LogRoot {
		return s.leavesNobodyBehind(h.view.LogLength, loaded.cp.LogLength)
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

// leavesNobodyBehind fails if an offline replica would get to know that packages
// which it has were changed, without the records of that. Nobody could fetch those,
// and clients could verify these packages no more.
func (s *Stage) leavesNobodyBehind(from, to uint64) error {
	if !s.of.o.Offline {
		return nil
	}
	behind := make(map[warg.LogID]bool)
	for at := from; at < to; {
		packed, err := s.scratch.o.Store.Ledger(at, int(min(to-at, ledgerChunk)))
		if err != nil {
			return err
		}
		leaves := unpack(packed)
		if len(leaves) == 0 {
			return fmt.Errorf("the scratch store ends at %d of %d leaves", at, to)
		}
		for _, l := range leaves {
			if _, known := behind[l.LogID]; known || l.LogID == warg.OperatorLogID {
				continue
			}
			_, before, err := s.of.o.Store.Log(l.LogID)
			if err != nil {
				return err
			}
			all, carried, err := s.scratch.o.Store.Log(l.LogID)
			if err != nil {
				return err
			}
			behind[l.LogID] = before > 0 && carried < all
		}
		at += uint64(len(leaves))
	}
	n := 0
	for _, is := range behind {
		if is {
			n++
		}
	}
	if n > 0 {
		return missingBase("it leads to length %d, where %d packages that are held here have records that it does not carry; clients could not verify these packages any more, so have them exported as well", to, n)
	}
	return nil
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

// Commit takes what was loaded over into the replicas, all of it or nothing. Where an
// archive is older, or the same, only what is not held is added. Nothing but a lack of
// space, a broken disk, or a change of the archive while it is read can keep it from
// succeeding; then no client sees anything of it, and importing again completes it. The
// order:
//
//	content → leaves → records and names, of one registry after another
//	→ lengths and head durable → served, of one registry after another
//
// Each head is a file of its own: if writing one fails, or the process ends while they are
// written, the registries before it are served as they are in the archive and the others
// as they were; that one, after a restart, perhaps at a checkpoint in between. Each is a
// state that the registry signed, and all of it is here.
//
// Stages come in the order of their domains, so that of two imports one waits for the
// other. progress is told how many bytes of content of a registry were copied.
func Commit(ctx context.Context, stages []*Stage, progress func(domain string, n int64)) ([]Imported, error) {
	moves := make([]*move, len(stages))
	done := make([]Imported, len(stages))
	for i, s := range stages {
		if err := s.of.seize(ctx); err != nil {
			return nil, err
		}
		defer s.of.refreshes.land(struct{}{}, nil)
		if err := s.of.heal(); err != nil {
			return nil, err
		}
		done[i] = Imported{Domain: s.o.Domain, From: s.of.trusted.current().view.LogLength}
		moves[i] = &move{s: s, done: &done[i], progress: func(n int64) { progress(s.o.Domain, n) }}
	}
	for _, s := range stages {
		if err := s.Judge(); err != nil { // a refresh may have come between
			return nil, err
		}
	}
	for _, step := range []func(*move) error{
		func(m *move) error { return m.store(ctx) },
		func(m *move) error { return m.show() },
	} {
		for _, m := range moves {
			if err := step(m); err != nil {
				return nil, fmt.Errorf("storing what the archive has of registry `%s`: %w", m.s.o.Domain, err)
			}
		}
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
