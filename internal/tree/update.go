package tree

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Update is the next head of a tree, not visible to anyone yet. It belongs to one
// goroutine. An update that is not published can be dropped.
type Update struct {
	tree  *Tree
	base  *state // what it extends
	next  *state
	fresh *vmap.Fresh
}

// Prepare computes the head after adding leaves, on all processors. Nothing
// changes for readers. An update takes about a kilobyte of memory a leaf until it
// is dropped, so a rebuild should go by batches of not more than some ten thousand.
//
// It does not trust what it builds on: the old root of the log is computed from
// the same nodes as the new one, and so is, for every path of the map that is
// touched, the old root of the map. A difference is [ErrIndexCorrupt]. Other
// errors are [ErrNoLeaves] and [ErrTooLong].
func (t *Tree) Prepare(leaves []warg.Leaf) (*Update, error) {
	base := t.state.Load()
	switch {
	case len(leaves) == 0:
		return nil, ErrNoLeaves
	case uint64(len(leaves)) > warg.MaxRegistryLength-base.Length:
		return nil, ErrTooLong
	}
	next := &state{tiles: make(map[tileID]*tile), pages: make(map[uint64][]byte)}
	next.Length = base.Length + uint64(len(leaves))
	if err := next.growLog(base, leaves); err != nil {
		return nil, fmt.Errorf("extending the log from length %d: %w", base.Length, err)
	}
	fresh, err := next.growMap(base, leaves)
	if err != nil {
		return nil, fmt.Errorf("updating the map of length %d: %w", base.Length, err)
	}
	return &Update{t, base, next, fresh}, nil
}

// growLog makes the log and the ledger of s from those of base.
func (s *state) growLog(base *state, leaves []warg.Leaf) error {
	root, err := base.edge.root(base.Length)
	if err != nil {
		return err
	}
	if root != base.LogRoot {
		return fmt.Errorf("%w: the edge leads to root %s, not %s", ErrIndexCorrupt, root, base.LogRoot)
	}
	s.edge = base.edge.grow(base.Length, leafHashes(leaves), func(id tileID, t *tile) { s.tiles[id] = t })
	s.growLedger(base, leaves)
	s.LogRoot, err = s.edge.root(s.Length)
	return err
}

func (s *state) growLedger(base *state, leaves []warg.Leaf) {
	page := base.Length / tileWidth
	s.tail = slices.Concat(base.tail, make([]byte, 0, warg.LedgerEntrySize*min(len(leaves), tileWidth)))
	for _, leaf := range leaves {
		s.tail = appendLeaf(s.tail, leaf)
		if len(s.tail) == tileWidth*warg.LedgerEntrySize {
			s.pages[page] = s.tail
			page++
			s.tail = nil
		}
	}
}

