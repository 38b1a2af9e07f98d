package proxy

import "slices"

// line is what one address holds of a budget, and what it waits for, oldest first.
type line struct {
	held   int64
	claims []*claim
	place  int // in the heap of those that wait
}

// nowhere is the place of a line that waits for nothing.
const nowhere = -1

func (l *line) remove(c *claim) {
	i := slices.Index(l.claims, c)
	l.claims = slices.Delete(l.claims, i, i+1)
}

// lineHeap has the line first that holds least, the one that waits longest among equals.
type lineHeap []*line

// Len implements [heap.Interface].
func (h lineHeap) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h lineHeap) Less(i, j int) bool {
	if h[i].held != h[j].held {
		return h[i].held < h[j].held
	}
	return h[i].claims[0].number < h[j].claims[0].number
}

// Swap implements [heap.Interface].
func (h lineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements [heap.Interface].
func (h *lineHeap) Push(x any) {
	l := x.(*line)
	l.place = len(*h)
	*h = append(*h, l)
}

// Pop implements [heap.Interface].
func (h *lineHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.place = nowhere
	return l
}
