package authority

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// item is one record of a batch.
type item struct {
	frame    journal.Frame
	place    journal.Position
	time     warg.Timestamp
	contents []warg.Digest
	sub      *submission // nil for an operator record, and for the journal's tail
	job      *job        // nil except for an operator record or an adopted one
}

// batch is what becomes one checkpoint.
type batch struct {
	items    []item
	rejected []rejection
	held     []*logState // until the index has the batch
	update   *tree.Update
	signed   warg.SignedCheckpoint
	next     warg.Checkpoint
}

// rejection is a record that may not follow its log's head.
type rejection struct {
	sub *submission
	why string
}

// run takes records through all steps. An error is final.
func (a *Authority) run(jobs []*job, submissions []*submission) error {
	b := &batch{}
	defer func() {
		for _, l := range b.held {
			a.states.release(l)
		}
	}()
	// On disk now: the submissions and their contents. A crash forgets that they
	// were taken; they are complete again at the next start.
	if err := a.o.Step("batchTaken"); err != nil {
		return err
	}
	for _, j := range jobs {
		if err := a.validateJob(b, j); err != nil {
			return err
		}
	}
	for _, s := range submissions {
		if err := a.validate(b, s); err != nil {
			return err
		}
	}
	if len(b.items) > 0 {
		if err := a.append(b); err != nil {
			return err
		}
		if err := a.publish(b); err != nil {
			return err
		}
	} else if err := a.noteBatch(b); err != nil {
		return err
	}
	// Only now: a rejection may be the fault of a record of this very batch, which
	// must not be lost any more.
	if err := a.rejectAll(b.rejected); err != nil {
		return err
	}
	return a.o.Step("answered")
}

