package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// Bounds on one request for records. The ledger says how many a log has.
const (
	logsPerRequest    = 256
	recordsPerRequest = 4096 // about 3 MiB of answer
)

// fetchLogs sees to it that all records of the logs are held, up to the view. Of
// readers who want the same log one makes the request, and in one request are all
// logs that nobody else is fetching.
func (r *Replica) fetchLogs(ctx context.Context, v *view, wanted []warg.LogID) error {
	for _, log := range wanted {
		if err := r.logsFailed.get(log, r.o.Now()); err != nil {
			return err
		}
	}
	if err := r.mayAsk(); err != nil {
		return err
	}
	return r.askForLogs(ctx, v, wanted)
}

// askForLogs is fetchLogs for those who keep to a back-off of their own.
func (r *Replica) askForLogs(ctx context.Context, v *view, wanted []warg.LogID) error {
	mine, all := r.logs.join(wanted)
	r.counts.wait(HoldingRecords, len(mine) < len(all))
	for _, part := range r.inParts(mine) {
		r.detach(fetchTimeout, func(ctx context.Context) {
			b := &batch{r: r, v: v, limit: warg.MaxFetchLimit, open: make(map[warg.LogID]*openLog)}
			b.run(ctx, part)
			r.learnNames(ctx, part)
		})
	}
	return wait(ctx, all)
}

// inParts shares logs out among requests.
func (r *Replica) inParts(logs []warg.LogID) (parts [][]warg.LogID) {
	begin, records := 0, uint64(0)
	for i, log := range logs {
		leaves, held, err := r.o.Store.Log(log)
		if err != nil {
			held = leaves // what is wrong will be seen where it matters
		}
		records += min(leaves-held, warg.MaxFetchLimit)
		if i > begin && (records > recordsPerRequest || i-begin == logsPerRequest) {
			parts = append(parts, logs[begin:i])
			begin, records = i, min(leaves-held, warg.MaxFetchLimit)
		}
	}
	if begin < len(logs) {
		parts = append(parts, logs[begin:])
	}
	return parts
}

// batch fetches several logs together until each of them is complete or refused.
type batch struct {
	r     *Replica
	v     *view
	limit int  // records per log and request
	whole bool // the operator log is sent along, because upstream does not know our token
	open  map[warg.LogID]*openLog
}

// openLog is a log of a batch that is not complete yet.
type openLog struct {
	id     warg.LogID
	leaves uint64
	held   uint64
	token  string // of the last record held; "" from the start
	pages  uint64 // fetched so far
	state  *pkglog.State
}

func (b *batch) run(ctx context.Context, logs []warg.LogID) {
	for _, id := range logs {
		if err := b.add(id); err != nil {
			b.land(id, err)
		}
	}
	for len(b.open) > 0 {
		if err := b.step(ctx); err != nil {
			for id := range b.open {
				b.land(id, err)
			}
		}
	}
}

// land ends the work on a log. A refusal is remembered for a while, so that a bad
// log is not fetched by every reader anew.
func (b *batch) land(id warg.LogID, err error) {
	b.r.note("fetching log "+id.String(), err)
	if ClassOf(err) != ClassNone {
		b.r.logsFailed.put(id, err, b.r.o.Now().Add(refusedPause))
	}
	delete(b.open, id)
	b.r.logs.land(id, err)
}

// add opens a log: it replays what is held. A log that somebody completed in the
// meantime lands at once.
func (b *batch) add(id warg.LogID) error {
	leaves, held, err := b.r.o.Store.Log(id)
	if err != nil {
		return err
	}
	if held >= leaves {
		b.r.logs.land(id, nil)
		return nil
	}
	l := &openLog{id: id, leaves: leaves, held: held, state: new(pkglog.State)}
	records, _, err := heldRecords(b.r.o.Store, id, warg.MaxRegistryLength)
	if err != nil {
		return err
	}
	for n, rec := range records {
		decoded, err := pkglog.Decode(rec.Content)
		if err == nil {
			err = l.state.Apply(decoded, rec.Envelope, pkglog.SignatureVerified)
		}
		if err != nil {
			return fmt.Errorf("replaying held record %d of log `%s`: %w", n, id, err)
		}
		l.token = rec.Token
	}
	b.open[id] = l
	return nil
}

// step makes one request for all open logs and takes up what comes.
func (b *batch) step(ctx context.Context) error {
	req := warg.LogsRequest{LogLength: b.v.cp.LogLength, Limit: b.limit, Operator: b.operatorToken()}
	for id, l := range b.open {
		req.Packages = append(req.Packages, warg.LogCursor{LogID: id, Token: l.token})
	}
	doing := fmt.Sprintf("fetching records of registry `%s`", b.r.o.Domain)
	page, err := b.r.o.Transport.Logs(ctx, req)
	if err != nil {
		if b.again(err) {
			return nil
		}
		return b.r.asked(ctx, doing, err)
	}
	if err := b.r.asked(ctx, doing, nil); err != nil {
		return err
	}
	if len(page.Packages) != len(req.Packages) {
		return refuse(ClassAnswer, "%s: asked for %d logs, got %d", doing, len(req.Packages), len(page.Packages))
	}
	pieces := make([]*piece, len(page.Packages))
	for i, got := range page.Packages {
		l := b.open[req.Packages[i].LogID]
		if l.id != got.LogID {
			return refuse(ClassAnswer, "%s: asked for log `%s`, got `%s`", doing, l.id, got.LogID)
		}
		pieces[i] = &piece{log: l, records: got.Records}
	}
	return b.take(pieces)
}

// operatorToken spares upstream sending the operator log along.
func (b *batch) operatorToken() string {
	_, held, err := b.r.o.Store.Log(warg.OperatorLogID)
	if b.whole || err != nil || held == 0 {
		return ""
	}
	last, err := b.r.o.Store.Records(warg.OperatorLogID, held-1, 1)
	if err != nil || len(last) == 0 {
		return ""
	}
	return last[0].Token
}

// again reports whether an error is about one log alone, or about the size of the
// answer, so that the rest can be asked for once more.
func (b *batch) again(err error) bool {
	const least = 1
	e, _ := asWarg(err)
	switch {
	case errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}):
		for id := range b.open {
			if id.String() == e.ID {
				b.land(id, refuse(ClassAbsence, "registry `%s` denies log `%s`, which is in its ledger", b.r.o.Domain, id))
				return true
			}
		}
	case errors.Is(err, &warg.Error{Kind: warg.KindFetchTokenUnknown}):
		again := !b.whole
		b.whole = true
		for _, l := range b.open { // begin anew; what is held is compared
			l.token = ""
		}
		return again
	case ClassOf(err) == ClassEndless && b.limit > least:
		b.limit = max(b.limit/10, least)
		return true
	}
	return false
}

// complete reports whether all records below a length are held.
func (l *openLog) complete(length uint64, s Store) bool {
	if l.held >= l.leaves {
		return true
	}
	next, _, ok, err := s.Position(l.id, l.held)
	return err == nil && (!ok || next >= length)
}
