package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Snapshot is a verified state of a registry for some packages. All of it belongs to
// one checkpoint.
type Snapshot struct {
	Signed      warg.SignedCheckpoint
	Checkpoint  warg.Checkpoint
	OperatorKey warg.KeyID // signer of the first operator record: what to pin
	Pinned      bool       // that key was given, or known before; else it was believed on first sight
	Operator    *oplog.State
	Packages    []Package // in the order asked
	Warnings    []string  // what the registry has to say, for people
}

// Package is a verified package log.
type Package struct {
	Name    warg.PackageName
	State   *pkglog.State
	Records []warg.Record
}

// maxPackageRecords bounds the log of one package that a session replays.
const maxPackageRecords = 1_000_000

// Fetch asks for the latest checkpoint and the logs of packages, verifies all of it,
// and remembers the checkpoint. A package that the registry says it does not have is
// KindLogNotFound; that it has none cannot be proven.
func (s *Session) Fetch(ctx context.Context, names ...warg.PackageName) (*Snapshot, error) {
	view, err := s.o.Registry.Checkpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetching the checkpoint: %w", err)
	}
	if err := plausibleClaims(view.Signed.Unverified(), warg.MaxRegistryLength, s.o.Now()); err != nil {
		return nil, err
	}
	f := &fetch{s: s, snap: &Snapshot{Signed: view.Signed}, length: view.Signed.Unverified().LogLength}
	for _, n := range names {
		f.snap.Packages = append(f.snap.Packages, Package{Name: n, State: new(pkglog.State)})
	}
	if err := f.logs(ctx); err != nil {
		return nil, s.sameStory(ctx, err, len(names))
	}
	if f.op, err = replayOperator(f.operator); err != nil {
		return nil, err
	}
	if err := f.verify(ctx); err != nil {
		return nil, err
	}
	return f.snap, s.remember(f.snap.Signed, f.snap.Checkpoint, f.op)
}

// sameStory returns the error that denied a package, once the checkpoint behind it was held
// against what was verified before: a registry that lost or hides its history denies packages
// too, and that is the graver news.
func (s *Session) sameStory(ctx context.Context, denied error, names int) error {
	if names == 0 || !errors.Is(denied, &warg.Error{Kind: warg.KindLogNotFound}) {
		return denied
	}
	if _, err := s.Fetch(ctx); err != nil {
		return err
	}
	return denied
}

// fetch is a snapshot in the making.
type fetch struct {
	s        *Session
	snap     *Snapshot
	length   uint64
	operator []warg.Record
	op       *operator
}

// logs fetches operator and package logs up to the checkpoint, page by page.
func (f *fetch) logs(ctx context.Context) error {
	req := warg.LogsRequest{LogLength: f.length, Limit: warg.MaxFetchLimit}
	for _, p := range f.snap.Packages {
		req.Packages = append(req.Packages, warg.LogCursor{LogID: p.Name.LogID()})
	}
	for {
		page, err := f.s.o.Registry.Logs(ctx, req)
		if ClassOf(err) == ClassEndless && req.Limit > 1 {
			req.Limit = max(req.Limit/10, 1) // large records: fewer at a time
			continue
		}
		if err != nil {
			return fmt.Errorf("fetching logs: %w", err)
		}
		if len(page.Packages) != len(req.Packages) {
			return refuse(ClassAnswer, "asked for %d logs, got %d", len(req.Packages), len(page.Packages))
		}
		f.snap.Warnings = append(f.snap.Warnings, page.Warnings...)
		got, err := f.take(page, &req)
		if err != nil {
			return err
		}
		switch {
		case !page.More:
			return nil
		case got == 0:
			return nil // a page that was exactly full, and this is what comes after it
		}
	}
}

