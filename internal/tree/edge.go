package tree

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// edge is the right edge of the log: the incomplete last tile of each level, nil
// where the last tile is complete. Together they hold all balanced roots.
type edge [maxLevels]*tile

// node returns a node that stands in the edge of a log of the given length.
func (e *edge) node(length uint64, x vlog.Node) (hash warg.Digest, ok bool) {
	id, at := place(x)
	if id.level >= maxLevels || id.index != length>>(tileHeight*(id.level+1)) || e[id.level] == nil {
		return hash, false
	}
	return e[id.level].nodes[at], true
}

// place returns where a node stands: its tile, and the slot in it.
func place(x vlog.Node) (tileID, int) {
	level, height := x.Height()/tileHeight, x.Height()%tileHeight
	across := tileHeight - height
	i := x.Position()
	return tileID{level, i >> across}, slot(height, i&(1<<across-1))
}

// root computes the root of a log of the given length.
func (e *edge) root(length uint64) (warg.Digest, error) {
	return vlog.Root(edgeReader{e, length}, length)
}

type edgeReader struct {
	edge   *edge
	length uint64
}

func (r edgeReader) Node(x vlog.Node) (warg.Digest, error) {
	hash, ok := r.edge.node(r.length, x)
	if !ok {
		return hash, fmt.Errorf("%w: node %d is not at the edge of length %d", ErrIndexCorrupt, x, r.length)
	}
	return hash, nil
}

// grow returns the edge after adding leaves to a log of the given length, and
// calls done with every tile that this completes. The receiver does not change.
func (e edge) grow(length uint64, leaves []warg.Digest, done func(tileID, *tile)) edge {
	for level, old := range e {
		// The upper levels change only if a tile below them fills up.
		if old != nil && length>>(tileHeight*level) != (length+uint64(len(leaves)))>>(tileHeight*level) {
			fork := *old
			e[level] = &fork
		}
	}
	for _, hash := range leaves {
		for level := 0; level < maxLevels; level++ {
			if e[level] == nil {
				e[level] = new(tile)
			}
			root, complete := e[level].add(hash)
			if !complete {
				break
			}
			done(tileID{level, length >> (tileHeight * (level + 1))}, e[level])
			e[level], hash = nil, root
		}
		length++
	}
	return e
}
