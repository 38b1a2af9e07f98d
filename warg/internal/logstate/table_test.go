package logstate

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestTable compares a table with a plain list of pairs, below and above the
// size at which it grows an index.
func TestTable(t *testing.T) {
	type pair struct{ k, v int }
	rapid.Check(t, func(t *rapid.T) {
		var table Table[int, int]
		var list []pair
		find := func(k int) int { return slices.IndexFunc(list, func(p pair) bool { return p.k == k }) }
		for range rapid.IntRange(0, 60).Draw(t, "operations") {
			k, v := rapid.IntRange(0, 30).Draw(t, "key"), rapid.Int().Draw(t, "value")
			at := find(k)
			switch {
			case rapid.IntRange(0, 9).Draw(t, "operation") == 0:
				n := rapid.IntRange(0, len(list)).Draw(t, "length")
				table.Truncate(n)
				list = list[:n]
			case at < 0:
				table.Add(k, v)
				list = append(list, pair{k, v})
			default:
				table.Set(at, v)
				list[at].v = v
			}
			for k := range 31 {
				at, ok := table.Find(k)
				v, found := table.Value(k)
				want := find(k)
				if ok != (want >= 0) || found != ok || ok && (at != want || v != list[want].v) {
					t.Fatalf("key %d: at %d, value %d, %v; list %v", k, at, v, ok, list)
				}
			}
		}
		if table.Len() != len(list) || len(table.Keys()) != len(list) {
			t.Fatalf("%d entries, want %d", table.Len(), len(list))
		}
		for i, p := range list {
			if k, v := table.At(i); (pair{k, v}) != p || table.Keys()[i] != k || table.Values()[i] != v {
				t.Fatalf("entry %d is %d, %d", i, k, v)
			}
		}
	})
}

func TestTableClone(t *testing.T) {
	for _, n := range []int{3, 20} {
		var table Table[int, int]
		for i := range n {
			table.Add(i, i)
		}
		clone := table.Clone()
		clone.Set(1, 100)
		clone.Add(1000, 1)
		table.Add(2000, 2)
		if v, _ := table.Value(1); v != 1 {
			t.Errorf("%d entries: the original changed with the clone", n)
		}
		if _, ok := table.Find(1000); ok {
			t.Errorf("%d entries: the original grew with the clone", n)
		}
		if _, ok := clone.Find(2000); ok {
			t.Errorf("%d entries: the clone grew with the original", n)
		}
	}
}

// perm is a permission of no log.
type perm uint8

// TestSetOrder: a removal moves the last element into the gap.
func TestSetOrder(t *testing.T) {
	var s Set[perm]
	for _, p := range []perm{1, 2, 3, 2} {
		s = s.With(p)
	}
	if !slices.Equal(s.List(), []perm{1, 2, 3}) {
		t.Fatalf("got %v", s.List())
	}
	less, ok := s.Without(1)
	if !ok || !slices.Equal(less.List(), []perm{3, 2}) || less.Has(1) || !s.Has(1) {
		t.Errorf("got %v, %v, left %v", less.List(), ok, s.List())
	}
	if same, ok := less.Without(1); ok || same != less {
		t.Errorf("removed what is not there: %v", same.List())
	}
	empty, _ := less.Without(2)
	empty, _ = empty.Without(3)
	if empty != (Set[perm]{}) {
		t.Errorf("an emptied set is not the empty set: %v", empty.List())
	}
}
