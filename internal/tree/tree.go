package tree

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Options are the settings of a tree. The zero Options are the defaults.
type Options struct {
	// CacheBytes bounds the memory for tiles, ledger pages and patches read from the
	// database; 0 is DefaultCacheBytes. What the head needs constantly comes on top:
	// at most about 10 MiB.
	CacheBytes int
}

// DefaultCacheBytes is enough to keep the proofs for some hundred thousand leaves
// at hand.
const DefaultCacheBytes = 64 << 20

// hotDepth is the depth down to which the head's map stays in memory, as far as
// updates came by it: every path goes through there. That is at most 2¹⁶ nodes of
// 112 bytes.
const hotDepth = 15

// recordsCached is how many past heads are kept at hand, about 100 bytes each.
const recordsCached = 1024

// Tree is the trees of one registry. See the package comment for how to use it.
type Tree struct {
	db     kv.Store
	prefix []byte
	state  atomic.Pointer[state] // what readers see; replaced by Publish

	tiles   *lru.Cache[tileID, *tile]
	pages   *lru.Cache[uint64, []byte]
	parts   *lru.Cache[partID, []byte]
	records *lru.Cache[uint64, record]
}

// state is everything that belongs to one head. It never changes.
type state struct {
	record
	edge  edge
	tail  []byte // packed leaves of the incomplete last page
	nodes vmap.Lazy

	// Only in the state of an update that is not published yet: what it completed
	// and may not be stored yet.
	tiles map[tileID]*tile
	pages map[uint64][]byte
}

// Open opens the tree whose keys begin with prefix; without any it is empty. It
// reads the head and the right edge alone, and checks that both roots follow from
// what it read. If not, the error is [ErrIndexCorrupt].
//
// The database must keep values of [MaxValue] out of its value log. It stays the
// caller's to close; there is nothing to close in a Tree.
func Open(db kv.Store, prefix []byte, opt Options) (*Tree, error) {
	t := &Tree{db: db, prefix: slices.Clone(prefix)}
	if err := t.makeCaches(opt.CacheBytes); err != nil {
		return nil, err
	}
	s := &state{record: emptyRecord()}
	err := t.get(t.headKey(), func(payload []byte) (err error) {
		s.record, err = parseRecord(payload)
		return err
	})
	switch {
	case errors.Is(err, kv.ErrNotFound): // empty
	case err != nil:
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	if err := t.restore(s); err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	t.state.Store(s)
	return t, nil
}

// makeCaches shares the memory out: most of it to the map, whose paths are spread
// over many patches.
func (t *Tree) makeCaches(bytes int) (err error) {
	if bytes <= 0 {
		bytes = DefaultCacheBytes
	}
	const pageBytes = tileWidth * 64
	const tileBytes = tileNodes * 32
	const partBytes = partNodes * nodeSize
	if t.tiles, err = lru.New[tileID, *tile](max(maxLevels, bytes/4/tileBytes)); err != nil {
		return err
	}
	if t.pages, err = lru.New[uint64, []byte](max(1, bytes/8/pageBytes)); err != nil {
		return err
	}
	if t.parts, err = lru.New[partID, []byte](max(1, bytes*5/8/partBytes)); err != nil {
		return err
	}
	t.records, err = lru.New[uint64, record](recordsCached)
	return err
}

// restore reads what belongs to the head of s.
func (t *Tree) restore(s *state) (err error) {
	s.nodes = vmap.NewLazy(patches{t}, vmap.Link{Hash: s.MapRoot, Ref: s.mapRef})
	if rest := int(s.Length % tileWidth); rest > 0 {
		if s.tail, err = t.readPage(s.Length/tileWidth, rest); err != nil {
			return err
		}
		s.edge[0] = new(tile)
		for i := range rest {
			s.edge[0].add(vlog.LeafHash(leafAt(s.tail, uint64(i)).LogValue()))
		}
	}
	for level := 1; level < maxLevels; level++ {
		if s.edge[level], err = t.restoreTile(level, s.Length>>(tileHeight*level)); err != nil {
			return err
		}
	}
	return t.checkHead(s)
}

// restoreTile reads the incomplete last tile of a level that has count hashes.
func (t *Tree) restoreTile(level int, count uint64) (*tile, error) {
	rest := int(count % tileWidth)
	if rest == 0 {
		return nil, nil
	}
	restored := new(tile)
	id := tileID{level, count / tileWidth}
	err := t.need(t.tileKey(id), func(payload []byte) error {
		if len(payload) < rest*len(restored.nodes[0]) {
			return fmt.Errorf("%w: tile %d of level %d has %d bytes", ErrIndexCorrupt, id.index, level, len(payload))
		}
		for i := range rest {
			restored.add([32]byte(payload[i*32:]))
		}
		return nil
	})
	return restored, err
}

// checkHead compares the roots of a head with what they are computed from.
func (t *Tree) checkHead(s *state) error {
	root, err := s.edge.root(s.Length)
	switch {
	case err != nil:
		return err
	case root != s.LogRoot:
		return fmt.Errorf("%w: the log of length %d has root %s, not %s", ErrIndexCorrupt, s.Length, root, s.LogRoot)
	case s.Length == 0:
		return nil
	}
	var top vmap.Node
	err = patches{t}.Load(s.mapRef, &top)
	switch {
	case err != nil:
		return err
	case !top.Single && vmap.BranchHash(top.Left.Hash, top.Right.Hash) != s.MapRoot:
		return fmt.Errorf("%w: the map of length %d does not have root %s", ErrIndexCorrupt, s.Length, s.MapRoot)
	}
	return nil
}

// Head returns the head published last.
func (t *Tree) Head() Head { return t.state.Load().Head }

// HasLength reports whether there was a head of the given length, that is, whether
// the map can be proven there. No head has length 0.
func (t *Tree) HasLength(length uint64) (bool, error) {
	_, err := t.HeadAt(length)
	if isLengthNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// HeadAt returns the head that had the given length, or the error
// [warg.KindLengthNotFound].
func (t *Tree) HeadAt(length uint64) (Head, error) {
	r, err := t.recordAt(t.state.Load(), length)
	return r.Head, err
}
