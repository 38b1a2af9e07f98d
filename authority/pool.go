package authority

import (
	"container/list"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/authority/pending"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// submission is a record between being judged and being settled.
type submission struct {
	log      warg.LogID
	id       warg.RecordID
	name     warg.PackageName
	env      warg.Envelope
	record   pkglog.Record
	contents []warg.Digest // what its entries release, each once
	at       time.Time     // when it was accepted
	verified bool          // signature was verified in this process

	durable chan struct{}     // closed when it is durable, or was dropped
	settled chan struct{}     // closed when it is published, rejected or dropped
	outcome warg.RecordStatus // set before settled is closed; zero if it was dropped

	refusing sync.Mutex // held while its rejection for its content is made durable

	// Under the pool's lock.
	dropped error         // why it is not durable
	missing []warg.Digest // content that is not here; offered to the publisher
	phase   phase
	waiting *list.Element // in the pool's list, while content is missing
	queued  bool          // in ready
}

// phase is where a submission is on its way.
type phase uint8

const (
	accepting  phase = iota // being made durable
	sourcing                // waits for content
	processing              // complete: with the sequencer, or on the way to it
	rejecting               // its rejection is being made durable
)

// size is what a submission counts towards the bounds of memory and batches.
func (s *submission) size() int64 { return int64(len(s.env.Content)) + 512 }

func (s *submission) entry() pending.Entry {
	return pending.Entry{Kind: pending.Accepted, Time: s.at, Name: s.name, Envelope: s.env, Log: s.log, Record: s.id}
}

// pool holds all submissions. It is safe for concurrent use.
type pool struct {
	limits Limits

	mu      sync.Mutex
	byID    map[warg.RecordID]*submission
	byLog   map[warg.LogID][]*submission
	wanting map[warg.Digest][]*submission // submissions that content is missing for
	perKey  map[warg.KeyID]int            // waiting for content
	waiting *list.List                    // of *submission, by time of acceptance
	ready   []*submission                 // complete, in the order of completion
	bytes   int64
	offers  offers
}

func newPool(l Limits) *pool {
	return &pool{
		limits: l, byID: map[warg.RecordID]*submission{}, byLog: map[warg.LogID][]*submission{},
		wanting: map[warg.Digest][]*submission{}, perKey: map[warg.KeyID]int{}, waiting: list.New(),
		offers: offers{byRecord: map[warg.RecordID][]warg.Digest{}},
	}
}

// find returns the submission of a record, or nil.
func (p *pool) find(id warg.RecordID) *submission {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

// knows reports whether any record of a log is in the pool.
func (p *pool) knows(log warg.LogID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byLog[log]) > 0
}

// busy returns the record of a log that is complete and not yet published, if any.
func (p *pool) busy(log warg.LogID) (warg.RecordID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busyIn(log)
}

func (p *pool) busyIn(log warg.LogID) (warg.RecordID, bool) {
	for _, s := range p.byLog[log] {
		if s.phase == processing || s.phase == accepting && len(s.missing) == 0 {
			return s.id, true
		}
	}
	return warg.RecordID{}, false
}

// reserve takes in a submission that is about to be made durable. If its record
// is in the pool already, that submission is returned instead.
func (p *pool) reserve(s *submission) (*submission, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.byID[s.id]; known != nil {
		return known, nil
	}
	if id, busy := p.busyIn(s.log); busy {
		return nil, warg.NotFound(warg.KindRecordPending, id)
	}
	switch {
	case len(s.missing) > 0 && p.perKey[s.env.KeyID] >= p.limits.PendingPerKey:
		e := warg.Errorf(warg.KindTooMany, "key id `%s` has %d records waiting for content", s.env.KeyID, p.limits.PendingPerKey)
		e.RetryAfter = retryAfter
		return nil, e
	case len(p.byID) >= p.limits.Pending || p.bytes+s.size() > p.limits.PendingBytes:
		e := warg.Errorf(warg.KindUnavailable, "too many records are waiting to be published")
		e.RetryAfter = retryAfter
		return nil, e
	}
	p.add(s)
	return s, nil
}

// restore takes in a submission that was accepted by an earlier process.
func (p *pool) restore(s *submission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(s)
	p.advance(s)
	close(s.durable)
}

func (p *pool) add(s *submission) {
	p.byID[s.id] = s
	p.byLog[s.log] = append(p.byLog[s.log], s)
	p.bytes += s.size()
	for _, d := range s.missing {
		p.wanting[d] = append(p.wanting[d], s)
	}
	if len(s.missing) > 0 {
		p.perKey[s.env.KeyID]++
		s.waiting = p.waiting.PushBack(s)
	}
}

// accepted moves a durable submission on. here are contents that turned up while
// it was made durable.
func (p *pool) accepted(s *submission, here []warg.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range here {
		p.found(s, d)
	}
	p.offers.add(s.id, s.missing)
	p.advance(s)
	close(s.durable)
}

// found notes that a submission need not wait for content any more.
func (p *pool) found(s *submission, d warg.Digest) {
	at := slices.Index(s.missing, d)
	if at < 0 {
		return
	}
	s.missing = slices.Delete(slices.Clone(s.missing), at, at+1)
	p.unwant(d, s)
	if len(s.missing) == 0 {
		p.stopWaiting(s)
	}
}

func (p *pool) unwant(d warg.Digest, s *submission) {
	p.wanting[d] = slices.DeleteFunc(p.wanting[d], func(o *submission) bool { return o == s })
	if len(p.wanting[d]) == 0 {
		delete(p.wanting, d)
	}
}

func (p *pool) stopWaiting(s *submission) {
	if s.waiting == nil {
		return
	}
	p.waiting.Remove(s.waiting)
	s.waiting = nil
	if p.perKey[s.env.KeyID]--; p.perKey[s.env.KeyID] <= 0 {
		delete(p.perKey, s.env.KeyID)
	}
}

// advance gives a durable submission its phase.
func (p *pool) advance(s *submission) {
	s.phase = sourcing
	if len(s.missing) == 0 {
		s.phase, s.queued = processing, true
		p.ready = append(p.ready, s)
	}
}

// arrived notes that content is durable. It reports whether a submission became
// complete.
func (p *pool) arrived(d warg.Digest) (complete bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Clone(p.wanting[d]) {
		p.found(s, d)
		if s.phase == sourcing && len(s.missing) == 0 {
			p.advance(s)
			complete = true
		}
	}
	return complete
}

// take removes what is ready, up to a number of records and the bytes of a batch.
func (p *pool) take(most int) []*submission {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, bytes := 0, int64(0)
	for n < len(p.ready) && n < most {
		if bytes += p.ready[n].size(); n > 0 && bytes > batchBytes {
			break
		}
		n++
	}
	batch := slices.Clone(p.ready[:n])
	for _, s := range batch {
		s.queued = false
	}
	p.ready = slices.Delete(p.ready, 0, n)
	return batch
}

// beginReject claims a submission that waits for content, so that nobody else
// settles it. It reports whether the caller now has to.
func (p *pool) beginReject(s *submission) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.phase != sourcing {
		return false
	}
	s.phase = rejecting
	return true
}

