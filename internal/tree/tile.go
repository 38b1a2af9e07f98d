package tree

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

const (
	// tileHeight is the number of levels of the log that a tile spans.
	tileHeight = 8
	// tileWidth is the number of hashes in a complete tile, and of leaves in a
	// complete ledger page.
	tileWidth = 1 << tileHeight
	// tileNodes is the number of nodes in a complete tile, its root not counted: that
	// belongs to the tile above.
	tileNodes = 2*tileWidth - 2
	// maxLevels is the number of levels of tiles that the longest log has.
	maxLevels = 4
)

// tileID names a tile: level 0 has the leaves, and tiles are counted from the left.
type tileID struct {
	level int
	index uint64
}

// tile is a tile with everything inside it hashed, as far as it is complete.
type tile struct {
	count int // hashes at the bottom
	nodes [tileNodes]warg.Digest
}

// slot returns the place of the i-th node, from the left, of a height within the tile.
func slot(height int, i uint64) int { return 2*tileWidth - 2*tileWidth>>height + int(i) }

// add appends a hash at the bottom and completes the nodes above it. If that
// completes the tile, it returns the tile's root.
func (t *tile) add(hash warg.Digest) (root warg.Digest, complete bool) {
	i := uint64(t.count)
	t.count++
	for height := 0; ; height++ {
		if height == tileHeight {
			return hash, true
		}
		t.nodes[slot(height, i)] = hash
		if i&1 == 0 {
			return warg.Digest{}, false
		}
		hash = vlog.BranchHash(t.nodes[slot(height, i-1)], hash)
		i >>= 1
	}
}

// expand makes a complete tile from its stored hashes.
func expand(payload []byte) *tile {
	t := &tile{count: tileWidth}
	for i := range tileWidth {
		copy(t.nodes[i][:], payload[i*warg.DigestSize:])
	}
	for height := range tileHeight - 1 {
		below := t.nodes[slot(height, 0):slot(height+1, 0)]
		vmap.HashPairs(t.nodes[slot(height+1, 0):slot(height+2, 0)], below)
	}
	return t
}

// encode returns the hashes at the bottom, as they are stored.
func (t *tile) encode() []byte {
	b := make([]byte, 0, t.count*warg.DigestSize)
	for i := range t.count {
		b = append(b, t.nodes[i][:]...)
	}
	return b
}

// tile returns a complete tile that is stored.
func (t *Tree) tile(id tileID) (*tile, error) {
	if cached, ok := t.tiles.Get(id); ok {
		return cached, nil
	}
	var read *tile
	err := t.need(t.tileKey(id), func(payload []byte) error {
		if len(payload) != tileWidth*warg.DigestSize {
			return fmt.Errorf("%w: tile %d of level %d has %d bytes", ErrIndexCorrupt, id.index, id.level, len(payload))
		}
		read = expand(payload)
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.tiles.Add(id, read)
	return read, nil
}
