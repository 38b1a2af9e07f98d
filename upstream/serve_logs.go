package upstream

import (
	"context"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Logs implements [warg.Registry]. Fetch tokens are upstream's own, and record ids
// are taken as well; a token that nobody knows means from the start, so a client
// that got its token elsewhere gets its records again instead of an error.
func (r *Replica) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	limit := req.Limit
	if limit == 0 {
		limit = warg.DefaultFetchLimit
	}
	if limit < 1 || limit > warg.MaxFetchLimit {
		return warg.LogsPage{}, api.LimitError(req.Limit)
	}
	v, err := r.current(ctx)
	if err != nil {
		return warg.LogsPage{}, err
	}
	if err := r.checkLength(v, req.LogLength); err != nil {
		return warg.LogsPage{}, err
	}
	err = r.needRecords(ctx, v, req, limit)
	var page warg.LogsPage
	if err == nil {
		page, err = r.readLogs(req, limit)
	}
	if err := r.sound(v, err); err != nil {
		return warg.LogsPage{}, err
	}
	w := r.warning()
	if r.counts.answered(w); w != "" {
		page.Warnings = []string{w}
	}
	return page, nil
}

// readLogs reads what a request asks for; it is held.
func (r *Replica) readLogs(req warg.LogsRequest, limit int) (page warg.LogsPage, err error) {
	page.Operator, err = r.readLog(warg.OperatorLogID, req.Operator, req.LogLength, limit)
	if err != nil {
		return warg.LogsPage{}, err
	}
	page.More = len(page.Operator) == limit
	page.Packages = slices.Grow(page.Packages, len(req.Packages))
	for _, c := range req.Packages {
		records, err := r.readLog(c.LogID, c.Token, req.LogLength, limit)
		if err != nil {
			return warg.LogsPage{}, err
		}
		if len(records) == 0 && c.Token == "" {
			return warg.LogsPage{}, r.nothingOf(c.LogID, req.LogLength)
		}
		page.More = page.More || len(records) == limit
		page.Packages = append(page.Packages, warg.LogRecords{LogID: c.LogID, Records: records})
	}
	return page, nil
}

// nothingOf says why there is no record of a log below a length: it began later, or
// what was held a moment ago is not held any more.
func (r *Replica) nothingOf(log warg.LogID, length uint64) error {
	first, _, ok, err := r.o.Store.Position(log, 0)
	switch {
	case err != nil:
		return err
	case ok && first < length:
		return r.emptied()
	}
	return warg.NotFound(warg.KindLogNotFound, log)
}

// checkLength fails unless a checkpoint of that length was accepted and is not
// beyond what is served.
func (r *Replica) checkLength(v *view, length uint64) error {
	if _, ok := r.trusted.at(length); !ok || length > v.cp.LogLength {
		return &warg.Error{Kind: warg.KindLengthNotFound, Number: length}
	}
	return nil
}

// needRecords sees to it that the records which a request asks for are held. It looks
// again after it has waited: somebody who began earlier may have fetched no further
// than the view of that time.
func (r *Replica) needRecords(ctx context.Context, v *view, req warg.LogsRequest, limit int) error {
	for first := true; ; first = false {
		wanted, err := r.notHeld(req, limit)
		if err != nil {
			return err
		}
		if first {
			r.counts.lookedAll(HoldingRecords, len(req.Packages)-len(wanted), len(wanted))
		}
		if len(wanted) == 0 {
			return nil
		}
		if err := r.fetchLogs(ctx, v, wanted); err != nil {
			return err
		}
	}
}

// notHeld returns the logs of which a request asks for records that are not held.
func (r *Replica) notHeld(req warg.LogsRequest, limit int) (wanted []warg.LogID, err error) {
	for _, c := range req.Packages {
		known, complete, err := r.holds(c, req.LogLength, limit)
		if err != nil {
			return nil, err
		}
		if !known || c.LogID == warg.OperatorLogID {
			return nil, warg.NotFound(warg.KindLogNotFound, c.LogID) // the ledger says so; nobody needs to be asked
		}
		if !complete {
			wanted = append(wanted, c.LogID)
		}
	}
	return wanted, nil
}

// holds reports whether a log has a record below a length, and whether the next limit
// records below it are held. Of a log that is held whole and read from its start the
// first is left to be seen by [Replica.readLogs]: nearly all are.
func (r *Replica) holds(c warg.LogCursor, length uint64, limit int) (known, complete bool, err error) {
	leaves, held, err := r.o.Store.Log(c.LogID)
	if err != nil || leaves == 0 {
		return false, false, err
	}
	if held >= leaves && c.Token == "" {
		return true, true, nil
	}
	first, _, ok, err := r.o.Store.Position(c.LogID, 0)
	if err != nil || !ok || first >= length {
		return false, false, err
	}
	if held >= leaves {
		return true, true, nil
	}
	start, err := r.after(c.LogID, c.Token)
	if err != nil {
		return true, false, err
	}
	if held >= start+uint64(limit) {
		return true, true, nil
	}
	next, _, ok, err := r.o.Store.Position(c.LogID, held)
	return true, !ok || next >= length, err
}

// after returns which record of a log comes after a token.
func (r *Replica) after(log warg.LogID, token string) (uint64, error) {
	if token == "" {
		return 0, nil
	}
	if id, err := warg.ParseRecordID(token); err == nil {
		n, _, ok, err := r.o.Store.Find(log, id)
		if err != nil {
			return 0, err
		}
		if ok {
			return n + 1, nil
		}
	}
	n, ok, err := r.o.Store.FindToken(log, token)
	if err != nil || !ok {
		return 0, err
	}
	return n + 1, nil
}

// readLog reads held records after a token and below a length.
func (r *Replica) readLog(log warg.LogID, token string, length uint64, limit int) ([]warg.Record, error) {
	start, err := r.after(log, token)
	if err != nil {
		return nil, err
	}
	records, err := r.o.Store.Records(log, start, limit)
	if err != nil {
		return nil, err
	}
	for i, rec := range records {
		if rec.Index >= length {
			return records[:i], nil
		}
	}
	return records, nil
}

// find returns the registry index of a package record at a view.
func (r *Replica) find(v *view, log warg.LogID, id warg.RecordID) (uint64, error) {
	known, err := r.inLedger(v, log)
	if err != nil {
		return 0, err
	}
	if !known {
		return 0, warg.NotFound(warg.KindLogNotFound, log)
	}
	_, index, ok, err := r.o.Store.Find(log, id)
	if err == nil && (!ok || index >= v.cp.LogLength || log == warg.OperatorLogID) {
		err = warg.NotFound(warg.KindRecordNotFound, id)
	}
	return index, err
}
