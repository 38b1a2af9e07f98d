package observer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sort"
)

type hash = [sha256.Size]byte

func sum(parts ...[]byte) (h hash) {
	s := sha256.New()
	for _, p := range parts {
		s.Write(p)
	}
	s.Sum(h[:0])
	return h
}

// text is a hash as it is written in JSON, in addresses, and inside what is hashed.
func text(h []byte) string { return "sha256:" + hex.EncodeToString(h) }

// str is a string as it stands inside what is hashed: length, then bytes.
func str(s string) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(s))), s...)
}

func branch(left, right hash) hash { return sum([]byte{1}, left[:], right[:]) }

// entry is one place of the ledger: the ids of a log and of the record.
type entry struct{ log, record hash }

func (e entry) leaf() hash {
	return sum([]byte{0}, []byte("WARG-LOG-LEAF-V0"), str(text(e.log[:])), str(text(e.record[:])))
}

// mapLeaf is the leaf of the map while the record is the newest of its log.
func (e entry) mapLeaf() hash {
	return sum([]byte{0}, []byte("WARG-MAP-LEAF-V0"), str(text(e.record[:])))
}

// tree is the Merkle tree of RFC 6962 over a growing list, by its right edge: one root
// for each perfect subtree, the largest first.
type tree struct {
	length uint64
	edge   []hash
}

func (t *tree) add(leaf hash) {
	t.edge = append(t.edge, leaf)
	for n := t.length; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		t.edge[last-1] = branch(t.edge[last-1], t.edge[last])
		t.edge = t.edge[:last]
	}
	t.length++
}

func (t *tree) root() hash {
	if t.length == 0 {
		return sum()
	}
	root := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		root = branch(t.edge[i], root)
	}
	return root
}

const mapDepth = 256 // bits of a path

// place is an occupied leaf of the map.
type place struct{ path, leaf hash }

// mapRoot returns the root of the sparse map of the newest record of each log.
func mapRoot(entries []entry) hash {
	newest := map[hash]hash{}
	for _, e := range entries {
		newest[e.log] = e.record
	}
	places := make([]place, 0, len(newest))
	for log, record := range newest {
		places = append(places, place{sum(log[:]), entry{log, record}.mapLeaf()})
	}
	sort.Slice(places, func(i, j int) bool { return bytes.Compare(places[i].path[:], places[j].path[:]) < 0 })
	return subtree(places, mapDepth, emptySubtrees())
}

// emptySubtrees returns the root of an empty subtree of each height.
func emptySubtrees() *[mapDepth + 1]hash {
	var empty [mapDepth + 1]hash
	empty[0] = sum([]byte{0})
	for h := 1; h <= mapDepth; h++ {
		empty[h] = branch(empty[h-1], empty[h-1])
	}
	return &empty
}

// subtree returns the root of the subtree of a height that holds the places, sorted.
func subtree(places []place, height int, empty *[mapDepth + 1]hash) hash {
	if len(places) == 0 {
		return empty[height]
	}
	if height == 0 {
		return places[0].leaf
	}
	bit := mapDepth - height
	cut := sort.Search(len(places), func(i int) bool { return places[i].path[bit/8]>>(7-bit%8)&1 == 1 })
	return branch(subtree(places[:cut], height-1, empty), subtree(places[cut:], height-1, empty))
}
