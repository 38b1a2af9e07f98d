package upstream

import (
	"context"
	"fmt"
	"time"
)

// resetClass is the class under which a replica is quarantined, in memory alone, that
// could not read what a reset left on the disk.
const resetClass = "reset"

// Reset is [SetAside] for a replica that is open: what was believed is set aside, and
// the replica begins anew, under the pin of its options, while readers go on asking.
// Until the registry was reached they are told that nothing can be served yet.
//
// All work on the old history is ended first, and what readers start meanwhile waits.
// The rename is durable before anything in memory changes. Whether it succeeds or not,
// what is believed afterwards is read from the disk; if even that fails, nothing is
// believed or fetched until a restart.
func (r *Replica) Reset(ctx context.Context, reason string) (Reset, error) {
	r.resetting.Lock()
	defer r.resetting.Unlock()
	r.currentShift().stop() // so that a refresh under way ends now
	if err := r.seize(ctx); err != nil {
		r.beginShift(r.nextShift())
		return Reset{}, fmt.Errorf("waiting for work on registry `%s` to end: %w", r.o.Domain, err)
	}
	defer r.refreshes.land(struct{}{}, nil)
	last := r.nextShift()
	last.end()
	defer r.beginShift(nil)

	done, err := SetAside(r.o.FS, r.o.Dir, r.o.Domain, reason, r.o.Now())
	if again := r.beginAnew(); again != nil {
		r.o.Log.Error("what a reset left of an upstream cannot be read", "upstream", r.o.Domain, "error", again)
		r.trusted.become(&trusted{head: head{Quarantine: &Quarantine{
			Class: resetClass, Since: r.o.Now().UTC(),
			Reason: fmt.Sprintf("what the reset left cannot be read: %v; start the server again once that is mended", again),
		}}})
		if err == nil {
			err = again
		}
	}
	return done, err
}

// beginShift lets the work of the shift under way begin, after the end of the one
// before if that is not nil.
func (r *Replica) beginShift(last *shift) {
	if last != nil {
		last.end()
	}
	close(r.currentShift().ready)
}

// beginAnew forgets everything that was known and begins with what is on the disk. No
// work is under way; whoever still reads in the old view is told so, see
// [Replica.sound].
func (r *Replica) beginAnew() error {
	r.epoch.Add(1)
	r.view.Store(nil)
	r.checked.Store(0)
	r.damaged.Store(false)
	r.heldBack = time.Time{}
	t, err := openTrusted(r.o.FS, r.o.Dir, r.o.Domain, r.o.Log)
	if err != nil {
		return err
	}
	r.trusted.become(t)
	now := r.o.Now()
	r.reach.report(nil, now)
	r.refreshGate.report(nil, now)
	r.logsFailed.clear()
	r.nameless.clear()
	r.missing.clear()
	r.named.forget()
	r.tally.forget()
	return r.resume()
}

// become makes one record of what is remembered another. It is called by who holds the
// refresh.
func (t *trusted) become(other *trusted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head, t.accepted, t.size = other.head, other.accepted, other.size
}

// forget drops the last error.
func (t *tally) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.lastAt = "", time.Time{}
}
