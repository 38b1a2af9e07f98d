package upstream

import (
	"sync/atomic"
	"time"
)

// Stats counts what a replica did since it was opened. All keys come from closed
// sets; what never happened is there with 0.
type Stats struct {
	Requests map[RequestKind]map[Outcome]uint64 // to upstream
	Refused  map[Class]uint64                   // what was not believed
	Hits     map[Holding]uint64                 // answered from what was held
	Misses   map[Holding]uint64                 // fetched first, or not there
	Joined   map[Holding]uint64                 // readers that waited for what another had asked for
	Stale    uint64                             // answers that said that they may be out of date

	VerifiedRecords uint64
	Verified        map[Holding]Durations // of HoldingCheckpoint and HoldingRecords

	Circuit     Circuit // of the circuit breaker, now
	Opened      uint64  // how often it opened
	Retries     uint64  // requests that were allowed before the longest pause was over
	RetryBudget float64 // how many more of them are allowed now

	Quarantines uint64
	FirstKeys   uint64 // operator keys that were believed because nothing was pinned
	Damages     uint64 // of the store, beyond what it could repair
}

// RequestKind is what upstream is asked for.
type RequestKind uint8

// The kinds of requests.
const (
	RequestCheckpoint RequestKind = iota
	RequestLedger
	RequestLogs
	RequestNames
	RequestContent
	RequestConsistency
	RequestRecord
	RequestPublish
	RequestUpload
	requestKinds
)

var requestText = [requestKinds]string{"checkpoint", "ledger", "logs", "names", "content", "consistency", "record", "publish", "upload"}

// String returns the name under which requests of the kind are counted.
func (k RequestKind) String() string { return requestText[min(k, requestKinds-1)] }

// Outcome is how a request ended, before anything of the answer was verified.
type Outcome uint8

// The outcomes.
const (
	OutcomeOK          Outcome = iota
	OutcomeUnreachable         // no connection, or upstream is not available
	OutcomeTimeout             // no answer in time, or one that came too slowly
	OutcomeDenied              // an answer that is an error
	OutcomeRefused             // not an answer of the protocol, or content with other bytes
	outcomes
)

var outcomeText = [outcomes]string{"ok", "unreachable", "timeout", "denied", "refused"}

// String returns the name under which the outcome is counted.
func (o Outcome) String() string { return outcomeText[min(o, outcomes-1)] }

// Holding is what a replica holds and readers want.
type Holding uint8

// The holdings.
const (
	HoldingCheckpoint Holding = iota // with its ledger; fresh enough is a hit
	HoldingRecords                   // of one log
	HoldingName
	HoldingContent
	holdings
)

var holdingText = [holdings]string{"checkpoint", "records", "name", "content"}

// String returns the name under which the holding is counted.
func (h Holding) String() string { return holdingText[min(h, holdings-1)] }

// counts are the counters behind Stats. They are added to without a lock, one by
// one, so a reading of several need not be of one moment.
type counts struct {
	requests    [requestKinds][outcomes]atomic.Uint64
	refused     [classCount]atomic.Uint64
	hits        [holdings]atomic.Uint64
	misses      [holdings]atomic.Uint64
	joined      [holdings]atomic.Uint64
	stale       atomic.Uint64
	records     atomic.Uint64
	verified    [holdings]durations
	quarantines atomic.Uint64
	firstKeys   atomic.Uint64
	damages     atomic.Uint64
}

// looked counts a reader that found what it wanted, or did not.
func (c *counts) looked(h Holding, hit bool) {
	if hit {
		c.hits[h].Add(1)
	} else {
		c.misses[h].Add(1)
	}
}

// lookedAll is looked for several things at a time: readers on all processors share
// the counters.
func (c *counts) lookedAll(h Holding, hits, misses int) {
	if hits > 0 {
		c.hits[h].Add(uint64(hits))
	}
	if misses > 0 {
		c.misses[h].Add(uint64(misses))
	}
}

// wait counts a reader that waits for what another had asked for before.
func (c *counts) wait(h Holding, joined bool) {
	if joined {
		c.joined[h].Add(1)
	}
}

// answered counts an answer that carries a warning.
func (c *counts) answered(warning string) {
	if warning != "" {
		c.stale.Add(1)
	}
}

// Stats returns what the replica did since it was opened.
func (r *Replica) Stats() Stats {
	c := &r.counts
	s := Stats{
		Requests: make(map[RequestKind]map[Outcome]uint64), Refused: make(map[Class]uint64),
		Hits: make(map[Holding]uint64), Misses: make(map[Holding]uint64), Joined: make(map[Holding]uint64),
		Stale: c.stale.Load(), VerifiedRecords: c.records.Load(), Verified: make(map[Holding]Durations),
		Quarantines: c.quarantines.Load(), FirstKeys: c.firstKeys.Load(), Damages: c.damages.Load(),
	}
	s.Circuit, s.Opened = r.reach.state(r.o.Now()), r.reach.openings()
	s.RetryBudget, s.Retries = r.retries.state()
	for k := range requestKinds {
		s.Requests[k] = make(map[Outcome]uint64)
		for o := range outcomes {
			s.Requests[k][o] = c.requests[k][o].Load()
		}
	}
	for _, class := range Classes() {
		s.Refused[class] = c.refused[class].Load()
	}
	for h := range holdings {
		s.Hits[h], s.Misses[h], s.Joined[h] = c.hits[h].Load(), c.misses[h].Load(), c.joined[h].Load()
	}
	for _, h := range []Holding{HoldingCheckpoint, HoldingRecords} {
		s.Verified[h] = c.verified[h].snapshot()
	}
	return s
}

// Durations are how long things took: a histogram.
type Durations struct {
	Buckets map[float64]uint64 // how many took at most so many seconds
	Count   uint64
	Sum     time.Duration
}

// durationBounds are the upper bounds of the buckets, from a signature to a ledger of
// millions of leaves.
var durationBounds = [...]time.Duration{
	100 * time.Microsecond, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond,
	100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute,
}

type durations struct {
	buckets [len(durationBounds) + 1]atomic.Uint64 // the last is for what took longer
	nanos   atomic.Int64
}

func (d *durations) observe(took time.Duration) {
	i := 0
	for i < len(durationBounds) && took > durationBounds[i] {
		i++
	}
	d.buckets[i].Add(1)
	d.nanos.Add(int64(took))
}

func (d *durations) snapshot() Durations {
	s := Durations{Buckets: make(map[float64]uint64, len(durationBounds)), Sum: time.Duration(d.nanos.Load())}
	for i, bound := range durationBounds {
		s.Count += d.buckets[i].Load()
		s.Buckets[bound.Seconds()] = s.Count
	}
	s.Count += d.buckets[len(durationBounds)].Load()
	return s
}

// stopwatch measures work without the waits in it. It belongs to one goroutine.
type stopwatch struct {
	spent time.Duration
	since time.Time // zero while it stands still
}

func (w *stopwatch) start() { w.since = time.Now() }

func (w *stopwatch) stop() {
	if !w.since.IsZero() {
		w.spent += time.Since(w.since)
	}
	w.since = time.Time{}
}

// pause stops it until the function that it returns is called.
func (w *stopwatch) pause() (resume func()) {
	if w.since.IsZero() {
		return func() {}
	}
	w.stop()
	return w.start
}

// take returns what was measured and begins anew.
func (w *stopwatch) take() time.Duration {
	w.stop()
	spent := w.spent
	w.spent = 0
	return spent
}