// endReject undoes beginReject where the rejection found no space: the submission waits
// for content again.
func (p *pool) endReject(s *submission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.phase = sourcing
}

// expired returns a submission that has waited for content since before a time,
// claimed like beginReject does, and otherwise when the next one will have.
func (p *pool) expired(before time.Time) (s *submission, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		s := e.Value.(*submission)
		if s.phase != sourcing {
			continue
		}
		if !s.at.Before(before) {
			return nil, s.at
		}
		s.phase = rejecting
		return s, time.Time{}
	}
	return nil, time.Time{}
}

// settle removes a submission whose end is durable, if there is one.
func (p *pool) settle(log warg.LogID, id warg.RecordID, how warg.RecordStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.byID[id]; s != nil && s.log == log {
		p.remove(s)
		s.outcome = how
		close(s.settled)
	}
}

// drop removes a submission that could not be made durable.
func (p *pool) drop(s *submission, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.dropped = why
	p.remove(s)
	close(s.durable)
	close(s.settled)
}

func (p *pool) remove(s *submission) {
	p.bytes -= s.size()
	for _, d := range s.missing {
		p.unwant(d, s)
	}
	p.stopWaiting(s)
	delete(p.byID, s.id)
	p.byLog[s.log] = slices.DeleteFunc(p.byLog[s.log], func(o *submission) bool { return o == s })
	if len(p.byLog[s.log]) == 0 {
		delete(p.byLog, s.log)
	}
	if s.queued {
		p.ready = slices.DeleteFunc(p.ready, func(o *submission) bool { return o == s })
	}
}

// absent returns the content that a submission waits for.
func (p *pool) absent(s *submission) []warg.Digest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.missing
}

// status returns the state of a submission.
func (p *pool) status(s *submission) warg.RecordStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := warg.RecordStatus{RecordID: s.id, State: warg.StateProcessing}
	if len(s.missing) > 0 {
		st.State, st.Missing = warg.StateSourcing, s.missing
	}
	return st
}

// wants reports whether a submission waits for content at all, and for this one.
func (p *pool) wants(s *submission, d warg.Digest) (waits, wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.phase == sourcing, slices.Contains(s.missing, d)
}

// live yields everything that must not be forgotten.
func (p *pool) live() iter.Seq[pending.Entry] {
	p.mu.Lock()
	defer p.mu.Unlock()
	entries := make([]pending.Entry, 0, len(p.byID))
	for _, s := range p.byID {
		entries = append(entries, s.entry())
	}
	slices.SortStableFunc(entries, func(a, b pending.Entry) int { return a.Time.Compare(b.Time) })
	return slices.Values(entries)
}

// count returns how many submissions there are, and how many wait for content.
func (p *pool) count() (all, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byID), p.waiting.Len()
}
