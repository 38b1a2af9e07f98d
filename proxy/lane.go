package proxy

import (
	"runtime"
	"time"

	"github.com/entrepot/entrepot/warg"
)

const (
	// costlyItems is how many logs, names or leaves make a request a costly one. Clients
	// ask for what a project depends on, which is less; who asks for more shares a lane
	// with others of the kind and not the processor with everybody.
	costlyItems = 64

	// laneWait is how long a costly request waits for its turn.
	laneWait = 5 * time.Second

	// foreignSlots is how many costly requests to one upstream may be under way. They may
	// wait for the network, so there are more of them than processors.
	foreignSlots = 64
)

// lane is where costly requests wait for each other. All the rest passes by: a
// checkpoint, which is cheap and which every client polls, is never queued behind a
// proof for ten thousand leaves.
type lane struct {
	slots chan struct{}
	wait  time.Duration
}

func newLane(slots int) *lane { return &lane{make(chan struct{}, slots), laneWait} }

// ownSlots is how many costly requests to our own registry may be under way: they
// compute, so more than there are processors would only delay what is cheap.
func ownSlots() int { return max(2, runtime.GOMAXPROCS(0)) }

// enter waits for a turn and reports whether there was one. Who got one must leave.
func (l *lane) enter() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(l.wait)
	defer t.Stop()
	select {
	case l.slots <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

func (l *lane) leave() { <-l.slots }

// queue waits for a turn in the registry's lane if a request for so many items is
// costly. Its end must be called.
func (c *call) queue(items int) (end func(), err error) {
	if items <= costlyItems {
		return func() {}, nil
	}
	l := c.s.lanes[c.laneOf()]
	if !l.enter() {
		return nil, &warg.Error{Kind: warg.KindUnavailable, Message: "too many costly requests at once", RetryAfter: 1}
	}
	return l.leave, nil
}

// laneOf returns the domain of the registry that a call is for; "" is our own.
func (c *call) laneOf() string {
	if c.upstream == nil {
		return ""
	}
	return c.domain
}

// newLanes returns a lane for each registry.
func newLanes(f *Federation) map[string]*lane {
	lanes := map[string]*lane{"": newLane(ownSlots())}
	for _, domain := range f.domains() {
		lanes[domain] = newLane(foreignSlots)
	}
	return lanes
}
