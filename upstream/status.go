package upstream

import (
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// The states of a replica as [Status] reports them.
const (
	StateOK          = "ok"
	StateStale       = "stale"
	StateQuarantined = "quarantined"
	StateCold        = "cold" // nothing can be served yet
)

// Status describes a replica for its operator.
type Status struct {
	Domain         string
	State          string
	Offline        bool
	LogLength      uint64     // of the checkpoint served, 0 = none
	CheckpointTime time.Time  // when that was signed
	VerifiedAt     time.Time  // when it was last known to be the newest
	OperatorKey    warg.KeyID // what everything hangs on
	Pinned         string     // why that key is believed
	LastError      string     // of the last exchange that failed, "" since one succeeded
	LastErrorAt    time.Time
	Quarantine     *Quarantine
	Refused        map[Class]uint64 // refusals since start
	Fetches        uint64           // from upstream since start, refreshes included
	Circuit        Circuit          // of the circuit breaker
}

// tally counts what happened since start.
type tally struct {
	mu      sync.Mutex
	fetches uint64
	last    string
	lastAt  time.Time
	refused [classCount]refused
}

// note counts how an exchange with upstream ended and logs what went wrong.
func (r *Replica) note(doing string, err error) {
	class := ClassOf(err)
	r.tally.mu.Lock()
	r.tally.fetches++
	r.counts.refused[class].Add(1)
	r.tally.last, r.tally.lastAt = "", time.Time{}
	if err != nil {
		r.tally.last, r.tally.lastAt = err.Error(), r.o.Now()
	}
	r.tally.refused[class].note(doing, err)
	r.tally.mu.Unlock()
	switch {
	case class != ClassNone:
		r.o.Log.Warn("upstream was refused", "upstream", r.o.Domain, "doing", doing, "class", class.String(), "error", err)
		r.auditRefused(false)
	case err != nil:
		r.o.Log.Info("upstream could not be asked", "upstream", r.o.Domain, "doing", doing, "error", err, "cause", cause(err))
	}
}

// cause returns what is behind an error that is worded for clients.
func cause(err error) error {
	for {
		e, ok := asWarg(err)
		if !ok || e.Err == nil {
			return err
		}
		err = e.Err
	}
}

// Status returns the replica's status.
func (r *Replica) Status() Status {
	h, v := r.trusted.current(), r.view.Load()
	s := Status{
		Domain: r.o.Domain, State: StateOK, Offline: r.o.Offline,
		OperatorKey: h.OperatorKey, Pinned: h.Pinned, Quarantine: h.Quarantine,
		Refused: make(map[Class]uint64), Circuit: r.reach.state(r.o.Now()),
	}
	if v != nil {
		s.LogLength = v.cp.LogLength
		s.CheckpointTime = time.Unix(int64(v.cp.Timestamp), 0).UTC()
		s.VerifiedAt = time.Unix(0, r.checked.Load()).UTC()
	}
	switch {
	case h.Quarantine != nil:
		s.State = StateQuarantined
	case v == nil:
		s.State = StateCold
	case r.age() > r.o.MaxAge || r.frozen() > 0:
		s.State = StateStale
	}
	r.tally.mu.Lock()
	defer r.tally.mu.Unlock()
	for _, class := range Classes() {
		if n := r.counts.refused[class].Load(); n > 0 {
			s.Refused[class] = n
		}
	}
	s.Fetches, s.LastError, s.LastErrorAt = r.tally.fetches, r.tally.last, r.tally.lastAt
	return s
}

// Quarantined reports whether the registry contradicted itself, so that nothing new is
// accepted from it until the operator decides.
func (r *Replica) Quarantined() bool { return r.trusted.current().Quarantine != nil }
