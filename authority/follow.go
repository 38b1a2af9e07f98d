package authority

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// compareWithMap compares what the first record of each log in a batch says that it
// follows with the map that was signed for last. The state of a log was read from the
// index, whose entries anybody can take away or put back who can write there: a log
// that seems to be new could be begun a second time, and one that seems to be shorter
// could be continued in two ways. The map cannot be edited, because Prepare recomputed
// its old root.
func (a *Authority) compareWithMap(u *tree.Update, items []item) error {
	seen := make(map[warg.LogID]bool, len(items))
	for _, it := range items {
		f := it.frame
		if seen[f.Log] {
			continue
		}
		seen[f.Log] = true
		prev, err := previous(f)
		if err != nil {
			return err
		}
		ok, err := u.Extends(f.Log, prev)
		if err == nil && !ok {
			err = fmt.Errorf("%w: record %s of log %s does not follow what was signed for last", index.ErrCorrupt, f.Record, f.Log)
		}
		if isCorrupt(err) {
			err = errors.Join(err, a.index.Distrust())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// previous returns the record that a record says that it follows, nil if it begins its
// log.
func previous(f journal.Frame) (*warg.RecordID, error) {
	var prev *warg.AnyHash
	if f.Kind == journal.Operator {
		rec, err := oplog.Decode(f.Envelope.Content)
		if err != nil {
			return nil, err
		}
		prev = rec.Prev
	} else {
		rec, err := pkglog.Decode(f.Envelope.Content)
		if err != nil {
			return nil, err
		}
		prev = rec.Prev
	}
	if prev == nil {
		return nil, nil
	}
	d, err := prev.Digest()
	id := warg.RecordID(d)
	return &id, err
}
