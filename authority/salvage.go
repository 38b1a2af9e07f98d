package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// This file is about a history that is damaged, lost, or behind the checkpoint that
// somebody vouches for. Lines that are lost were issued all the same: the history says
// that it has gaps, so that nobody is told that a checkpoint of ours is none.

// skips reports whether checkpoints may have been issued between the last line of the
// history and the anchor.
func (r *rescue) skips() bool {
	last, ok, err := r.history.Last()
	return err != nil || !ok || last.Unverified().LogLength < r.anchor.Length()
}

// mendHistory makes the history anew from the lines that still verify. One that is
// damaged is kept beside. The journal leads to the anchor by now.
func (r *rescue) mendHistory(ctx context.Context) (err error) {
	path := r.path(historyFile)
	var lines []warg.SignedCheckpoint
	gaps := true
	if r.remains != nil {
		if lines, err = r.bornOut(ctx, r.remains.Lines); err != nil {
			return err
		}
		dropped := uint64(len(r.remains.Lines) - len(lines))
		if r.remains.Damaged() || dropped > 0 {
			aside := path + ".damaged-" + r.o.Now().UTC().Format("20060102T150405Z")
			if err := durable.Replace(r.fs, aside, r.remains.Bytes, nil); err != nil {
				return fmt.Errorf("keeping the damaged history of checkpoints: %w", err)
			}
			r.o.Log.Warn("the history of checkpoints is made anew from what is left", "file", aside,
				"lost", r.remains.Lost+dropped, "kept", len(lines))
		}
		whole := r.remains.Lost+dropped == 0 && !r.remains.Gaps
		gaps = !whole || len(lines) == 0 || lines[len(lines)-1].Unverified().LogLength < r.anchor.Length()
	}
	if r.history != nil {
		if err := r.history.Close(); err != nil {
			return err
		}
		r.history = nil
	}
	if err := anchor.WriteHistory(r.fs, path, r.registry, lines, gaps); err != nil {
		return err
	}
	r.history, err = anchor.OpenHistory(r.fs, path, r.registry)
	return err
}

// bornOut returns the lines that can be of this registry's history, in their order: with
// our signature, and with the root that the journal has at their length.
func (r *rescue) bornOut(ctx context.Context, lines []warg.SignedCheckpoint) (good []warg.SignedCheckpoint, err error) {
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(x, y warg.SignedCheckpoint) int {
		a, b := x.Unverified(), y.Unverified()
		return cmp.Or(cmp.Compare(a.LogLength, b.LogLength), cmp.Compare(a.Timestamp, b.Timestamp))
	})
	var edge vlog.Edge
	judge := func() {
		for ; len(lines) > 0 && lines[0].Unverified().LogLength <= edge.Len(); lines = lines[1:] {
			c := lines[0].Unverified()
			follows := len(good) == 0 || before(good[len(good)-1].Unverified(), c)
			if follows && c.LogLength == edge.Len() && c.LogRoot == edge.Root().AnyHash() && r.signedByUs(lines[0]) == nil {
				good = append(good, lines[0])
			}
		}
	}
	err = r.journal.Scan(0, r.anchor.Length(), func(f journal.Frame, _ journal.Position) error {
		edge.Append(f.Leaf)
		judge()
		return ctx.Err()
	})
	if errors.As(err, new(*journal.Damage)) {
		r.o.Log.Warn("lines of the history are not judged behind what cannot be read of the journal", "error", err)
		err = nil
	}
	return good, err
}
