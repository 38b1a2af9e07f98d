package authority

import (
	"errors"
	"sync/atomic"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Stats counts what a registry did since it was opened. What never happened is there
// with 0.
type Stats struct {
	Answers     map[Answer]uint64 // to submissions of package records
	Ends        map[End]uint64    // of records
	Batches     Batches
	Checkpoints uint64 // signed, with and without new records
	Syncs       uint64 // of files and directories
	Fences      uint64 // that were raised
}

// Batches are how many records checkpoints brought: a histogram.
type Batches struct {
	Buckets map[float64]uint64 // how many brought at most so many records
	Count   uint64
	Records uint64
}

// Answer is how a submission was answered.
type Answer uint8

// The answers.
const (
	AnswerAccepted     Answer = iota
	AnswerKnown               // it had been submitted before
	AnswerUnauthorized        // not signed by one who may
	AnswerConflict            // another record comes first, or the namespace is not ours
	AnswerRefused             // for another reason that lies in the record
	AnswerUnavailable         // fenced, full, or too much is waiting
	answers
)

var answerText = [answers]string{"accepted", "known", "unauthorized", "conflict", "refused", "unavailable"}

// String returns the name under which the answer is counted.
func (a Answer) String() string { return answerText[min(a, answers-1)] }

// End is how a record ended.
type End uint8

// The ends.
const (
	EndPublished End = iota // a package record
	EndOperator             // an operator record was published
	EndAdopted              // a package record of another registry was published
	EndInvalid              // rejected: it may not follow its log's head
	EndContent              // rejected: for its content
	EndExpired              // rejected: its content did not come
	ends
)

var endText = [ends]string{"published", "operator", "adopted", "invalid", "content", "expired"}

// String returns the name under which the end is counted.
func (e End) String() string { return endText[min(e, ends-1)] }

// counts are the counters behind Stats, added to one by one.
type counts struct {
	taken       atomic.Uint64 // submissions that were answered with a state
	answers     [answers]atomic.Uint64
	ends        [ends]atomic.Uint64
	batches     [len(batchBounds) + 1]atomic.Uint64
	checkpoints atomic.Uint64
	syncs       atomic.Uint64
	fences      atomic.Uint64
}

// batchBounds are the upper bounds of the buckets of batches, in records.
var batchBounds = [...]int{1, 4, 16, 64, 256, batchRecords}

// submitted counts how a submission was answered.
func (c *counts) submitted(err error) {
	if err == nil {
		c.taken.Add(1)
		return
	}
	e, ok := errors.AsType[*warg.Error](err)
	answer := AnswerRefused
	switch {
	case !ok:
		answer = AnswerUnavailable
	case e.Kind == warg.KindUnauthorized || e.Kind == warg.KindForbidden:
		answer = AnswerUnauthorized
	case e.Kind == warg.KindRecordPending || e.Kind == warg.KindConflict || e.Kind == warg.KindNamespaceImported || e.Kind == warg.KindNamespaceNotFound:
		answer = AnswerConflict
	case e.Kind == warg.KindUnavailable || e.Kind == warg.KindNoSpace || e.Kind == warg.KindTooMany || e.Kind == warg.KindInternal:
		answer = AnswerUnavailable
	}
	c.answers[answer].Add(1)
}

// batch counts the records of a batch that was published.
func (c *counts) batch(items []item) {
	i := 0
	for i < len(batchBounds) && len(items) > batchBounds[i] {
		i++
	}
	c.batches[i].Add(1)
	for _, it := range items {
		switch {
		case it.job == nil:
			c.ends[EndPublished].Add(1)
		case it.job.adopted != nil:
			c.ends[EndAdopted].Add(1)
		default:
			c.ends[EndOperator].Add(1)
		}
	}
}

// Stats returns what the registry did since it was opened.
func (a *Authority) Stats() Stats {
	c := a.counts
	s := Stats{
		Answers: make(map[Answer]uint64), Ends: make(map[End]uint64),
		Checkpoints: c.checkpoints.Load(), Syncs: c.syncs.Load(), Fences: c.fences.Load(),
		Batches: Batches{Buckets: make(map[float64]uint64)},
	}
	for answer := range answers {
		s.Answers[answer] = c.answers[answer].Load()
	}
	if taken := c.taken.Load(); taken > s.Answers[AnswerAccepted] {
		s.Answers[AnswerKnown] = taken - s.Answers[AnswerAccepted]
	}
	for end := range ends {
		s.Ends[end] = c.ends[end].Load()
	}
	s.Batches.Records = s.Ends[EndPublished] + s.Ends[EndOperator] + s.Ends[EndAdopted]
	for i, bound := range batchBounds {
		s.Batches.Count += c.batches[i].Load()
		s.Batches.Buckets[float64(bound)] = s.Batches.Count
	}
	s.Batches.Count += c.batches[len(batchBounds)].Load()
	return s
}

// countedFS is a file system whose syncs are counted.
type countedFS struct {
	durable.FS
	syncs *atomic.Uint64
}

// SyncDir implements [durable.FS].
func (c countedFS) SyncDir(name string) error {
	c.syncs.Add(1)
	return c.FS.SyncDir(name)
}

// Create implements [durable.FS].
func (c countedFS) Create(name string) (durable.File, error) {
	return c.counted(c.FS.Create(name))
}

// OpenWrite implements [durable.FS].
func (c countedFS) OpenWrite(name string) (durable.File, error) {
	return c.counted(c.FS.OpenWrite(name))
}

func (c countedFS) counted(f durable.File, err error) (durable.File, error) {
	if err != nil {
		return nil, err
	}
	return countedFile{f, c.syncs}, nil
}

type countedFile struct {
	durable.File
	syncs *atomic.Uint64
}

// Sync implements [durable.File].
func (f countedFile) Sync() error {
	f.syncs.Add(1)
	return f.File.Sync()
}

// Datasync implements [durable.File].
func (f countedFile) Datasync() error {
	f.syncs.Add(1)
	return f.File.Datasync()
}
