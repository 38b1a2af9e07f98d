package upstream

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// piece is what one page brought of a log.
type piece struct {
	log     *openLog
	records []warg.Record
	fresh   []warg.Record // those that were verified and are not held yet
	bad     error         // why there are no more of them
}

// take verifies the next records of some logs, on all processors, and stores them
// together.
func (b *batch) take(pieces []*piece) error {
	began := time.Now()
	inParallel(len(pieces), func(i int) { b.verifyPiece(pieces[i]) })
	b.r.counts.verified[HoldingRecords].observe(time.Since(began))
	var first []uint64
	var logs []warg.LogRecords
	for _, p := range pieces {
		if len(p.fresh) > 0 {
			first = append(first, p.log.held)
			logs = append(logs, warg.LogRecords{LogID: p.log.id, Records: p.fresh})
		}
	}
	if len(logs) > 0 {
		if err := b.r.o.Store.PutLogs(first, logs); err != nil {
			return fmt.Errorf("keeping records of registry `%s`: %w", b.r.o.Domain, err)
		}
	}
	for _, p := range pieces {
		b.r.stored(p.fresh)
		p.log.held += uint64(len(p.fresh))
		b.r.counts.records.Add(uint64(len(p.fresh)))
		if p.bad != nil || p.log.complete(b.v.cp.LogLength, b.r.o.Store) {
			b.land(p.log.id, p.bad)
		}
	}
	return nil
}

// verifyPiece verifies the next records of one log, up to the first bad one.
func (b *batch) verifyPiece(p *piece) {
	l := p.log
	if l.pages++; len(p.records) == 0 {
		p.bad = refuse(ClassAbsence, "log `%s` ends after %d of %d records", l.id, l.held, l.leaves)
		return
	}
	const spare = 2
	if l.pages > l.leaves+spare {
		p.bad = refuse(ClassEndless, "the pages of log `%s` go round in a circle", l.id)
		return
	}
	p.fresh = make([]warg.Record, 0, len(p.records))
	var signed []bool
	for i, rec := range p.records {
		if i == 1 { // the first record may begin the log, and its key is known only now
			signed = checkSignatures(l.state, p.records)
		}
		known := signed != nil && signed[i]
		var held bool
		if held, p.bad = b.verify(l, rec, l.held+uint64(len(p.fresh)), known); p.bad != nil {
			return // what came before it is good
		}
		if l.token = rec.Token; !held {
			rec.JSON = nil
			rec.JSON = api.AppendRecord(nil, rec)
			p.fresh = append(p.fresh, rec)
		}
	}
}

// verify verifies that a record is the n-th of its log, unless it is held already.
// signed says that its signature was verified with the key that it names.
func (b *batch) verify(l *openLog, rec warg.Record, n uint64, signed bool) (held bool, err error) {
	at, index, ok, err := b.r.o.Store.Find(l.id, rec.PackageRecordID())
	switch {
	case err != nil:
		return false, err
	case !ok || index != rec.Index:
		return false, refuse(ClassRecord, "log `%s` has a record at index %d that is not in the ledger", l.id, rec.Index)
	case at < n:
		return true, nil // sent again
	case at > n:
		return false, refuse(ClassRecord, "log `%s` leaves out its record %d", l.id, n)
	}
	option := pkglog.CheckSignature
	if signed {
		option = pkglog.SignatureVerified
	}
	decoded, err := pkglog.Decode(rec.Content)
	if err == nil {
		err = l.state.Apply(decoded, rec.Envelope, option)
	}
	if err != nil {
		return false, refuse(recordClass(err), "record %d of log `%s`: %w", n, l.id, err)
	}
	return false, nil
}

// checkSignatures verifies the signatures of records by keys that the log knows
// already, on all processors, and reports which of them are good. A key id is the
// hash of its key, so a good one stays good whatever the records before it say; all
// else about them must be judged in order. The rest must be verified where the log
// comes to it: that is the place to find out what is wrong.
func checkSignatures(s *pkglog.State, records []warg.Record) []bool {
	const few = 8 // are not worth a goroutine
	if len(records) < few {
		return nil
	}
	good := make([]bool, len(records))
	inParallel(len(records), func(i int) {
		key, ok := s.Key(records[i].KeyID)
		good[i] = ok && key.VerifyPackageRecord(records[i].Content, records[i].Signature) == nil
	})
	return good
}

// inParallel calls f with 0 to n-1, on all processors.
func inParallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
}
