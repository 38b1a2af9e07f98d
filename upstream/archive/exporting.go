package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// recordBatch is how many records are asked of a source at a time.
const recordBatch = 256

// exporting writes one registry.
type exporting struct {
	*survey
	w        *writer
	progress func(Step)
	done     ExportedRegistry
	wanted   map[warg.Digest]bool // content that the archived records release
	piece    []byte               // of content on its way
}

func (x *exporting) run(ctx context.Context) error {
	x.done.Domain, x.done.Length, x.done.Since = x.src.Domain(), x.length, x.first
	x.wanted = make(map[warg.Digest]bool)
	x.piece = make([]byte, bytesPerFrame)
	x.w.write(kindRegistry, func(e *encoder) {
		e.text(x.src.Domain())
		e.checkpoint(x.head)
	})
	for _, part := range []func(context.Context) error{x.base, x.checkpoints, x.leaves, x.operatorRecords, x.packages, x.contents} {
		if err := part(ctx); err != nil {
			return err
		}
		if x.w.err != nil {
			return x.w.err
		}
	}
	x.w.write(kindRegistryEnd, func(e *encoder) { e.counts(x.done.Counts) })
	return x.w.err
}

// base writes what the delta builds on.
func (x *exporting) base(context.Context) error {
	if x.since == nil {
		return nil
	}
	return writeBase(x.w, x.since)
}

// writeBase writes what a cargo and all before it have.
func writeBase(w *writer, c *Cargo) error {
	w.write(kindBase, func(e *encoder) { e.checkpoint(c.Head()) })
	logs := w.row(kindBaseLogs, baseLogsPerFrame)
	for l, err := range c.inventoryLogs() {
		if err != nil {
			return err
		}
		logs.add(func(e *encoder) { e.baseLog(baseLog{l.LogID, l.Count, l.Named}) })
	}
	logs.flush()
	contents := w.row(kindBaseContents, baseContentsPerFrame)
	for d, err := range c.inventoryContents() {
		if err != nil {
			return err
		}
		contents.add(func(e *encoder) { e.digest(d) })
	}
	contents.flush()
	return nil
}

func (x *exporting) checkpoints(ctx context.Context) error {
	row := x.w.row(kindCheckpoints, checkpointsPerFrame)
	last := x.first
	for s, err := range x.src.Checkpoints(ctx, x.first) {
		if err != nil {
			return err
		}
		length := s.Unverified().LogLength
		if length >= x.length {
			break
		}
		if length <= last {
			return fmt.Errorf("accepted checkpoints are out of order at length %d", length)
		}
		last = length
		row.add(func(e *encoder) { e.checkpoint(s) })
		x.done.Checkpoints++
	}
	row.flush()
	return nil
}

func (x *exporting) leaves(ctx context.Context) error {
	row := x.w.row(kindLedger, leavesPerFrame)
	for at := x.first; at < x.length; {
		packed, err := x.ledger(ctx, at)
		if err != nil {
			return err
		}
		for leaf := range slices.Chunk(packed, leafSize) {
			row.add(func(e *encoder) { e.b = append(e.b, leaf...) })
			at++
		}
	}
	row.flush()
	x.done.Leaves = x.length - x.first
	return nil
}

// each calls f with the records of a log below the checkpoint, from the n-th on, and
// returns how many there were.
func (x *exporting) each(ctx context.Context, log warg.LogID, n uint64, f func(warg.Record) error) (uint64, error) {
	for count := uint64(0); ; {
		if err := ctx.Err(); err != nil {
			return count, err
		}
		page, err := x.src.Records(ctx, log, n+count, recordBatch)
		if err != nil || len(page) == 0 {
			return count, err
		}
		for _, rec := range page {
			if rec.Index >= x.length {
				return count, nil
			}
			if err := f(rec); err != nil {
				return count, err
			}
			count++
		}
	}
}

func (x *exporting) operatorRecords(ctx context.Context) error {
	_, err := x.each(ctx, warg.OperatorLogID, 0, func(rec warg.Record) error {
		if rec.Index >= x.first {
			x.w.write(kindOperator, func(e *encoder) { e.record(rec) })
			x.done.Operator++
		}
		return nil
	})
	if err == nil && x.done.Operator != x.operator {
		return fmt.Errorf("%d of %d operator records are held here", x.done.Operator, x.operator)
	}
	return err
}

