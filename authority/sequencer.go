package authority

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/entrepot/entrepot/authority/pending"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

// fenceCheck is how often a fenced sequencer looks whether the clock has caught up.
const fenceCheck = time.Second

// job is a record to append that was not submitted: one of the operator log, of which
// there are the entries, or one that is adopted.
type job struct {
	entries []oplog.Entry
	adopted *adopted
	done    chan error // buffered
}

// maxJobs is how many jobs a batch takes: half of its records, so that an adoption
// does not keep submissions waiting.
const maxJobs = batchRecords / 2

// submit hands a job to the sequencer and waits until its record is published.
func (a *Authority) submit(ctx context.Context, entries ...oplog.Entry) error {
	if err := a.writable(); err != nil {
		return err
	}
	j := &job{entries: entries, done: make(chan error, 1)}
	if err := a.queue(j); err != nil {
		return err
	}
	return a.wait(ctx, j)
}

// queue hands jobs to the sequencer, in order.
func (a *Authority) queue(jobs ...*job) error {
	a.jobsMu.Lock()
	defer a.jobsMu.Unlock()
	if a.closed {
		return unavailable("this registry is stopping")
	}
	a.jobs = append(a.jobs, jobs...)
	a.poke()
	return nil
}

// wait waits until the record of a job is published.
func (a *Authority) wait(ctx context.Context, j *job) error {
	select {
	case err := <-j.done:
		return err
	case <-a.done:
		return unavailable("this registry is stopping")
	case <-ctx.Done():
		return ctx.Err() // it may be published all the same
	}
}

func (a *Authority) takeJobs() []*job {
	a.jobsMu.Lock()
	defer a.jobsMu.Unlock()
	n, bytes := 0, int64(0)
	for n < len(a.jobs) && n < maxJobs {
		if bytes += a.jobs[n].size(); n > 0 && bytes > batchBytes {
			break
		}
		n++
	}
	jobs := slices.Clone(a.jobs[:n])
	a.jobs = slices.Delete(a.jobs, 0, n)
	return jobs
}

// refuseJobs answers what the sequencer will not get to.
func (a *Authority) refuseJobs() {
	a.jobsMu.Lock()
	defer a.jobsMu.Unlock()
	a.closed = true
	for _, j := range a.jobs {
		j.done <- unavailable("this registry is stopping")
	}
	for _, c := range a.controls {
		c.done <- unavailable("this registry is stopping")
	}
	a.jobs, a.controls = nil, nil
}

// sequence is the sequencer: the one goroutine that writes the journal, the anchor
// and the index, and signs. It ends when the authority is closed or failed.
func (a *Authority) sequence() {
	for {
		wait, err := a.turn()
		if err != nil {
			a.fail(err)
			return
		}
		a.turns.Add(1)
		timer := time.NewTimer(wait)
		select {
		case <-a.wake:
		case <-timer.C:
		case <-a.done:
			timer.Stop()
			return
		case <-a.stop:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// turn does everything there is to do now, and returns how long there will be
// nothing unless somebody pokes.
func (a *Authority) turn() (time.Duration, error) {
	now := a.o.Now()
	a.checkJump(a.lastSeen, now)
	a.lastSeen = now
	a.checkClock(now)
	if err := a.runControls(); err != nil {
		return 0, err
	}
	if a.fence.Load() != nil {
		return fenceCheck, nil
	}
	if behind, err := a.auditBehind(); behind || err != nil {
		return fenceCheck, err
	}
	if !a.roomForBatch() {
		return fenceCheck, nil
	}
	if err := a.finishOpening(); err != nil {
		return 0, err
	}
	if err := a.sequenceAll(); err != nil {
		return 0, err
	}
	if a.fence.Load() != nil || !a.roomForBatch() {
		return fenceCheck, nil // since a moment ago
	}
	next, err := a.expire(a.o.Now())
	if err != nil {
		return 0, err
	}
	resign, err := a.resign(a.o.Now())
	return min(next, resign), err
}

// sequenceAll takes whatever is complete, batch by batch, until nothing is or a fence is
// raised: under load there is always another batch.
func (a *Authority) sequenceAll() error {
	for !a.stopping() && !a.mustStop() && a.roomForBatch() {
		jobs := a.takeJobs()
		submissions := a.pool.take(batchRecords - len(jobs))
		if len(jobs)+len(submissions) == 0 {
			return nil
		}
		if err := a.run(jobs, submissions); err != nil {
			return err
		}
		a.turns.Add(1) // under load there is always another batch
	}
	return nil
}

// mustStop reports whether there is a fence, other than that of being frozen, behind
// which the last batches are signed.
func (a *Authority) mustStop() bool {
	f := a.fence.Load()
	return f != nil && f.Kind != FenceFrozen
}

func (a *Authority) stopping() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
}

// notReceived is why a record that waited too long is rejected.
const notReceived = "content not received in time"

// expire rejects what has waited for content too long, and returns when there may
// be more of it.
func (a *Authority) expire(now time.Time) (time.Duration, error) {
	ttl := a.o.Limits.PendingTTL
	for {
		s, next := a.pool.expired(now.Add(-ttl))
		switch {
		case s == nil && next.IsZero():
			return ttl, nil
		case s == nil:
			return max(next.Add(ttl).Sub(now), time.Millisecond), nil
		}
		if err := a.noteRejected(EndExpired, rejection{s, notReceived}); err != nil {
			return 0, err
		}
		if err := a.reject(s, EndExpired, notReceived); err != nil {
			return 0, err
		}
		a.turns.Add(1)
	}
}

// reject settles a submission that the caller has claimed. When it returns, the
// rejection is durable.
func (a *Authority) reject(s *submission, end End, reason string) error {
	err := a.pending.Write(pending.Reject(a.o.Now(), s.log, s.id, reason))
	if err == nil {
		err = a.index.Reject(s.log, s.id, reason)
	}
	if err != nil {
		return err
	}
	a.counts.ends[end].Add(1)
	a.pool.withdraw(s.id)
	a.pool.settle(s.log, s.id, warg.RecordStatus{RecordID: s.id, State: warg.StateRejected, Reason: reason})
	a.o.Log.Info("record rejected", "package", s.name.String(), "record", s.id.String(), "reason", reason)
	return nil
}

// resign signs the last checkpoint again, with a newer time, if it has stood for
// long enough, and returns when that will be so.
func (a *Authority) resign(now time.Time) (time.Duration, error) {
	v := a.view.Load()
	if v == nil {
		return a.o.MaxIdle, nil
	}
	signed := time.Unix(int64(v.Checkpoint.Timestamp), 0)
	due := signed.Add(a.o.MaxIdle)
	if now.Before(due) || !a.space.Enough(now) {
		return max(due.Sub(now), fenceCheck), nil
	}
	return a.o.MaxIdle, a.signAgain(now)
}

// signAgain signs the last checkpoint with a newer time.
func (a *Authority) signAgain(now time.Time) error {
	next := a.view.Load().Checkpoint
	next.Timestamp = max(uint64(now.Unix()), next.Timestamp+1)
	signed, err := a.sign(next)
	if err != nil {
		return err
	}
	if err := a.issue(signed); err != nil {
		return err
	}
	a.view.Store(&warg.View{Signed: signed, Checkpoint: next})
	return nil
}

// isRejection reports whether an error of validating a record is about the record.
func isRejection(err error) bool { return errors.As(err, new(*warg.RecordError)) }
