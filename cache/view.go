package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/entrepot/entrepot/warg"
)

// How much of the logs is kept decoded in memory for each registry: at most 64 MiB,
// and less than 10 MiB where logs have a handful of records of usual size.
const (
	viewedLogs  = 4096
	viewBytes   = 16 << 10 // of one log's records; larger logs are read from the database
	viewRecords = 64
)

// logView is what readers want to know of a log, as it was at one moment. It does
// not change.
type logView struct {
	logPlaces
	name    warg.PackageName // zero if it is not known
	held    uint64
	records []warg.Record // all that are held, or nil if they are too large
}

// views are the logs that were read lately. A view is dropped or goes on when its log
// changes. A reader that read the database before a change, and comes to add its view
// after it, finds another generation and reads again: what somebody was shown of a log
// never goes back, so all views that are given out are or were here.
type views struct {
	mu          sync.Mutex
	generations [generations]uint64 // of the logs that share a number; under mu
	logs        *lru.Cache[warg.LogID, *logView]
}

// generations is how many there are: so many that readers of one log seldom read again
// because of another.
const generations = 1 << 12

func (v *views) generation(log warg.LogID) *uint64 {
	return &v.generations[binary.BigEndian.Uint16(log[:])%generations]
}

func newViews() (*views, error) {
	logs, err := lru.New[warg.LogID, *logView](viewedLogs)
	return &views{logs: logs}, err
}

// find returns the view of a log. Readers do not wait for each other, except now and
// then for one that notes which logs are read.
func (v *views) find(log warg.LogID) (*logView, bool) {
	const noted = 16 // of so many reads one; by chance, as a counter would be shared
	if rand.Uint32N(noted) == 0 {
		return v.logs.Get(log)
	}
	return v.logs.Peek(log)
}

func (v *views) now(log warg.LogID) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return *v.generation(log)
}

// add adds a view that was read since the log was of a generation, and returns it, or
// one that knows more, or nil if the log has changed.
func (v *views) add(log warg.LogID, view *logView, generation uint64) *logView {
	v.mu.Lock()
	defer v.mu.Unlock()
	if *v.generation(log) != generation {
		return nil
	}
	// Between a change and the note of it two readers may have seen both sides.
	if other, ok := v.logs.Peek(log); ok && view.misses(other) {
		return other
	}
	v.logs.Add(log, view)
	return view
}

// misses reports whether another view of the log knows more.
func (v *logView) misses(other *logView) bool {
	return other.leaves > v.leaves || other.held > v.held || v.name.IsZero() && !other.name.IsZero()
}

// drop must be called after a change to the logs was committed.
func (v *views) drop(logs ...warg.LogID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, log := range logs {
		*v.generation(log)++
		v.logs.Remove(log)
	}
}

// extend must be called after records were committed. Who fetched records reads
// them next, so views that are here go on, and others are left to be read.
func (v *views) extend(first []uint64, logs []warg.LogRecords) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, l := range logs {
		*v.generation(l.LogID)++
		old, ok := v.logs.Peek(l.LogID)
		if !ok {
			continue
		}
		if next := old.extended(first[i], l); next != nil {
			v.logs.Add(l.LogID, next)
		} else {
			v.logs.Remove(l.LogID)
		}
	}
}

// name must be called after names were committed.
func (v *views) name(logs []warg.LogID, names []warg.PackageName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, log := range logs {
		*v.generation(log)++
		old, ok := v.logs.Peek(log)
		switch {
		case !ok:
		case names[i].LogID() != log:
			v.logs.Remove(log)
		default:
			next := *old
			next.name = names[i]
			v.logs.Add(log, &next)
		}
	}
}

// extended returns the view with more records, or nil if it must be read anew.
func (v *logView) extended(first uint64, l warg.LogRecords) *logView {
	held := first + uint64(len(l.Records))
	if v.held != first || !v.whole() || held > min(v.leaves, viewRecords) {
		return nil
	}
	next := *v
	next.held = held
	next.records = append(slices.Clip(v.records), l.Records...)
	size := 0
	for _, rec := range next.records {
		if size += recordSize(rec); size > viewBytes {
			return nil
		}
	}
	return &next
}

// recordSize is what a record counts towards viewBytes.
func recordSize(rec warg.Record) int { return len(rec.Content) + len(rec.JSON) + len(rec.Token) }

// view returns what readers want to know of a log.
func (n *numbered) view(log warg.LogID) (*logView, error) {
	if v, ok := n.views.find(log); ok {
		return v, nil
	}
	const patience = 3
	for range patience {
		generation := n.views.now(log)
		v, err := n.readView(log)
		if err != nil {
			return nil, judge(err)
		}
		if v.leaves == 0 { // strangers' ids must not push out what is there
			return v, nil
		}
		if shown := n.views.add(log, v, generation); shown != nil {
			return shown, nil
		}
	}
	n.views.mu.Lock() // whoever changes the log waits
	defer n.views.mu.Unlock()
	v, err := n.readView(log)
	if err == nil && v.leaves > 0 {
		n.views.logs.Add(log, v)
	}
	return v, judge(err)
}

func (n *numbered) readView(log warg.LogID) (*logView, error) {
	v := new(logView)
	return v, n.db.View(func(txn *badger.Txn) (err error) {
		if v.logPlaces, err = n.placesOf(txn, log); err != nil || v.leaves == 0 {
			return err
		}
		if v.name, err = n.name(txn, log); err != nil {
			return err
		}
		if _, err := getNumbers(txn, n.heldKey(log), &v.held); err != nil {
			return err
		}
		v.held = min(v.held, v.leaves)
		return n.readRecords(txn, log, v)
	})
}

// readRecords reads the records of a small log into its view.
func (n *numbered) readRecords(txn *badger.Txn, log warg.LogID, v *logView) error {
	size := 0
	for i := range min(v.held, viewRecords+1) {
		rec, err := n.record(txn, log, i)
		if err != nil {
			v.records = nil
			return nil // whoever asks for the records will find out, and see to it
		}
		if size += recordSize(rec); size > viewBytes || i == viewRecords {
			v.records = nil
			return nil
		}
		v.records = append(v.records, rec)
	}
	return nil
}

// whole reports whether the view has all records that are held.
func (v *logView) whole() bool { return uint64(len(v.records)) == v.held }

// findToken returns which of the view's records has a fetch token.
func (v *logView) findToken(token string) (uint64, bool) {
	i := slices.IndexFunc(v.records, func(r warg.Record) bool { return r.Token == token })
	return uint64(max(i, 0)), i >= 0
}
