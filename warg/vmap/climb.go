package vmap

import "github.com/entrepot/entrepot/warg"

// maxStops is how many heights one climb may have to report: two where a leaf
// stands now and two to check where it stood.
const maxStops = 4

// climb is the way of a lone leaf's hash up through empty siblings. It has to
// report the hash that it has at some heights.
type climb struct {
	path   *Path
	hash   warg.Digest
	height int // of hash
	next   int // stop not yet reached
	count  int
	stops  [maxStops]stop // ascending
}

type stop struct {
	height int
	out    *warg.Digest
}

// start begins a climb at a height where the hash is known.
func (c *climb) start(path *Path, hash warg.Digest, height int) {
	c.path, c.hash, c.height = path, hash, height
}

// stopAt adds a height, not below any added before, whose hash goes to out.
func (c *climb) stopAt(height int, out *warg.Digest) {
	c.stops[c.count] = stop{height, out}
	c.count++
}

// settle reports at all stops reached and returns how many levels it is to the
// next one, 0 if there is none.
func (c *climb) settle() int {
	for ; c.next < c.count; c.next++ {
		s := &c.stops[c.next]
		if s.height > c.height {
			return s.height - c.height
		}
		*s.out = c.hash
	}
	return 0
}

// runClimbs takes all climbs to their last stop. Two are on their way at any time,
// because a processor can compute two independent hashes in little more time than
// one; whenever one ends, the next begins in its place.
func runClimbs(climbs []climb) {
	var a, b *climb
	var toA, toB int
	for {
		if toA == 0 {
			a, toA, climbs = nextClimb(a, climbs)
		}
		if toB == 0 {
			b, toB, climbs = nextClimb(b, climbs)
		}
		switch {
		case toA == 0 && toB == 0:
			return
		case toA == 0:
			advance(b, toB)
			toB = 0
		case toB == 0:
			advance(a, toA)
			toA = 0
		default:
			n := min(toA, toB)
			advance2(a, b, n)
			toA, toB = toA-n, toB-n
		}
	}
}

// nextClimb goes on with c if it has a stop left, else with the first of rest that has.
func nextClimb(c *climb, rest []climb) (*climb, int, []climb) {
	for {
		if c != nil {
			if n := c.settle(); n > 0 {
				return c, n, rest
			}
		}
		if len(rest) == 0 {
			return nil, 0, nil
		}
		c, rest = &rest[0], rest[1:]
	}
}

// advanceOne takes a climb n levels up with crypto/sha256.
func advanceOne(c *climb, n int) {
	for range n {
		sibling := &empty[c.height]
		if c.path.Right(Depth - 1 - c.height) {
			c.hash = BranchHash(*sibling, c.hash)
		} else {
			c.hash = BranchHash(c.hash, *sibling)
		}
		c.height++
	}
}