// take takes up a page, moves the cursors on, and returns how many records it had.
func (f *fetch) take(page warg.LogsPage, req *warg.LogsRequest) (got int, err error) {
	if f.operator, req.Operator, err = f.follow(f.operator, page.Operator, req.Operator, maxOperatorRecords); err != nil {
		return 0, err
	}
	got = len(page.Operator)
	for i := range f.snap.Packages {
		p, c := &f.snap.Packages[i], &req.Packages[i]
		if page.Packages[i].LogID != c.LogID {
			return 0, refuse(ClassAnswer, "asked for log `%s`, got `%s`", c.LogID, page.Packages[i].LogID)
		}
		before := len(p.Records)
		if p.Records, c.Token, err = f.follow(p.Records, page.Packages[i].Records, c.Token, maxPackageRecords); err != nil {
			return 0, err
		}
		for n, r := range p.Records[before:] {
			if err := p.State.Validate(r.Envelope); err != nil {
				return 0, refuse(recordClass(err), "record %d of `%s`: %w", before+n, p.Name, err)
			}
		}
		got += len(page.Packages[i].Records)
	}
	return got, nil
}

// follow appends records that must come after those before in the registry's log,
// and below the checkpoint's length.
func (f *fetch) follow(before, more []warg.Record, token string, limit int) ([]warg.Record, string, error) {
	for _, r := range more {
		switch n := len(before); {
		case r.Index >= f.length:
			return nil, "", refuse(ClassRecord, "a record at index %d is beyond the checkpoint of length %d", r.Index, f.length)
		case n > 0 && r.Index <= before[n-1].Index:
			return nil, "", refuse(ClassRecord, "a record at index %d comes after one at index %d", r.Index, before[n-1].Index)
		case n == limit:
			return nil, "", refuse(ClassEndless, "a log has more than %d records", limit)
		}
		before, token = append(before, r), r.Token
	}
	return before, token, nil
}

// verify verifies the checkpoint, that the logs fetched are those it covers, and
// that it extends what was verified before.
func (f *fetch) verify(ctx context.Context) error {
	cp, err := f.op.open(f.snap.Signed)
	if err != nil {
		return err
	}
	f.snap.Checkpoint, f.snap.Operator, f.snap.OperatorKey = cp, f.op.state, f.op.signer
	if err := f.pin(); err != nil {
		return err
	}
	if err := f.extends(ctx); err != nil {
		return err
	}
	return f.included(ctx)
}

// pin judges the operator key.
func (f *fetch) pin() error {
	pin, known := f.s.o.OperatorKey, f.s.known
	switch {
	case pin != "" && !f.op.hangsOn(pin, f.snap.Signed):
		return refuse(ClassPin, "the operator log was begun by key `%s`, but `%s` is expected", f.op.signer, pin)
	case known.Format != 0 && known.OperatorKey != f.op.signer:
		return refuse(ClassPin, "the operator log was begun by key `%s`, before it was `%s`", f.op.signer, known.OperatorKey)
	}
	f.snap.Pinned = pin != "" || known.Format != 0
	return nil
}

// included verifies with the registry's proofs that the last records fetched are in
// the log, and the heads of their logs in the map. Since each log is a chain, that
// covers all of their records.
func (f *fetch) included(ctx context.Context) error {
	leaves := []vlog.Leaf{leafOf(warg.OperatorLogID, f.operator)}
	entries := []vmap.Entry{entryOf(warg.OperatorLogID, f.operator)}
	for _, p := range f.snap.Packages {
		if len(p.Records) == 0 {
			return refuse(ClassAbsence, "the log of `%s` is empty", p.Name)
		}
		leaves = append(leaves, leafOf(p.Name.LogID(), p.Records))
		entries = append(entries, entryOf(p.Name.LogID(), p.Records))
	}
	indexes := make([]uint64, len(leaves))
	for i, l := range leaves {
		indexes[i] = l.Index
	}
	proof, err := f.s.o.Registry.Inclusion(ctx, f.length, indexes)
	if err != nil {
		return f.noProof("that the logs are included", err)
	}
	cp := f.snap.Checkpoint
	if err := vlog.VerifyInclusion(proof.Log, cp.LogRoot, cp.LogLength, leaves); err != nil {
		return refuse(ClassProof, "verifying that records are in the log: %w", err)
	}
	if err := vmap.VerifyInclusion(proof.Map, cp.MapRoot, entries); err != nil {
		return refuse(ClassProof, "verifying that records are the last of their logs: %w", err)
	}
	return nil
}

