package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/entrepot/entrepot/warg/vlog"
)

// otherFile holds the leaves of another history while it is looked at.
const otherFile = "ledger.other"

// dispute finds out why the ledger does not lead from what is known to the log root
// of the checkpoint: somebody on the way changed it, or the registry has two
// histories. Of the second there is a proof if the registry can be made to show the
// other one: as a proof of consistency that begins elsewhere, or as a ledger. Either
// ends in a root that it signed, so it does not matter who answers.
func (g *growth) dispute(ctx context.Context) error {
	refusal := refuse("the ledger does not lead to the log root that is signed for length %d", g.c.length)
	longest := g.w.state.longest()
	if longest.length == 0 || longest.length >= g.c.length {
		return refusal
	}
	believed, err := g.w.state.signed(longest)
	if err != nil {
		return err
	}
	err = g.w.provenConsistent(ctx, believed, g.c, g.c)
	var found *contradiction
	if errors.As(err, &found) {
		return g.w.withOperator(err, g.op)
	}
	if err == nil {
		return refuse("the ledger does not lead to the log root that is signed for length %d, although the registry proves that it extends length %d", g.c.length, longest.length)
	}
	if err = g.otherHistory(ctx); err == nil || isOutside(err) {
		return refusal
	}
	return err
}

// isOutside reports whether an error is about what the registry answered, and not
// about our own files or a contradiction.
func isOutside(err error) bool {
	var refused *refusedError
	var lost *troubleError
	return errors.As(err, &refused) || errors.As(err, &lost) || errors.Is(err, errNoLedger)
}

// otherHistory fetches the whole ledger again. If it leads to the root that is signed,
// it must differ from what was signed before.
func (g *growth) otherHistory(ctx context.Context) (err error) {
	fsys, name := g.w.state.fsys, filepath.Join(g.w.state.dir, otherFile)
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("making room for another ledger: %w", err)
	}
	f, err := fsys.Create(name)
	if err != nil {
		return fmt.Errorf("making a file for another ledger: %w", err)
	}
	defer func() {
		if closeErr := errors.Join(f.Close(), fsys.Remove(name)); err == nil {
			err = closeErr
		}
	}()
	var tree edge
	var fork *view
	views := g.w.state.views
	err = g.w.peer.ledger(ctx, 0, g.c.length, func(chunk []byte) error {
		if _, err := f.WriteAt(chunk, int64(tree.length*leafSize)); err != nil {
			return fmt.Errorf("writing another ledger: %w", err)
		}
		for ; len(chunk) > 0; chunk = chunk[leafSize:] {
			tree.append(logLeaf(unpackLeaf(chunk)))
			if len(views) == 0 || views[0].length != tree.length {
				continue
			}
			if fork == nil && views[0].roots.logRoot != tree.root() {
				fork = &views[0]
			}
			views = views[1:]
		}
		return nil
	})
	if err != nil || fork == nil || tree.length != g.c.length || tree.root() != g.c.logRoot {
		return err
	}
	return g.forkedAt(*fork, f)
}

// forkedAt describes that a ledger that leads to the checkpoint does not lead to a
// view that was believed.
func (g *growth) forkedAt(v view, ledger io.ReaderAt) error {
	believed, err := g.w.state.signed(v)
	if err != nil {
		return err
	}
	d := g.w.contradicts(believed, g.c, fmt.Sprintf("the log of length %d does not extend the log of length %d", g.c.length, v.length))
	if d.consistency, err = buildConsistency(ledger, v.length, g.c.length); err != nil {
		return err
	}
	return g.w.withOperator(d, g.op)
}

// buildConsistency makes the bundle that proves of a ledger how its log of one length
// extends its log of another.
func buildConsistency(ledger io.ReaderAt, shorter, longer uint64) ([]byte, error) {
	known := pool{}
	for _, s := range spans(0, longer, shorter) {
		var tree edge
		err := eachLeaf(ledger, s.first, s.end(), func(_ uint64, l leaf) error {
			tree.append(logLeaf(l))
			return nil
		})
		if err != nil {
			return nil, err
		}
		known[s.node()] = tree.root()
	}
	b := vlog.Bundle{Length: longer, Consistent: []uint64{shorter}}
	for _, node := range consistencyNodes(shorter, longer) {
		h, err := known.derive(spanOf(node))
		if err != nil {
			return nil, fmt.Errorf("building a proof of consistency: %w", err)
		}
		b.Pool = append(b.Pool, vlog.Entry{Node: vlog.Node(node), Hash: h})
	}
	return b.Encode(), nil
}

// spans lists the largest perfect subtrees that the leaves first to end fall into if
// none may go across a boundary.
func spans(first, end, boundary uint64) []span {
	if perfect(first, end) && !(first < boundary && boundary < end) {
		return []span{{first, end - first}}
	}
	middle := half(first, end)
	return append(spans(first, middle, boundary), spans(middle, end, boundary)...)
}

// consistencyNodes lists the nodes of a consistency proof as the protocol has it:
// each subtree of the shorter log, the siblings on its way up in the longer log, and
// the tops of the longer log beside the one where that way ends.
func consistencyNodes(shorter, longer uint64) []uint64 {
	nodes := map[uint64]bool{}
	tops := spans(0, longer, longer)
	for _, s := range spans(0, shorter, shorter) {
		nodes[s.node()] = true
		for !slices.Contains(tops, s) {
			nodes[span{s.first ^ s.size, s.size}.node()] = true
			s = span{s.first &^ s.size, 2 * s.size}
		}
		for _, t := range tops {
			if t != s {
				nodes[t.node()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(nodes))
}