// packages writes the chosen package logs.
func (x *exporting) packages(ctx context.Context) error {
	base := pull(x.since.inventoryLogs())
	defer base.stop()
	for i, s := range x.logs {
		before, _, err := base.until(func(l upstream.CargoLog) int { return warg.Digest(l.LogID).Compare(warg.Digest(s.log)) })
		if err == nil {
			err = x.pack(ctx, s, before)
		}
		if err != nil {
			return fmt.Errorf("log `%s`: %w", s.log, err)
		}
		x.progress(Step{x.src.Domain(), "records", int64(i + 1), int64(len(x.logs))})
	}
	return nil
}

// pack writes one package log: all its records that the base does not have, or its
// name alone.
func (x *exporting) pack(ctx context.Context, s surveyed, before upstream.CargoLog) error {
	name, named, err := x.src.Name(ctx, s.log)
	if err != nil {
		return err
	}
	last, err := x.src.Records(ctx, s.log, s.leaves-1, 1)
	if err != nil {
		return err
	}
	head := packageHead{log: s.log, first: before.Count, count: s.leaves - min(before.Count, s.leaves)}
	if len(last) == 0 {
		x.done.MissingPackages++
		head.count = 0
	}
	if named && (head.count > 0 || !before.Named) {
		head.name = name
	}
	if head.count > 0 || !head.name.IsZero() {
		x.w.write(kindPackage, func(e *encoder) { e.packageHead(head) })
		x.done.Packages++
	}
	if len(last) == 0 {
		return nil
	}
	n := uint64(0)
	total, err := x.each(ctx, s.log, 0, func(rec warg.Record) error {
		if n++; n > head.first {
			x.w.write(kindRecord, func(e *encoder) { e.record(rec) })
			x.done.Records++
		}
		return x.want(rec)
	})
	if err == nil && total != s.leaves {
		return fmt.Errorf("%d records are held here, the ledger has %d", total, s.leaves)
	}
	return err
}

// want notes the content that a record releases. A hash of another length names no
// content that anybody can have.
func (x *exporting) want(rec warg.Record) error {
	decoded, err := pkglog.Decode(rec.Content)
	if err != nil {
		return fmt.Errorf("decoding a stored record: %w", err)
	}
	for _, entry := range decoded.Entries {
		if release, ok := entry.(pkglog.Release); ok {
			if digest, err := release.Content.Digest(); err == nil {
				x.wanted[digest] = true
			}
		}
	}
	return nil
}

// contents writes the content that is held and that the base does not have.
func (x *exporting) contents(ctx context.Context) error {
	base := pull(x.since.inventoryContents())
	defer base.stop()
	digests := make([]warg.Digest, 0, len(x.wanted))
	for d := range x.wanted {
		digests = append(digests, d)
	}
	slices.SortFunc(digests, warg.Digest.Compare)
	for i, d := range digests {
		_, has, err := base.until(func(b warg.Digest) int { return b.Compare(d) })
		if err == nil && !has {
			err = x.content(ctx, d)
		}
		if err != nil {
			return fmt.Errorf("content `%s`: %w", d, err)
		}
		x.progress(Step{x.src.Domain(), "content", int64(i + 1), int64(len(digests))})
	}
	return nil
}

func (x *exporting) content(ctx context.Context, digest warg.Digest) error {
	body, size, err := x.src.Content(ctx, digest)
	if errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		x.done.MissingContents++
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	x.w.write(kindContent, func(e *encoder) {
		e.digest(digest)
		e.u64(uint64(size))
	})
	sum := sha256.New()
	for left := size; left > 0 && x.w.err == nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := x.piece[:min(left, bytesPerFrame)]
		if _, err := io.ReadFull(body, piece); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		sum.Write(piece)
		x.w.frame(kindBytes, piece)
		left -= int64(len(piece))
	}
	if x.w.err == nil && warg.Digest(sum.Sum(nil)) != digest {
		return errors.New("it is damaged where it is held")
	}
	x.done.Contents++
	x.done.ContentBytes += uint64(size)
	return x.w.err
}
