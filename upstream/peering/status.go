package peering

import (
	"errors"
	"maps"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Result is how a comparison with a peer ended.
type Result uint8

// The results.
const (
	Consistent    Result = iota // what the peer holds agrees with what is known here
	Absent                      // the peer holds nothing of the registry
	Verified                    // the peer agrees with what it was shown
	Unverified                  // the peer did not know yet what it was shown
	Denied                      // the peer does not accept what it was shown
	Contradiction               // what the peer holds cannot be true together with what is known
	Unjudged                    // nothing is known here that it could be compared with
	Refused                     // what the peer says is no answer: not signed by the registry
	Unreachable                 // the peer did not answer
	results
)

var resultText = [results]string{"consistent", "absent", "verified", "unverified", "denied", "contradiction", "unjudged", "refused", "unreachable"}

// String returns the name under which the result is counted.
func (r Result) String() string { return resultText[min(r, results-1)] }

// resultOf says what an error of a question means.
func resultOf(err error) Result {
	if errors.Is(err, &warg.Error{Kind: warg.KindNotFound}) {
		return Absent
	}
	if errors.Is(err, &warg.Error{Kind: warg.KindUpstreamInvalid}) {
		return Refused
	}
	return Unreachable
}

// Status describes a link for operators.
type Status struct {
	Domain      string
	AnsweredAt  time.Time         // when the peer last answered a question
	LastError   string            // of the last comparison that went wrong, "" since our own went well
	LastErrorAt time.Time         // of that
	Checks      map[Result]uint64 // comparisons since start; all results are there
}

// note takes down how a comparison ended.
func (l *Link) note(r Registry, result Result, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	l.status.Checks[result]++
	if result != Unreachable {
		l.status.AnsweredAt = now
	}
	absent := result == Absent && r != l.o.Own
	switch {
	case err != nil && !absent:
		l.status.LastError, l.status.LastErrorAt = r.Domain()+": "+err.Error(), now
	case r == l.o.Own && result == Consistent:
		l.status.LastError, l.status.LastErrorAt = "", time.Time{}
	}
}

// Status returns the status of the link.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Checks = maps.Clone(s.Checks)
	return s
}
