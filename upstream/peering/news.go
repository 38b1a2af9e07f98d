package peering

import (
	"context"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// news is what the peer was told of a registry.
type news struct {
	unwanted bool    // the peer does not answer for that registry
	length   uint64  // of the head that it was shown last, 0 = none
	open     bool    // it could not judge that yet
	deaf     bool    // it did not answer when it was shown something
	again    backOff // while open or deaf
}

// due reports whether the peer is to be shown a head of a length.
func (n *news) due(length uint64, now time.Time) bool {
	switch wait := now.Before(n.again.until); {
	case n.unwanted:
		return false
	case n.deaf:
		return !wait
	case length == n.length:
		return n.open && !wait
	}
	return true
}

// tellNews shows the peer the heads that have grown, and again those that it could not
// judge yet: it may have caught up meanwhile. One that does not listen, or does not
// catch up, is shown them less and less often.
func (l *Link) tellNews(ctx context.Context) {
	for _, r := range append([]Registry{l.o.Own}, l.o.Others...) {
		head, ok := r.Head()
		n := l.news[r.Domain()]
		if !ok || !n.due(head.Unverified().LogLength, l.o.Now()) {
			continue
		}
		if l.show(ctx, r); n.open || n.deaf {
			n.again.until = l.o.Now().Add(n.again.next(l.o.Chance))
		}
	}
}

// show shows the peer our head of a registry. If it is news the peer looks for itself;
// if it contradicts what the peer knows, it is the peer that raises the alarm, and we
// learn of it at the next comparison.
func (l *Link) show(ctx context.Context, r Registry) {
	head, ok := r.Head()
	if !ok {
		return
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	n, length := l.news[r.Domain()], head.Unverified().LogLength
	v, err := l.o.Peer.Verify(asking, r.Domain(), head)
	n.deaf = err != nil
	if err == nil {
		if length != n.length {
			n.again = backOff{}
		}
		n.length, n.open = length, v.Checkpoint == warg.Unverified
	}
	switch {
	case err != nil:
		l.note(r, resultOf(err), err)
	case v.Checkpoint == warg.Verified:
		l.note(r, Verified, nil)
	case v.Checkpoint == warg.Unverified:
		l.note(r, Unverified, nil)
	default:
		l.note(r, Denied, fmt.Errorf("the peer says that our checkpoint of length %d is %s", length, v.Checkpoint))
		l.o.Log.Warn("peer does not accept our checkpoint", "peer", l.o.Domain, "registry", r.Domain(), "length", length)
	}
}