// rejectAll settles rejected records side by side, so that they share a sync.
func (a *Authority) rejectAll(list []rejection) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, r := range list {
		wg.Go(func() { errs[i] = a.reject(r.sub, EndInvalid, r.why) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// length returns how long the registry is with the batch so far.
func (a *Authority) length(b *batch) uint64 { return a.journal.Length() + uint64(len(b.items)) }

// validateJob adds the record of a job to the batch, or answers why not.
func (a *Authority) validateJob(b *batch, j *job) error {
	if j.adopted != nil {
		return a.validateAdopted(b, j)
	}
	env := a.ops.record(a.o.Key, warg.TimestampOf(a.o.Now()), j.entries)
	if err := a.ops.apply(a.length(b), env); err != nil {
		j.done <- warg.Errorf(warg.KindConflict, "%w", err)
		return nil
	}
	f := journal.NewFrame(a.length(b), warg.PackageName{}, env)
	b.items = append(b.items, item{frame: f, job: j, time: warg.TimestampOf(a.o.Now())})
	return nil
}

// validate adds a record to the batch, or to what is rejected.
func (a *Authority) validate(b *batch, s *submission) error {
	l, err := a.states.acquire(s.log)
	if err != nil {
		return err
	}
	b.held = append(b.held, l)
	check := pkglog.CheckSignature
	if s.verified {
		check = pkglog.SignatureVerified
	}
	switch err := a.states.apply(l, s.record, s.env, check); {
	case isRejection(err):
		b.rejected = append(b.rejected, rejection{s, "the package record was invalid: " + err.Error()})
		return nil
	case err != nil:
		return fmt.Errorf("validating record %s: %w", s.id, err)
	}
	f := journal.NewFrame(a.length(b), s.name, s.env)
	b.items = append(b.items, item{frame: f, sub: s, time: s.record.Time, contents: s.contents})
	return nil
}

// append writes the batch to the journal.
func (a *Authority) append(b *batch) error {
	frames := make([]journal.Frame, len(b.items))
	for i := range b.items {
		frames[i] = b.items[i].frame
	}
	places, err := a.journal.Append(frames)
	if err != nil {
		return err
	}
	for i := range b.items {
		b.items[i].place = places[i]
	}
	if err := a.o.Step("segWritten"); err != nil {
		return err
	}
	if err := a.journal.Sync(); err != nil {
		return err
	}
	// On disk now: a tail above the anchor. The next start sequences it as it
	// stands.
	return a.o.Step("segSynced")
}

// publish signs for what stands in the journal above the anchor, which is the
// batch, and makes it visible.
func (a *Authority) publish(b *batch) error {
	if err := a.compute(b); err != nil {
		return err
	}
	next := b.update.Head()
	b.next = warg.Checkpoint{LogLength: next.Length, LogRoot: next.LogRoot, MapRoot: next.MapRoot, Timestamp: a.timeOf(b)}
	var err error
	if b.signed, err = a.sign(b.next); err != nil {
		return err
	}
	if err := a.selfVerify(b); err != nil {
		return fmt.Errorf("the new checkpoint does not verify: %w", err)
	}
	if err := a.issue(b.signed); err != nil {
		return err
	}
	// From here on the checkpoint counts as issued. The index may be behind; the
	// next start brings it up to date.
	a.hot.begin()
	if err := a.index.Commit(b.update, entries(b.items)); err != nil {
		return err
	}
	if err := a.o.Step("indexCommitted"); err != nil {
		return err
	}
	a.show(b)
	if err := a.o.Step("visible"); err != nil {
		return err
	}
	return a.noteBatch(b)
}

// compute reads the batch back from the journal and computes the roots from what
// was read. The log's root is computed twice, by the trees from what was read and
// by the journal from what was written.
func (a *Authority) compute(b *batch) error {
	leaves := make([]warg.Leaf, len(b.items))
	for i, it := range b.items {
		f, err := a.journal.Read(it.place)
		if err != nil {
			return fmt.Errorf("reading back the journal: %w", err)
		}
		if f.Leaf != it.frame.Leaf || f.Index != it.frame.Index || !bytes.Equal(f.Envelope.Content, it.frame.Envelope.Content) {
			return fmt.Errorf("the journal has another record at index %d than was written", it.frame.Index)
		}
		leaves[i] = f.Value()
	}
	u, err := a.index.Tree().Prepare(leaves)
	if err != nil {
		if isCorrupt(err) {
			err = errors.Join(err, a.index.Distrust())
		}
		return fmt.Errorf("computing roots: %w", err)
	}
	if err := a.compareWithMap(u, b.items); err != nil {
		return err
	}
	edge := a.journal.Edge()
	if h := u.Head(); h.LogRoot != edge.Root() || h.Length != edge.Len() {
		return fmt.Errorf("index and journal disagree about the log: root %s of length %d, root %s of length %d",
			h.LogRoot, h.Length, edge.Root(), edge.Len())
	}
	b.update = u
	return nil
}

// timeOf returns the time of a new checkpoint: not before the last one, nor before
// any record it covers.
func (a *Authority) timeOf(b *batch) uint64 {
	t := max(uint64(max(a.o.Now().Unix(), 0)), a.anchor.Time())
	for _, it := range b.items {
		t = max(t, uint64(max(it.time.Seconds, 0)))
	}
	return t
}

// issue makes a checkpoint the last one issued.
func (a *Authority) issue(signed warg.SignedCheckpoint) error {
	next := a.anchor
	next.Signed, next.KeyID = signed, a.keyID
	err := a.anchors.Swap(next, func(s durable.Stage) error { return a.o.Step("anchor" + string(s)) })
	if err != nil {
		return err
	}
	a.anchor = next
	a.counts.checkpoints.Add(1)
	return a.history.Append(signed, a.o.Step)
}

func entries(items []item) []index.Entry {
	list := make([]index.Entry, len(items))
	for i, it := range items {
		list[i] = index.Entry{
			Name: it.frame.Name, Leaf: it.frame.Value(), Index: it.frame.Index, Position: it.place, Contents: it.contents,
		}
	}
	return list
}

// show makes the batch visible to readers and answers those who wait for it.
func (a *Authority) show(b *batch) {
	added := map[warg.LogID][]warg.Record{}
	names := map[warg.LogID]warg.PackageName{}
	for _, it := range b.items {
		f := it.frame
		names[f.Log] = f.Name
		added[f.Log] = append(added[f.Log], published(f.Envelope, f.Index, f.Record))
	}
	for log, records := range added {
		a.hot.extend(log, names[log], records)
	}
	a.hot.end()
	a.counts.batch(b.items)
	// Only now: who sees the checkpoint must find its records.
	a.view.Store(&warg.View{Signed: b.signed, Checkpoint: b.next})
	for _, it := range b.items {
		a.pool.settle(it.frame.Log, it.frame.Record,
			warg.RecordStatus{RecordID: it.frame.Record, State: warg.StatePublished, Index: it.frame.Index})
		if it.job != nil {
			it.job.done <- nil
		}
	}
	a.o.Log.Debug("checkpoint", "length", b.next.LogLength, "records", len(b.items), "signed", time.Unix(int64(b.next.Timestamp), 0))
}
