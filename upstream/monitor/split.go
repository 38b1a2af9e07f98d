package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Board is where watchers of one run show each other what they were shown. A registry
// that is watched at several addresses, at mirrors of it for example, may show each of
// them another history, and no single watcher would notice. The zero Board is empty.
type Board struct {
	mu      sync.Mutex
	notices []notice
}

// notice is the longest checkpoint that somebody proved to fit all that he saw.
type notice struct {
	by       string // address
	registry hash   // id of its first operator record
	checkpoint
}

// post replaces the notice of a watcher.
func (b *Board) post(n notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notices = slices.DeleteFunc(b.notices, func(o notice) bool { return o.by == n.by })
	b.notices = append(b.notices, n)
}

// others returns the notices of other watchers about the same registry.
func (b *Board) others(n notice) (list []notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.notices {
		if o.by != n.by && o.registry == n.registry {
			list = append(list, o)
		}
	}
	return list
}

// Compare judges what other watchers were shown of the same registry, as if it had been
// shown here: the same operator log began it, so the same keys must answer for it. Of
// two watchers the one whose log is longer can judge the other's. A contradiction is
// evidence, whichever of both histories is the wrong one.
//
// Look compares as well, with what is on the board then; whoever looks only once
// compares when all have looked.
func (w *Watcher) Compare(ctx context.Context, r Report) (Report, error) {
	longest := w.state.longest()
	if w.o.Board == nil || longest.length == 0 || !r.fine() || len(w.op.ids) == 0 {
		return r, nil
	}
	own, err := w.state.signed(longest)
	if err != nil {
		return r, fmt.Errorf("watching %s: %w", w.peer.name(), err)
	}
	n := notice{w.peer.name(), w.op.ids[0], own}
	w.o.Board.post(n)
	for _, o := range w.o.Board.others(n) {
		if o.length > longest.length {
			continue // they judge ours
		}
		err := w.compareOne(ctx, o)
		var refused *refusedError
		var lost *troubleError
		var d *contradiction
		switch {
		case errors.As(err, &d):
			d.reason = fmt.Sprintf("split view: %s; %s shows one of them, %s the other", d.reason, o.by, n.by)
			r.Status, r.Message = StatusForked, d.reason
			r.Evidence, err = w.convict(d)
			return r, err
		case errors.As(err, &refused), errors.As(err, &lost):
			r.Message = join(r.Message, fmt.Sprintf("what %s shows cannot be compared: %s", o.by, err))
		case err != nil:
			return r, fmt.Errorf("watching %s: %w", w.peer.name(), err)
		}
	}
	return r, nil
}

// compareOne judges one checkpoint that is not longer than ours.
func (w *Watcher) compareOne(ctx context.Context, o notice) error {
	if v, ok := w.state.view(o.length); ok {
		if v.roots == (roots{o.logRoot, o.mapRoot}) {
			return nil
		}
		return w.judgeKnown(v, o.checkpoint, w.state.lines)
	}
	return w.judgeShorter(ctx, o.checkpoint, w.state.lines, nil)
}
