package vlog

import (
	"slices"
	"testing"
)

func TestNodeTables(t *testing.T) {
	heights := []int{0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0}
	sides := "LLRLLRRLLLRRLRR"
	parents := []Node{1, 3, 1, 7, 5, 3, 5, 15, 9, 11, 9, 7, 13, 11, 13}
	siblings := []Node{2, 5, 0, 11, 6, 1, 4, 23, 10, 13, 8, 3, 14, 9, 12}
	for i := range heights {
		x := Node(i)
		if x.Height() != heights[i] || x.IsRight() != (sides[i] == 'R') || x.Parent() != parents[i] || x.Sibling() != siblings[i] {
			t.Errorf("node %d: height %d, right %v, parent %d, sibling %d", x, x.Height(), x.IsRight(), x.Parent(), x.Sibling())
		}
		if At(x.Height(), x.Position()) != x {
			t.Errorf("node %d is number %d of its height, which is node %d", x, x.Position(), At(x.Height(), x.Position()))
		}
	}
	for x, want := range map[Node][2]Node{1: {0, 2}, 3: {1, 5}, 5: {4, 6}, 7: {3, 11}, 9: {8, 10}, 11: {9, 13}, 13: {12, 14}, 4: {4, 4}} {
		if l, r := x.Children(); l != want[0] || r != want[1] {
			t.Errorf("node %d has children %d and %d, want %d", x, l, r, want)
		}
	}
	for x, length := range map[Node]uint64{1: 2, 3: 4, 5: 4, 7: 8, 9: 6, 11: 8, 13: 8, 0: 1, 14: 8} {
		if x.ExistsAt(length-1) || !x.ExistsAt(length) {
			t.Errorf("node %d does not begin to exist at length %d", x, length)
		}
	}
}

func TestRoots(t *testing.T) {
	want := [][]Node{{}, {0}, {1}, {1, 4}, {3}, {3, 8}, {3, 9}, {3, 9, 12}, {7}}
	for n, roots := range want {
		if got := Roots(uint64(n)); !slices.Equal(got, roots) {
			t.Errorf("balanced roots of %d leaves are %v, want %v", n, got, roots)
		}
	}
	if got := Roots(MaxLength); !slices.Equal(got, []Node{1<<31 - 1}) {
		t.Errorf("balanced roots of the longest log are %v", got)
	}
}

// TestNeeded checks which hashes single proofs need.
func TestNeeded(t *testing.T) {
	cases := []struct {
		start  Node
		length uint64
		want   []Node
	}{
		{0, 1, nil},
		{0, 2, []Node{2}},
		{0, 3, []Node{2, 4}},
		{2, 3, []Node{0, 4}},
		{4, 3, []Node{1}},
		{6, 7, []Node{1, 4, 9, 12}},
	}
	for _, c := range cases {
		p := plan{length: c.length, start: []Node{c.start}}
		if got := p.nodes(); !slices.Equal(got, c.want) {
			t.Errorf("node %d at length %d needs %v, want %v", c.start, c.length, got, c.want)
		}
	}
}
