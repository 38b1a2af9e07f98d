package check

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/warg"
)

// rejection names a record that was rejected.
type rejection struct {
	log    warg.LogID
	record warg.RecordID
}

// strays looks for entries of the index that nothing leads to: a record, a log or content
// that would be answered for and does not exist, or a rejection that nobody decided. That
// everything there is has its entries was seen while it was replayed.
func (r *replay) strays() {
	i := r.index
	if i == nil || i.bad || r.stopped || !r.c.anchored {
		return
	}
	err := i.x.Visit(index.Visitor{
		Log: func(id warg.LogID) error {
			if i.count[id] == 0 {
				return fmt.Errorf("log %s has no record in the journal", id)
			}
			return i.c.ctx.Err()
		},
		Place: func(log warg.LogID, place uint32, p index.Place) error {
			if place >= i.count[log] {
				return fmt.Errorf("log %s has %d records, and one more at %d", log, i.count[log], place)
			}
			return i.c.ctx.Err()
		},
		Record: i.strayRecord,
		Content: func(d warg.Digest, first uint64) error {
			if at, ok := r.released[d]; !ok || at != first {
				return fmt.Errorf("content %s is said to be released by record %d first, which it is not", d, first)
			}
			return i.c.ctx.Err()
		},
	})
	if err != nil && i.c.ctx.Err() == nil {
		i.say("an entry that nothing leads to: %v", err)
	}
}

// strayRecord judges what the index says of one record.
func (i *indexCheck) strayRecord(id warg.RecordID, r index.Record) error {
	if r.State == warg.StateRejected {
		// Where submissions cannot be read, nobody knows what was rejected.
		if !i.c.rejected[rejection{r.Log, id}] && !i.c.report.Has(Pending) {
			return fmt.Errorf("record %s of log %s is said to be rejected, and was not", id, r.Log)
		}
		return i.c.ctx.Err()
	}
	if r.Place >= i.count[r.Log] {
		return fmt.Errorf("record %s is said to be the one at %d of log %s", id, r.Place, r.Log)
	}
	places, err := i.x.Places(r.Log, r.Place, r.Place+1)
	if err != nil {
		return err
	}
	if p := places[0]; p.Record != id || p.Index != r.Index {
		return errors.New("record " + id.String() + " is said to stand where another one stands")
	}
	return i.c.ctx.Err()
}
