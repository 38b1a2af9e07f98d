package upstream

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Back-off after failures: doubled from first to longest, each drawn between nothing
// and the whole, so that many replicas do not come back at once. The longest is drawn
// between three quarters and the whole: readers who are answered make us ask at most
// twice in that time, and one who does not answer is not to be asked more often.
const (
	firstBackoff   = time.Second
	longestBackoff = time.Minute
	doublings      = 6 // firstBackoff doubled so often is longer than longestBackoff

	// probeWait is how long others wait for the one request that finds out whether
	// upstream answers again, if nobody hears of it. It is longer than such a request
	// takes to fail.
	probeWait = headTimeout + 5*time.Second
	probeSoon = 2 // seconds: what clients are told meanwhile
)

// Circuit is the state of the circuit breaker of an upstream.
type Circuit uint8

// The states of a circuit breaker.
const (
	CircuitClosed   Circuit = iota // requests pass
	CircuitOpen                    // upstream does not answer: it is asked nothing for a while
	CircuitHalfOpen                // that while is over: one request may find out
	circuits
)

var circuitText = [circuits]string{"closed", "open", "half-open"}

// String returns the name under which the state is shown.
func (c Circuit) String() string { return circuitText[min(c, circuits-1)] }

// Circuits returns all states.
func Circuits() []Circuit { return []Circuit{CircuitClosed, CircuitOpen, CircuitHalfOpen} }

// breaker keeps us from asking somebody who does not answer. The first failure opens
// it; after a pause one request passes, and closes it or opens it for longer.
type breaker struct {
	budget *retryBudget

	mu       sync.Mutex
	failures int       // in a row, 0 = closed
	until    time.Time // nothing passes before, while failures > 0
	probing  bool      // a request that finds out is under way
	last     error
	opened   uint64
}

// state returns the state.
func (b *breaker) state(now time.Time) Circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failures == 0:
		return CircuitClosed
	case b.probing || !now.Before(b.until):
		return CircuitHalfOpen
	}
	return CircuitOpen
}

// openings returns how often the breaker opened.
func (b *breaker) openings() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

// closed returns the last failure if it is too early to try again.
func (b *breaker) closed(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusal(now)
}

// pass is closed for who will send a request if it returns nil. While the breaker is
// half open that is one.
func (b *breaker) pass(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refusal(now); err != nil || b.failures == 0 {
		return err
	}
	b.probing, b.until = true, now.Add(probeWait)
	return nil
}

// refusal is closed for who holds the lock.
func (b *breaker) refusal(now time.Time) error {
	if b.failures == 0 || !now.Before(b.until) {
		return nil
	}
	e := warg.Error{Kind: warg.KindUnavailable, Message: b.last.Error(), Err: b.last}
	if known, ok := asWarg(b.last); ok {
		e = *known
	}
	e.RetryAfter = int(b.until.Sub(now)/time.Second) + 1
	if b.probing {
		e.RetryAfter = min(e.RetryAfter, probeSoon)
	}
	return &e
}

// report notes how a request ended. Those that were under way when the breaker opened
// say nothing new. What is tried again before the longest pause is over is paid for.
func (b *breaker) report(err error, now time.Time) { b.note(err, now, b.budget) }

// note is report with the budget that pays.
func (b *breaker) note(err error, now time.Time, budget *retryBudget) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.failures, b.until, b.probing, b.last = 0, time.Time{}, false, nil
		return
	case b.failures > 0 && !b.probing && now.Before(b.until):
		return
	case b.failures == 0:
		b.opened++
	}
	pause, drawn := longestBackoff, longestBackoff/4
	if b.failures < doublings && budget.take() {
		pause = firstBackoff << b.failures
		drawn = pause
	}
	b.failures++
	b.probing, b.last = false, err
	b.until = now.Add(pause - rand.N(drawn))
}

// hold lets nothing pass before a pause is over, and up to a tenth more, so that many
// do not come back at once. A request that finds out goes on, and so does a closed one.
func (b *breaker) hold(pause time.Duration, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if pause <= 0 || b.failures == 0 || b.probing {
		return
	}
	const share = 10
	if until := now.Add(pause + rand.N(pause/share+1)); until.After(b.until) {
		b.until = until
	}
}

// Bounds on extra requests: those that are sent before the longest pause is over,
// because somebody did not answer.
const (
	// retryShare is what a request earns. As those that were paid for earn as well,
	// what can be spent is a tenth of the others.
	retryShare = 1.0 / 11
	// retryReserve is how much can be saved, and what there is at first: enough to
	// notice after seconds that a quiet upstream is back.
	retryReserve = 10.0
)

// retryBudget is a bucket of tokens, each worth one extra request. A nil one is
// never empty.
type retryBudget struct {
	mu     sync.Mutex
	spent  uint64
	earned float64 // beyond the reserve, less what was spent: from -retryReserve to 0
}

// earn notes a request.
func (r *retryBudget) earn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.earned = min(r.earned+retryShare, 0)
}

// take spends a token if there is one.
func (r *retryBudget) take() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.earned-1 < -retryReserve {
		return false
	}
	r.earned--
	r.spent++
	return true
}

// state returns how many tokens there are, and how many were spent.
func (r *retryBudget) state() (tokens float64, spent uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return retryReserve + r.earned, r.spent
}