// leafHashes hashes leaves for the log, on all processors if there are many.
func leafHashes(leaves []warg.Leaf) []warg.Digest {
	const share = 512 // leaves worth a goroutine, about 200 µs
	hashes := make([]warg.Digest, len(leaves))
	size := max(share, (len(leaves)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for from := 0; from < len(leaves); from += size {
		to := min(len(leaves), from+size)
		hash := func() {
			for i := from; i < to; i++ {
				hashes[i] = vlog.LeafHash(leaves[i].LogValue())
			}
		}
		if to == len(leaves) {
			hash() // the last share is for this goroutine
		} else {
			group.Go(hash)
		}
	}
	group.Wait()
	return hashes
}

// growMap makes the map of s from that of base.
func (s *state) growMap(base *state, leaves []warg.Leaf) (*vmap.Fresh, error) {
	batch := make([]vmap.Entry, len(leaves))
	for i := range leaves {
		batch[i] = vmap.Entry{Key: leaves[i].LogID[:], Value: leaves[i].MapValue()}
	}
	var err error
	s.nodes, err = base.nodes.Update(batch)
	if errors.Is(err, vmap.ErrCorrupt) {
		return nil, fmt.Errorf("%w: %w", ErrIndexCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	fresh := s.nodes.Fresh(partNodes, func(number int, single bool) vmap.Ref {
		return refOf(s.Length, number, single)
	})
	root := s.nodes.Root()
	s.MapRoot, s.mapRef = root.Hash, root.Ref
	return fresh, nil
}

// Head returns the new head.
func (u *Update) Head() Head { return u.next.Head }

// ProveInclusion is [Tree.ProveInclusion] at the new head, for old and new leaves.
func (u *Update) ProveInclusion(indexes []uint64) (warg.InclusionProof, error) {
	return u.tree.proveInclusion(u.next, u.next.Length, indexes)
}

// ProveLeaves proves that leaves are in the log at the new head, whether or not
// they are the latest of their logs. It returns a log proof bundle.
func (u *Update) ProveLeaves(indexes []uint64) ([]byte, error) {
	return u.tree.proveLog(u.next, u.next.Length, nil, indexes)
}

// ProveConsistency is [Tree.ProveConsistency] from a length to the new head.
func (u *Update) ProveConsistency(from uint64) ([]byte, error) {
	return u.tree.proveConsistency(u.next, from, u.next.Length)
}

// Write hands over everything that the new head needs, except the head itself, as
// keys and framed values of at most [MaxValue] bytes. put may keep both. The
// values may be committed in any number of transactions; until the head record is
// committed too, they are not looked at.
func (u *Update) Write(put func(key, value []byte) error) error {
	t, s := u.tree, u.next
	seal := func(key, payload []byte) error { return put(key, Seal(key, payload)) }
	for page, packed := range s.pages {
		if err := seal(t.pageKey(page), packed); err != nil {
			return err
		}
	}
	if len(s.tail) > 0 {
		if err := seal(t.pageKey(s.Length/tileWidth), s.tail); err != nil {
			return err
		}
	}
	for id, complete := range s.tiles {
		if err := seal(t.tileKey(id), complete.encode()); err != nil {
			return err
		}
	}
	for level := 1; level < maxLevels; level++ {
		if edge := s.edge[level]; edge != nil && edge != u.base.edge[level] {
			id := tileID{level, s.Length >> (tileHeight * (level + 1))}
			if err := seal(t.tileKey(id), edge.encode()); err != nil {
				return err
			}
		}
	}
	return u.writePatch(seal)
}

func (u *Update) writePatch(seal func(key, payload []byte) error) error {
	for from := 0; from < u.fresh.Len(); from += partNodes {
		count := min(partNodes, u.fresh.Len()-from)
		payload := make([]byte, 0, count*nodeSize)
		for i := range count {
			payload = appendNode(payload, u.fresh.Node(from+i))
		}
		key := u.tree.partKey(partID{u.next.Length, uint32(from / partNodes)})
		if err := seal(key, payload); err != nil {
			return err
		}
	}
	return nil
}

// WriteHead hands over the head record, two small values. They belong into one
// transaction, committed after all of [Update.Write]: with it, the new head is the
// one that [Open] finds.
func (u *Update) WriteHead(put func(key, value []byte) error) error {
	payload := u.next.encode()
	for _, key := range [][]byte{u.tree.checkpointKey(u.next.Length), u.tree.headKey()} {
		if err := put(key, Seal(key, payload)); err != nil {
			return err
		}
	}
	return nil
}

// Publish makes the new head the one that readers see. It must be called after
// the transactions of [Update.Write] and [Update.WriteHead] were committed. If
// another update was published since Prepare, the error is [ErrStale] and nothing
// changes.
func (u *Update) Publish() error {
	if u.tree.state.Load() != u.base {
		return ErrStale
	}
	u.fresh.Release(hotDepth)
	published := *u.next
	published.tiles, published.pages = nil, nil
	if !u.tree.state.CompareAndSwap(u.base, &published) {
		return ErrStale
	}
	if len(u.next.tiles) <= maxLevels { // else most would be pushed out again
		for id, complete := range u.next.tiles {
			u.tree.tiles.Add(id, complete)
		}
	}
	return nil
}
