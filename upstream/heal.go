package upstream

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// damage is an error of a store that has lost, or cannot read, what it should hold,
// beyond what it can repair itself.
type damage interface {
	error
	Damaged() bool
}

// sound judges how an answer from the store came out before it is given. v is the
// view that it was made for.
//
// If the store is damaged, the next refresh that reaches upstream fetches everything
// again; as long as upstream is away, what can still be read is served. While the
// store is being emptied, "not found" and lists that end early mean nothing and
// become KindUnavailable.
func (r *Replica) sound(v *view, err error) error {
	if r.noteDamage(err) {
		if r.mayRefresh() {
			r.startRefresh(r.refreshed.Load())
		}
		return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: 1, Message: fmt.Sprintf("the copy of registry `%s` is damaged and will be fetched again", r.o.Domain), Err: err}
	}
	if now := r.view.Load(); now == nil || now.epoch != v.epoch {
		return r.emptied()
	}
	return err
}

// noteDamage reports whether err says that the store is damaged.
func (r *Replica) noteDamage(err error) bool {
	var d damage
	if !errors.As(err, &d) || !d.Damaged() {
		return false
	}
	if !r.damaged.Swap(true) {
		r.counts.damages.Add(1)
		r.o.Log.Error("the store of an upstream is damaged", "upstream", r.o.Domain, "error", err)
	}
	return true
}

func (r *Replica) emptied() error {
	return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: 1, Message: fmt.Sprintf("registry `%s` is being fetched again", r.o.Domain)}
}

// heal empties a damaged store, so that what follows fetches everything again. The
// head stays: nothing older than it will be served.
func (r *Replica) heal() error {
	if !r.damaged.Load() {
		return nil
	}
	r.o.Log.Warn("fetching a replica again, because its store is damaged", "upstream", r.o.Domain)
	r.epoch.Add(1)
	r.view.Store(nil)
	if err := r.o.Store.Reset(); err != nil {
		return fmt.Errorf("emptying the store of upstream `%s`: %w", r.o.Domain, err)
	}
	r.named.forget()
	r.damaged.Store(false)
	return nil
}
