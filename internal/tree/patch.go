package tree

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vmap"
)

const (
	// nodeSize is the size of a stored map node, in bytes.
	nodeSize = 3 * warg.DigestSize
	// partNodes is the number of nodes in a part of a patch: few, because a path
	// through the map needs only a few nodes of each part that it meets.
	partNodes = 16
)

// partID names a part of the patch of the head with the given length.
type partID struct {
	length uint64
	part   uint32
}

// refOf returns the name of a node: length·2³² + number·2 + single.
func refOf(length uint64, number int, single bool) vmap.Ref {
	ref := length<<32 | uint64(number)<<1
	if single {
		ref |= 1
	}
	return vmap.Ref(ref)
}

// splitRef is the inverse of refOf.
func splitRef(ref vmap.Ref) (id partID, index int, single bool) {
	number := uint32(ref) >> 1
	return partID{uint64(ref) >> 32, number / partNodes}, int(number % partNodes), ref&1 == 1
}

func appendNode(b []byte, n vmap.Node) []byte {
	if n.Single {
		b = append(b, n.Path[:]...)
		b = append(b, n.Leaf[:]...)
		return append(b, n.Base[:]...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(n.Left.Ref))
	b = binary.BigEndian.AppendUint64(b, uint64(n.Right.Ref))
	b = append(b, n.Left.Hash[:]...)
	b = append(b, n.Right.Hash[:]...)
	return append(b, make([]byte, 16)...)
}

func parseNode(b []byte, single bool, n *vmap.Node) {
	n.Single = single
	if single {
		copy(n.Path[:], b)
		copy(n.Leaf[:], b[warg.DigestSize:])
		copy(n.Base[:], b[2*warg.DigestSize:])
		return
	}
	n.Left.Ref = vmap.Ref(binary.BigEndian.Uint64(b))
	n.Right.Ref = vmap.Ref(binary.BigEndian.Uint64(b[8:]))
	copy(n.Left.Hash[:], b[16:])
	copy(n.Right.Hash[:], b[16+warg.DigestSize:])
}

// patches is the store of a tree's map nodes.
type patches struct{ tree *Tree }

// Load reads a node. It makes patches a [vmap.Store].
func (p patches) Load(ref vmap.Ref, into *vmap.Node) error {
	id, _, _ := splitRef(ref)
	part, err := p.tree.part(id)
	if err != nil {
		return err
	}
	return nodeAt(part, ref, into)
}

// recentPatches is patches for one goroutine. It remembers the part used last: the
// next node of a path is likely to be there as well.
type recentPatches struct {
	tree *Tree
	id   partID
	part []byte
}

// Load makes *recentPatches a [vmap.Store].
func (p *recentPatches) Load(ref vmap.Ref, into *vmap.Node) error {
	id, _, _ := splitRef(ref)
	if p.part == nil || p.id != id {
		part, err := p.tree.part(id)
		if err != nil {
			return err
		}
		p.id, p.part = id, part
	}
	return nodeAt(p.part, ref, into)
}

// nodeAt takes a node out of its part.
func nodeAt(part []byte, ref vmap.Ref, into *vmap.Node) error {
	id, index, single := splitRef(ref)
	if len(part) < (index+1)*nodeSize {
		return fmt.Errorf("%w: part %d of the patch of length %d has no node %d",
			ErrIndexCorrupt, id.part, id.length, index)
	}
	parseNode(part[index*nodeSize:(index+1)*nodeSize], single, into)
	return nil
}

// part returns the nodes of a part.
func (t *Tree) part(id partID) ([]byte, error) {
	if cached, ok := t.parts.Get(id); ok {
		return cached, nil
	}
	var read []byte
	err := t.need(t.partKey(id), func(payload []byte) error {
		read = slices.Clone(payload)
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.parts.Add(id, read)
	return read, nil
}