// noProof judges an error instead of a proof: the registry answered, and did not
// prove what it says.
func (f *fetch) noProof(what string, err error) error {
	for _, kind := range []warg.Kind{warg.KindLeafNotFound, warg.KindLengthNotFound, warg.KindProofFailure, warg.KindProofIncorrect, warg.KindNotInMap} {
		if errors.Is(err, &warg.Error{Kind: kind}) {
			return refuse(ClassProof, "the registry does not prove %s: %w", what, err)
		}
	}
	return fmt.Errorf("fetching the proof %s: %w", what, err)
}

func leafOf(log warg.LogID, records []warg.Record) vlog.Leaf {
	last := records[len(records)-1]
	l := warg.Leaf{LogID: log, RecordID: last.RecordID(log)}
	return vlog.Leaf{Index: last.Index, Value: l.LogValue()}
}

func entryOf(log warg.LogID, records []warg.Record) vmap.Entry {
	l := warg.Leaf{LogID: log, RecordID: records[len(records)-1].RecordID(log)}
	return vmap.Entry{Key: l.MapKey(), Value: l.MapValue()}
}

// extends verifies that the checkpoint extends the one remembered.
func (f *fetch) extends(ctx context.Context) error {
	known, cp := f.s.known, f.snap.Checkpoint
	if known.Format == 0 {
		return nil
	}
	c := &contradiction{believed: known.signed, refused: f.snap.Signed, op: f.op}
	switch {
	case cp.LogLength < known.view.LogLength && cp.Timestamp > known.view.Timestamp:
		c.class = ClassRewind
		c.reason = fmt.Sprintf("a checkpoint of length %d was signed at %d, after one of length %d signed at %d",
			cp.LogLength, cp.Timestamp, known.view.LogLength, known.view.Timestamp)
	case cp.LogLength < known.view.LogLength:
		return refuse(ClassRollback, "the registry presents a checkpoint of length %d; one of length %d was verified before", cp.LogLength, known.view.LogLength)
	case cp.LogLength == known.view.LogLength && !cp.SameView(known.view):
		c.class = ClassEquivocation
		c.reason = fmt.Sprintf("two checkpoints of length %d have different roots", cp.LogLength)
	case cp.LogLength == known.view.LogLength:
		return nil
	default:
		return f.consistent(ctx, c)
	}
	return c.refusal(f.s.Domain(), f.s.o.Now())
}

// consistent verifies the registry's proof that the longer log extends the shorter.
func (f *fetch) consistent(ctx context.Context, c *contradiction) error {
	from := vlog.Point{Length: f.s.known.view.LogLength, Root: f.s.known.view.LogRoot}
	to := vlog.Point{Length: f.length, Root: f.snap.Checkpoint.LogRoot}
	proof, err := f.s.o.Registry.Consistency(ctx, from.Length, to.Length)
	if err != nil {
		return f.noProof("that its log was only appended to", err)
	}
	err = vlog.VerifyConsistency(proof, from, to)
	if err == nil {
		return nil
	}
	if provesFork(proof, from, to) {
		c.class, c.consistency = ClassEquivocation, proof
		c.reason = fmt.Sprintf("the log of length %d does not extend the log of length %d", to.Length, from.Length)
		return c.refusal(f.s.Domain(), f.s.o.Now())
	}
	return refuse(ClassProof, "verifying that the log was only appended to: %w", err)
}
