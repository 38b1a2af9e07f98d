package upstream

import (
	"time"

	"github.com/entrepot/entrepot/internal/audit"
)

// refusedEvery is how often, at most, refusals of one class get a line in the audit log;
// each line says how many they were. Readers could else make a lying upstream fill it.
const refusedEvery = time.Minute

// refused are refusals of one class that have no line yet.
type refused struct {
	times  uint64
	doing  string // of the last one
	reason string
	at     time.Time // of the last line
}

func (f *refused) note(doing string, err error) {
	if err != nil {
		f.times, f.doing, f.reason = f.times+1, doing, err.Error()
	}
}

// audit records an event about the registry. If that fails, whoever opened the log sees
// it; what is refused here stays refused.
func (r *Replica) audit(e audit.Event) {
	e.Upstream = r.o.Domain
	_ = r.o.Audit.Record(e)
}

// auditRefused records refusals that have waited long enough for a line, or all.
func (r *Replica) auditRefused(all bool) {
	if r.o.Audit == nil {
		return
	}
	now := r.o.Now()
	var events []audit.Event
	r.tally.mu.Lock()
	for _, class := range Classes() {
		f := &r.tally.refused[class]
		if f.times == 0 || !all && now.Sub(f.at).Abs() < refusedEvery {
			continue
		}
		e := audit.Event{Kind: audit.Refused, Upstream: r.o.Domain, Class: class.String(), Doing: f.doing, Reason: f.reason}
		if f.times > 1 {
			e.Times = f.times
		}
		events = append(events, e)
		*f = refused{at: now}
	}
	r.tally.mu.Unlock()
	_ = r.o.Audit.Record(events...)
}
