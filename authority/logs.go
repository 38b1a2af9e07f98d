package authority

import (
	"context"
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Logs implements [warg.Registry]. Fetch tokens are record ids.
func (a *Authority) Logs(_ context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	v, err := a.readable()
	switch {
	case err != nil:
		return warg.LogsPage{}, err
	case req.Limit < 0 || req.Limit > warg.MaxFetchLimit:
		return warg.LogsPage{}, api.LimitError(req.Limit)
	case req.Limit == 0:
		req.Limit = warg.DefaultFetchLimit
	}
	if req.LogLength != v.Checkpoint.LogLength {
		ok, err := a.index.Tree().HasLength(req.LogLength)
		if err != nil {
			return warg.LogsPage{}, a.internal("looking up checkpoint", err)
		}
		if !ok {
			return warg.LogsPage{}, &warg.Error{Kind: warg.KindLengthNotFound, Number: req.LogLength}
		}
	}
	page, err := a.logs(req)
	if err != nil {
		return warg.LogsPage{}, a.internal("reading logs", err)
	}
	return page, nil
}

func (a *Authority) logs(req warg.LogsRequest) (out warg.LogsPage, err error) {
	q := query{a: a, length: req.LogLength, limit: req.Limit}
	if out.Operator, err = q.records(warg.OperatorLogID, req.Operator); err != nil {
		return out, err
	}
	out.More = len(out.Operator) == req.Limit
	if len(req.Packages) > 0 {
		out.Packages = make([]warg.LogRecords, len(req.Packages))
	}
	for i, c := range req.Packages {
		records, err := q.records(c.LogID, c.Token)
		if err != nil {
			return out, err
		}
		out.More = out.More || len(records) == req.Limit
		out.Packages[i] = warg.LogRecords{LogID: c.LogID, Records: records}
	}
	return out, nil
}

// query reads records of logs, below a length and up to a limit.
type query struct {
	a      *Authority
	length uint64
	limit  int
}

// records returns the records of a log after the one that a token names.
func (q query) records(log warg.LogID, token string) ([]warg.Record, error) {
	first, err := q.a.page(log, 0, 0)
	if err != nil {
		return nil, err
	}
	if len(first.records) == 0 || first.records[0].Index >= q.length {
		return nil, warg.NotFound(warg.KindLogNotFound, log)
	}
	start := uint32(0)
	if token != "" {
		if start, err = q.after(log, first, token); err != nil {
			return nil, err
		}
	}
	if rest := first.records[min(int(start), len(first.records)):]; first.log.Count <= pageRecords || len(rest) > q.limit {
		return q.cut(rest), nil // without copying: pages never change
	}
	return q.gather(log, first, start)
}

// after returns the place behind the record that a token names.
func (q query) after(log warg.LogID, first *page, token string) (uint32, error) {
	for i, r := range slices.Backward(first.records) {
		if r.Token == token {
			return uint32(i + 1), nil
		}
	}
	unknown := &warg.Error{Kind: warg.KindFetchTokenUnknown, ID: token}
	id, err := warg.ParseRecordID(token)
	if err != nil || first.log.Count <= pageRecords {
		return 0, unknown
	}
	r, ok, err := q.a.index.RecordOf(log, id)
	switch {
	case err != nil:
		return 0, err
	case !ok || r.Log != log || r.State != warg.StatePublished:
		return 0, unknown
	}
	return r.Place + 1, nil
}

// cut returns the records below the length, up to the limit. The result is not nil
// and cannot be appended to in place.
func (q query) cut(records []warg.Record) []warg.Record {
	n := min(len(records), q.limit)
	for n > 0 && records[n-1].Index >= q.length {
		n--
	}
	if n == 0 {
		return []warg.Record{}
	}
	return records[:n:n]
}

// gather collects records from several pages.
func (q query) gather(log warg.LogID, first *page, start uint32) ([]warg.Record, error) {
	out := []warg.Record{}
	for place := start; place < first.log.Count && len(out) < q.limit; {
		p, number := first, place/pageRecords
		if number > 0 {
			need := min(pageRecords, first.log.Count-number*pageRecords)
			var err error
			if p, err = q.a.page(log, number, need); err != nil {
				return nil, err
			}
		}
		rest := p.records[place%pageRecords:]
		out = append(out, rest...)
		place += uint32(len(rest))
		if rest[len(rest)-1].Index >= q.length {
			break
		}
	}
	return q.cut(out), nil
}

// page returns a page of a log, with at least so many records.
func (a *Authority) page(log warg.LogID, number, need uint32) (*page, error) {
	key := pageKey{log, number}
	if p := a.hot.find(key); p != nil && len(p.records) >= int(need) {
		return p, nil
	}
	seen := a.hot.batches.Load()
	p, err := a.readPage(log, number)
	if err != nil {
		return nil, err
	}
	if len(p.records) < int(need) {
		return nil, fmt.Errorf("%w: log %s has fewer records than it says", index.ErrCorrupt, log)
	}
	if len(p.records) > 0 {
		a.hot.keep(key, p, seen)
	}
	return p, nil
}

func (a *Authority) readPage(log warg.LogID, number uint32) (*page, error) {
	l, ok, err := a.index.Log(log, a.index.Head().Length)
	if err != nil || !ok {
		return &page{}, err
	}
	from := number * pageRecords
	places, err := a.index.Places(log, from, min(from+pageRecords, l.Count))
	if err != nil {
		return nil, err
	}
	p := &page{log: l, records: make([]warg.Record, len(places))}
	for i, place := range places {
		f, err := a.read(log, place)
		if err != nil {
			return nil, err
		}
		p.records[i] = published(f.Envelope, f.Index, f.Record)
	}
	p.bytes = sizeOf(p.records)
	return p, nil
}
