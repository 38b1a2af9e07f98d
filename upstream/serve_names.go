package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// Names implements [warg.Registry].
func (r *Replica) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	names, err := r.namesAt(ctx, v, ids)
	if err := r.sound(v, err); err != nil {
		return nil, err
	}
	return names, nil
}

// namesAt returns names of logs that have a record at a view.
func (r *Replica) namesAt(ctx context.Context, v *view, ids []warg.LogID) ([]warg.PackageName, error) {
	var wanted []warg.LogID
	for _, id := range ids {
		known, err := r.inLedger(v, id)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, warg.NotFound(warg.KindLogNotFound, id)
		}
		_, ok, err := r.o.Store.Name(id)
		if err != nil {
			return nil, err
		}
		r.counts.looked(HoldingName, ok)
		if !ok && id != warg.OperatorLogID {
			wanted = append(wanted, id)
		}
	}
	if err := r.fetchNames(ctx, wanted); err != nil {
		return nil, err
	}
	names := make([]warg.PackageName, len(ids))
	for i, id := range ids {
		name, _, err := r.o.Store.Name(id)
		if err != nil {
			return nil, err
		}
		names[i] = name
	}
	return names, nil
}

// NameOf returns the name of a log that stands in upstream's ledger. An id that
// does not is never sent to upstream: it may be a package of our own that nobody
// else is to know of. A ledger that is too old is refreshed first.
//
//	KindLogNotFound      the log is not in the ledger, or upstream gives it no name
//	KindUnavailable      it is, its name is not known here, and upstream cannot be asked
//	KindUpstreamTimeout  likewise
func (r *Replica) NameOf(ctx context.Context, id warg.LogID) (warg.PackageName, error) {
	unknown := warg.NotFound(warg.KindLogNotFound, id)
	v := r.view.Load()
	known := false
	if v != nil {
		known, _ = r.inLedger(v, id)
	}
	if !known {
		var err error
		if v, err = r.fresh(ctx); err != nil {
			return warg.PackageName{}, unknown // as far as anybody knows here
		}
		if known, err = r.inLedger(v, id); err != nil || !known {
			return warg.PackageName{}, unknown
		}
	}
	names, err := r.Names(ctx, []warg.LogID{id})
	switch {
	case err == nil && !names[0].IsZero():
		return names[0], nil
	case ClassOf(err) == ClassNone && (errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) || errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout})):
		return warg.PackageName{}, err
	}
	return warg.PackageName{}, unknown
}

// inLedger reports whether a log has a record at the view.
func (r *Replica) inLedger(v *view, id warg.LogID) (bool, error) {
	first, _, ok, err := r.o.Store.Position(id, 0)
	return ok && first < v.cp.LogLength, err
}

// errNameless is remembered for logs whose name upstream cannot give.
var errNameless = errors.New("upstream gives no name for this log")

// fetchNames sees to it that the names are held. One that upstream cannot give is
// no error.
func (r *Replica) fetchNames(ctx context.Context, wanted []warg.LogID) error {
	var ask []warg.LogID
	for _, id := range wanted {
		switch err := r.nameless.get(id, r.o.Now()); {
		case err == nil:
			ask = append(ask, id)
		case !errors.Is(err, errNameless):
			return err
		}
	}
	if len(ask) == 0 {
		return nil
	}
	if err := r.mayAsk(); err != nil {
		return err
	}
	mine, all := r.names.join(ask)
	r.counts.wait(HoldingName, len(mine) < len(all))
	for len(mine) > 0 {
		part := mine[:min(len(mine), warg.MaxNames)]
		mine = mine[len(part):]
		r.detach(fetchTimeout, func(ctx context.Context) {
			err := r.askNames(ctx, part)
			r.note("fetching names", err)
			for _, id := range part {
				r.names.land(id, err)
			}
		})
	}
	return wait(ctx, all)
}

// learnNames asks for the names of logs that readers know, without anybody waiting.
// Readers who say which registry they mean never need them; those who do not are told
// by a hint, also when upstream has gone away since.
func (r *Replica) learnNames(ctx context.Context, logs []warg.LogID) {
	var nameless []warg.LogID
	for _, id := range logs {
		if _, ok, err := r.o.Store.Name(id); err == nil && !ok && id != warg.OperatorLogID {
			nameless = append(nameless, id)
		}
	}
	_ = r.fetchNames(ctx, nameless) // whoever needs one asks again
}

// askNames asks for names and stores those that lead back to their ids.
func (r *Replica) askNames(ctx context.Context, ids []warg.LogID) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id warg.LogID) bool {
		_, ok, err := r.o.Store.Name(id)
		return ok && err == nil // somebody was faster
	})
	if len(ids) == 0 {
		return nil
	}
	doing := fmt.Sprintf("fetching names of registry `%s`", r.o.Domain)
	names, err := r.o.Transport.Names(ctx, ids)
	if errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		err = refuse(ClassAbsence, "registry `%s` denies a log that is in its ledger: %w", r.o.Domain, err)
	}
	if err == nil && len(names) != len(ids) {
		err = refuse(ClassAnswer, "asked for %d names, got %d", len(ids), len(names))
	}
	if err := r.asked(ctx, doing, err); err != nil {
		r.remember(ids, err)
		return err
	}
	good := make([]warg.PackageName, 0, len(ids))
	for i, id := range ids {
		switch name := names[i]; {
		case name.IsZero():
			r.nameless.put(id, errNameless, r.o.Now().Add(refusedPause))
		case name.LogID() != id:
			err = refuse(ClassName, "registry `%s` gives log `%s` the name `%s`, whose id is another one", r.o.Domain, id, name)
			r.remember(ids[i:i+1], err)
		default:
			good = append(good, name)
		}
	}
	if len(good) > 0 {
		if putErr := r.o.Store.PutNames(good); putErr != nil {
			return fmt.Errorf("keeping names of registry `%s`: %w", r.o.Domain, putErr)
		}
	}
	return err
}

// remember keeps a refusal for a while, so that not every reader makes us ask anew.
func (r *Replica) remember(ids []warg.LogID, err error) {
	if ClassOf(err) == ClassNone {
		return
	}
	for _, id := range ids {
		r.nameless.put(id, err, r.o.Now().Add(refusedPause))
	}
}
