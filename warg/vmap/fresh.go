package vmap

// Fresh lists the nodes of a version that are in memory alone, so that they can be
// put into a store.
type Fresh struct {
	links  []*link
	depths []int
}

// Fresh numbers the nodes that are not stored yet, from 0, the root being the
// first, and gives each the Ref that refOf returns for its number. It must be
// called before other goroutines see the version, and only once.
//
// Numbers are close together for nodes that are close together: each run of block
// numbers is a connected piece from the top of what is left, so that a path meets
// few runs.
func (m Lazy) Fresh(block int, refOf func(number int, single bool) Ref) *Fresh {
	f := new(Fresh)
	if m.root == nil || !m.root.isFresh() {
		return f
	}
	type place struct {
		at    *link
		depth int
	}
	for tops := []place{{m.root, 0}}; len(tops) > 0; tops = tops[1:] {
		piece := []place{tops[0]}
		for i := 0; i < len(piece); i++ {
			if i == block {
				tops = append(tops, piece[i:]...)
				break
			}
			p := piece[i]
			p.at.ref = refOf(len(f.links), p.at.single != nil)
			f.links, f.depths = append(f.links, p.at), append(f.depths, p.depth)
			if p.at.fork == nil {
				continue
			}
			for _, below := range []*link{&p.at.fork.left, &p.at.fork.right} {
				if below.isFresh() {
					piece = append(piece, place{below, p.depth + 1})
				}
			}
		}
	}
	return f
}

// Len returns the number of nodes.
func (f *Fresh) Len() int { return len(f.links) }

// Node returns the node with the given number, ready to be stored.
func (f *Fresh) Node(number int) Node {
	l := f.links[number]
	if s := l.single; s != nil {
		return Node{Single: true, Path: s.path, Leaf: s.leaf, Base: s.base}
	}
	return Node{Left: l.fork.left.stored(), Right: l.fork.right.stored()}
}

// Release forgets the nodes below a depth; they are loaded from the store when
// they are needed again. It must be called before other goroutines see the
// version, and after the store has the nodes.
func (f *Fresh) Release(depth int) {
	for i, l := range f.links {
		if f.depths[i] > depth {
			l.fork, l.single = nil, nil
		}
	}
}
