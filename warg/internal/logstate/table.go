package logstate

import (
	"maps"
	"slices"
)

// scanned is up to how many entries a table is searched one by one. Most logs
// have a handful of keys, for which an index would cost more than it saves.
const scanned = 8

// Table is a map that keeps the order of insertion and can forget what was
// inserted last. The zero value is empty.
type Table[K comparable, V any] struct {
	keys   []K
	values []V
	index  map[K]int // of all entries, once there are more than scanned
}

// Len returns the number of entries.
func (t *Table[K, V]) Len() int { return len(t.keys) }

// Find returns the position of k.
func (t *Table[K, V]) Find(k K) (at int, ok bool) {
	if t.index != nil {
		at, ok = t.index[k]
		return at, ok
	}
	at = slices.Index(t.keys, k)
	return at, at >= 0
}

// Value returns the value of k, or the zero value.
func (t *Table[K, V]) Value(k K) (v V, ok bool) {
	at, ok := t.Find(k)
	if ok {
		v = t.values[at]
	}
	return v, ok
}

// At returns the entry at a position.
func (t *Table[K, V]) At(i int) (K, V) { return t.keys[i], t.values[i] }

// Set replaces the value at a position.
func (t *Table[K, V]) Set(i int, v V) { t.values[i] = v }

// Add inserts a key that the table does not hold.
func (t *Table[K, V]) Add(k K, v V) {
	if t.index == nil && len(t.keys) == scanned {
		t.index = make(map[K]int, 2*scanned)
		for i, k := range t.keys {
			t.index[k] = i
		}
	}
	if t.index != nil {
		t.index[k] = len(t.keys)
	}
	t.keys, t.values = append(t.keys, k), append(t.values, v)
}

// Truncate forgets all but the first n entries.
func (t *Table[K, V]) Truncate(n int) {
	for _, k := range t.keys[n:] {
		delete(t.index, k)
	}
	clear(t.keys[n:])
	clear(t.values[n:])
	t.keys, t.values = t.keys[:n], t.values[:n]
}

// Keys returns a copy of the keys in order of insertion.
func (t *Table[K, V]) Keys() []K { return slices.Clone(t.keys) }

// Values returns a copy of the values in order of insertion.
func (t *Table[K, V]) Values() []V { return slices.Clone(t.values) }

// Clone returns a table that shares nothing with t but what keys and values point to.
func (t *Table[K, V]) Clone() Table[K, V] {
	return Table[K, V]{slices.Clone(t.keys), slices.Clone(t.values), maps.Clone(t.index)}
}
