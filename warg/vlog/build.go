package vlog

import (
	"fmt"
	"slices"
)

// BuildBundle makes a bundle of proofs for the log of the given length: that it
// extends the logs of the lengths in consistent, and that the leaves with the
// indexes in included are in it. Hashes are read from r.
//
// The errors are [ErrNoProofs], also if there is nothing but a consistency proof
// from length 0, [ErrPointsOutOfOrder], [ErrLeafTooNew], [ErrTooLong], and
// whatever r returns.
func BuildBundle(r NodeReader, length uint64, consistent, included []uint64) (Bundle, error) {
	b := Bundle{Length: length, Consistent: slices.Clone(consistent)}
	if length > MaxLength {
		return Bundle{}, fmt.Errorf("length %d: %w", length, ErrTooLong)
	}
	p := plan{length: length}
	proofs := len(included)
	for _, m := range consistent {
		if m > length {
			return Bundle{}, ErrPointsOutOfOrder
		}
		roots := Roots(m)
		proofs += len(roots)
		p.start = append(p.start, roots...)
		p.pool = append(p.pool, roots...)
	}
	if proofs == 0 {
		return Bundle{}, ErrNoProofs
	}
	for _, index := range included {
		if index >= length {
			return Bundle{}, ErrLeafTooNew
		}
		b.Included = append(b.Included, LeafNode(index))
	}
	p.start = append(p.start, b.Included...)
	return b, b.fill(r, p.nodes())
}

func (b *Bundle) fill(r NodeReader, nodes []Node) error {
	b.Pool = make([]Entry, len(nodes))
	for i, x := range nodes {
		hash, err := r.Node(x)
		if err != nil {
			return err
		}
		b.Pool[i] = Entry{x, hash}
	}
	return nil
}

// plan finds which nodes a set of proofs needs.
type plan struct {
	length uint64
	start  []Node // what is to be proven to be in the log
	pool   []Node // what the proofs need, unordered and with duplicates
}

// nodes returns what is needed in ascending order. All proofs climb together, one
// height after another, so that a path that several of them share is walked once.
func (p *plan) nodes() []Node {
	slices.SortFunc(p.start, func(a, b Node) int {
		if d := a.Height() - b.Height(); d != 0 {
			return d
		}
		return int(int64(a) - int64(b))
	})
	var reached []Node // balanced roots that some proof climbs to
	var level, parents []Node
	for height, rest := 0, p.start; len(rest) > 0 || len(level) > 0; height++ {
		for len(rest) > 0 && rest[0].Height() == height {
			level, rest = append(level, rest[0]), rest[1:]
		}
		slices.Sort(level)
		parents = parents[:0]
		for _, x := range slices.Compact(level) {
			if x.isRootAt(p.length) {
				reached = append(reached, x)
				continue
			}
			p.pool = append(p.pool, x.Sibling())
			parents = append(parents, x.Parent())
		}
		level, parents = parents, level
	}
	p.addRoots(reached)
	slices.Sort(p.pool)
	return slices.Compact(p.pool)
}

// addRoots adds the balanced roots: each proof needs all but the one it reached.
func (p *plan) addRoots(reached []Node) {
	for _, x := range Roots(p.length) {
		if len(reached) > 1 || x != reached[0] {
			p.pool = append(p.pool, x)
		}
	}
}
