package archive

import (
	"context"
	"errors"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// Consistency implements [upstream.Transport]. It is asked for only to prove a fork,
// so it computes what it needs from the leaves. A delta that lacks some of those has
// no proof.
func (c *Cargo) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	if from == 0 || from > to || to > c.r.length {
		return nil, warg.Errorf(warg.KindProofFailure, "no proof leads from length %d to %d", from, to)
	}
	bundle, err := vlog.BuildBundle(nodes{ctx, c}, to, []uint64{from}, nil)
	if err != nil {
		return nil, err
	}
	return bundle.Encode(), nil
}

// nodes computes nodes of the log from its leaves.
type nodes struct {
	ctx context.Context
	c   *Cargo
}

// Node implements [vlog.NodeReader].
func (n nodes) Node(x vlog.Node) (warg.Digest, error) {
	var edge vlog.Edge
	for at, end := x.FirstLeaf(), x.LastLeaf()+1; at < end; {
		if err := n.ctx.Err(); err != nil {
			return warg.Digest{}, err
		}
		packed, err := n.c.Ledger(n.ctx, at, int(min(end-at, leavesPerFrame)))
		if err == nil && len(packed) == 0 {
			err = errors.New("the ledger ends before the node")
		}
		if err != nil {
			return warg.Digest{}, err
		}
		for ; len(packed) > 0; packed = packed[leafSize:] {
			leaf := warg.Leaf{LogID: warg.LogID(packed[:digestSize]), RecordID: warg.RecordID(packed[digestSize:leafSize])}
			edge.Append(vlog.LeafHash(leaf.LogValue()))
			at++
		}
	}
	return edge.Root(), nil
}
