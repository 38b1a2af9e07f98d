package vmap

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// builder makes the nodes of a new version below one link of the old one. First
// it lays out the nodes, noting what must be hashed; then it hashes, all climbs
// together and the forks from the bottom up.
type builder struct {
	store  Store
	climbs []climb
	checks []*check
	passed []oldFork
	forks  []newFork
	levels [Depth]int // the fork added last at each depth, as newFork.next

	split int    // depth at which tasks are cut off, -1 for never
	tasks []task // subtrees left to others
}

// newBuilder returns a builder with room for the nodes that setting so many items
// usually takes.
func newBuilder(store Store, split, items int) *builder {
	const forksPerItem = 12 // of a batch in a large map
	return &builder{
		store:  store,
		split:  split,
		climbs: make([]climb, 0, 2*items),
		passed: make([]oldFork, 0, forksPerItem*items),
		forks:  make([]newFork, 0, forksPerItem*items),
	}
}

// newFork is a fork to be hashed.
type newFork struct {
	at   *link // where its hash goes
	node *fork
	next int // index of another fork of the same depth, plus 1; 0 if there is none
}

// oldFork is a fork of the old version, and what the node above says is its hash.
type oldFork struct {
	node *fork
	want warg.Digest
}

// check compares a hash of the old version with what it is recomputed to.
type check struct{ got, want warg.Digest }

// task is a subtree to be updated.
type task struct {
	at    *link // where the result goes
	old   link
	depth int
	items []item
}

// item is a leaf that goes into the map.
type item struct {
	path Path
	leaf warg.Digest
	seq  int     // position in the batch; of equal paths the last wins
	old  *pushed // the leaf was in the map, alone in a subtree that it now shares
}

// pushed is where a leaf stood that is pushed down.
type pushed struct {
	link   link
	node   *single
	height int
}

// apply lays out the new version of a subtree. It notes every node of the old
// version that it passes, to be checked against the hash that the node above
// gives, so that nothing wrong in the old version can enter the new one.
func (b *builder) apply(t task) error {
	if len(t.items) == 0 {
		*t.at = t.old
		return nil
	}
	if t.depth == b.split {
		b.tasks = append(b.tasks, t)
		return nil
	}
	old, lone, err := t.old.open(b.store)
	switch {
	case err != nil:
		return err
	case lone != nil && !lone.path.sharesPrefix(&t.items[0].path, t.depth):
		return fmt.Errorf("single leaf at depth %d belongs elsewhere: %w", t.depth, ErrCorrupt)
	case lone != nil:
		t.items = pushDown(t.items, &pushed{t.old, lone, Depth - t.depth})
	case old != nil && t.depth == Depth:
		return fmt.Errorf("fork in the place of a leaf: %w", ErrCorrupt)
	case old != nil:
		b.passed = append(b.passed, oldFork{old, t.old.hash})
	}
	if old == nil && len(t.items) == 1 {
		b.place(t.at, Depth-t.depth, &t.items[0])
		return nil
	}
	return b.fork(t, old)
}

// fork makes a new fork and goes on below it.
func (b *builder) fork(t task, old *fork) error {
	below := emptyLink(Depth - t.depth - 1)
	left, right := below, below
	if old != nil {
		left, right = old.left, old.right
	}
	node := new(fork)
	*t.at = link{fork: node}
	b.forks = append(b.forks, newFork{t.at, node, b.levels[t.depth]})
	b.levels[t.depth] = len(b.forks)
	k := firstRight(t.items, t.depth)
	if err := b.apply(task{&node.left, left, t.depth + 1, t.items[:k]}); err != nil {
		return err
	}
	return b.apply(task{&node.right, right, t.depth + 1, t.items[k:]})
}

// firstRight returns the index of the first item that turns right.
func firstRight(items []item, depth int) int {
	k, _ := slices.BinarySearchFunc(items, true, func(it item, _ bool) int {
		if it.path.Right(depth) {
			return 1
		}
		return -1
	})
	return k
}

// pushDown adds a leaf that was alone in the subtree to the items that come into
// it, unless one of them replaces it.
func pushDown(items []item, old *pushed) []item {
	k, found := slices.BinarySearchFunc(items, old.node.path, func(it item, p Path) int {
		return slices.Compare(it.path[:], p[:])
	})
	if found {
		return items
	}
	return slices.Insert(slices.Clone(items), k, item{path: old.node.path, leaf: old.node.leaf, old: old})
}

// place puts a leaf that is alone in its subtree of the given height.
func (b *builder) place(at *link, height int, it *item) {
	base := BaseHeight(height)
	var c climb
	if it.old != nil && base == BaseHeight(it.old.height) {
		// The node stays as it is and where it is; only its hash, seen from here, differs.
		*at = it.old.link
		at.single = it.old.node
		c.start(&at.single.path, it.old.node.base, base)
		c.stopAt(height, &at.hash)
		c.stopAt(it.old.height, b.expect(it.old.link.hash))
	} else {
		at.single = &single{path: it.path, leaf: it.leaf}
		c.start(&at.single.path, it.leaf, 0)
		c.stopAt(base, &at.single.base)
		c.stopAt(height, &at.hash)
		if it.old != nil {
			c.stopAt(BaseHeight(it.old.height), b.expect(it.old.node.base))
			c.stopAt(it.old.height, b.expect(it.old.link.hash))
		}
	}
	b.climbs = append(b.climbs, c)
}

// expect returns where to put a hash that must turn out to be want.
func (b *builder) expect(want warg.Digest) *warg.Digest {
	c := &check{want: want}
	b.checks = append(b.checks, c)
	return &c.got
}

// hash computes the hashes of everything that was laid out, and checks what it
// was made from.
func (b *builder) hash() error {
	runClimbs(b.climbs)
	for _, c := range b.checks {
		if c.got != c.want {
			return fmt.Errorf("single leaf: %w", ErrCorrupt)
		}
	}
	var p pairs
	found := make([]warg.Digest, len(b.passed))
	for i, old := range b.passed {
		p.add(&found[i], old.node)
	}
	p.flush()
	for i, old := range b.passed {
		if found[i] != old.want {
			return fmt.Errorf("fork: %w", ErrCorrupt)
		}
	}
	for _, i := range slices.Backward(b.levels[:]) {
		for ; i > 0; i = b.forks[i-1].next {
			p.add(&b.forks[i-1].at.hash, b.forks[i-1].node)
		}
		p.flush() // the forks above need these
	}
	return nil
}
