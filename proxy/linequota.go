package proxy

import (
	"sync"
	"time"
)

// Whoever can send requests can have lines written about those that fail. Beyond
// lineBurst at once and lineRate a second of one kind they are counted, not written.
const (
	lineRate  = 10  // a second
	lineBurst = 100 // at once
)

// lineQuota bounds the lines about one kind of answers. The zero lineQuota is full.
type lineQuota struct {
	mu      sync.Mutex
	used    float64 // of lineBurst, as of last
	last    time.Time
	leftOut uint64 // since the last line
}

// take reports whether a line may be written at the given time, and how many were left
// out before it.
func (q *lineQuota) take(now time.Time) (leftOut uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.After(q.last) {
		q.used = max(0, q.used-lineRate*now.Sub(q.last).Seconds())
		q.last = now
	}
	if q.used+1 > lineBurst {
		q.leftOut++
		return 0, false
	}
	q.used++
	leftOut, q.leftOut = q.leftOut, 0
	return leftOut, true
}

// lineQuotas is a quota for each row and class of status, so that a flood of one kind
// hides no other.
type lineQuotas [][statusClasses]lineQuota

// of returns the quota of an answer; the last row is for requests that no row took.
func (q lineQuotas) of(r *route, status int) *lineQuota {
	row := len(q) - 1
	if r != nil {
		row = r.index
	}
	return &q[row][min(max(status/100, 1), statusClasses)-1]
}
