package monitor

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"sort"
)

const mapDepth = 256

// emptyTrees returns the hashes of map subtrees without entries, by their height.
func emptyTrees() *[mapDepth + 1]hash {
	var e [mapDepth + 1]hash
	e[0] = sha256.Sum256([]byte{0})
	for h := 1; h <= mapDepth; h++ {
		e[h] = branch(e[h-1], e[h-1])
	}
	return &e
}

// heads is a registry's map: the latest record of each log, sorted by path. Its root
// is computed by the definition, from the whole list. Only the way from an entry up
// to where it meets another is remembered, about 250 hashes for each log.
//
// It takes about 100 bytes a log.
type heads struct {
	empty   *[mapDepth + 1]hash
	list    []head
	changes []change // not yet in the list
}

type head struct {
	path   hash
	leaf   hash
	folded hash // of the subtree of the height below in which the entry is alone
	height int16
}

type change struct{ path, record hash }

// leastMerge is how many changes are worth going through the list for.
const leastMerge = 4096

func newHeads() *heads { return &heads{empty: emptyTrees()} }

func (h *heads) clone() *heads {
	return &heads{h.empty, slices.Clone(h.list), slices.Clone(h.changes)}
}

// set makes a record the latest of its log.
func (h *heads) set(l leaf) {
	h.changes = append(h.changes, change{mapPath(l.logID), l.recordID})
	if len(h.changes) >= max(leastMerge, len(h.list)/2) {
		h.merge()
	}
}

// merge brings the changes into the list.
func (h *heads) merge() {
	slices.SortStableFunc(h.changes, func(a, b change) int { return bytes.Compare(a.path[:], b.path[:]) })
	merged := make([]head, 0, len(h.list)+len(h.changes))
	old := h.list
	for i, c := range h.changes {
		if i+1 < len(h.changes) && h.changes[i+1].path == c.path {
			continue // a later one follows
		}
		n := sort.Search(len(old), func(i int) bool { return bytes.Compare(old[i].path[:], c.path[:]) >= 0 })
		merged, old = append(merged, old[:n]...), old[n:]
		if len(old) > 0 && old[0].path == c.path {
			old = old[1:]
		}
		leaf := mapLeaf(c.record)
		merged = append(merged, head{path: c.path, leaf: leaf, folded: leaf})
	}
	h.list, h.changes = append(merged, old...), nil
}

func (h *heads) root() hash {
	if len(h.changes) > 0 {
		h.merge()
	}
	return h.fold(h.list, mapDepth)
}

// fold is the root of the subtree of a height that has the given entries, all with
// one path down to it.
func (h *heads) fold(part []head, height int) hash {
	switch len(part) {
	case 0:
		return h.empty[height]
	case 1:
		return h.alone(&part[0], height)
	}
	right := sort.Search(len(part), func(i int) bool { return bit(part[i].path, mapDepth-height) == 1 })
	return branch(h.fold(part[:right], height-1), h.fold(part[right:], height-1))
}

// alone is the root of a subtree with one entry.
func (h *heads) alone(e *head, height int) hash {
	if int(e.height) > height {
		e.height, e.folded = 0, e.leaf
	}
	for ; int(e.height) < height; e.height++ {
		e.folded = step(e.path, int(e.height), e.folded, h.empty[e.height])
	}
	return e.folded
}

// step goes one level up in the map, from a node of a height on the way to path to
// its parent.
func step(path hash, height int, node, sibling hash) hash {
	if bit(path, mapDepth-1-height) == 0 {
		return branch(node, sibling)
	}
	return branch(sibling, node)
}

// bit is the i-th turn of a path on the way down from the root: 0 left, 1 right.
func bit(path hash, i int) byte { return path[i/8] >> (7 - i%8) & 1 }

// mapProofRoot is the map root that a proof leads to, for a log whose latest record
// is given. Siblings are listed from the leaf's side up to the root; those missing
// at the leaf's end, and nil ones, are of empty subtrees.
func mapProofRoot(empty *[mapDepth + 1]hash, l leaf, siblings []*hash) (hash, bool) {
	if len(siblings) > mapDepth {
		return hash{}, false
	}
	path, acc, missing := mapPath(l.logID), mapLeaf(l.recordID), mapDepth-len(siblings)
	for height := range mapDepth {
		sibling := empty[height]
		if height >= missing {
			if given := siblings[height-missing]; given != nil {
				sibling = *given
			}
		}
		acc = step(path, height, acc, sibling)
	}
	return acc, true
}

// sortedLengths returns lengths ascending without repetitions.
func sortedLengths(lengths []uint64) []uint64 {
	slices.SortFunc(lengths, cmp.Compare[uint64])
	return slices.Compact(lengths)
}
