package upstream

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/warg"
)

// groupBytes is how many bytes of records are verified in one go, so that many large
// logs are not in memory at one time.
const groupBytes = 4 << 20

// packages verifies names and records of the package logs that a cargo has.
func (s *Stage) packages(ctx context.Context, c Cargo) error {
	work, workCtx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	var group, named []warg.LogID
	size := int64(0)
	flush := func() {
		if logs := group; len(logs) > 0 {
			work.Go(func() error { return s.records(workCtx, logs) })
		}
		if ids := named; len(ids) > 0 {
			work.Go(func() error { return s.scratch.askNames(workCtx, ids) })
		}
		group, named, size = nil, nil, 0
	}
	for l, err := range c.Packages() {
		if err == nil {
			err = s.admit(l)
		}
		if err != nil {
			_ = work.Wait() // their errors come from reading the same archive
			return err
		}
		if l.Count > 0 {
			group = append(group, l.LogID)
		}
		if l.Named {
			named = append(named, l.LogID)
		}
		if size += l.Bytes; size > groupBytes || len(group) == logsPerRequest || len(named) == warg.MaxNames {
			flush()
		}
		if workCtx.Err() != nil {
			break
		}
	}
	flush()
	if err := work.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// admit checks that a package log of a cargo is one of the ledger, and complete, and
// fetches what the cargo builds on from the replica.
func (s *Stage) admit(l CargoLog) error {
	leaves, held, err := s.scratch.o.Store.Log(l.LogID)
	switch {
	case err != nil:
		return err
	case leaves == 0 || l.LogID == warg.OperatorLogID:
		return refuse(ClassLedger, "package log `%s` is not in the ledger", l.LogID)
	case l.Count == 0:
		return nil
	case l.First+l.Count != leaves || l.First+l.Count < l.First:
		return refuse(ClassLedger, "package log `%s` has %d records in the ledger, and %d after %d in the archive", l.LogID, leaves, l.Count, l.First)
	case held >= l.First:
		return nil
	case s.of == nil:
		return missingBase("the first %d records of package log `%s` are not here", l.First, l.LogID)
	}
	for held < l.First {
		page, err := s.of.o.Store.Records(l.LogID, held, int(min(l.First-held, warg.MaxFetchLimit)))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return missingBase("the first %d records of package log `%s` are not here", l.First, l.LogID)
		}
		if err := s.scratch.o.Store.PutRecords(l.LogID, held, page); err != nil {
			return err
		}
		held += uint64(len(page))
	}
	return nil
}

// records verifies the records of some logs as a replica does.
func (s *Stage) records(ctx context.Context, logs []warg.LogID) error {
	mine, all := s.scratch.logs.join(logs)
	b := &batch{r: s.scratch, v: s.scratch.view.Load(), limit: warg.MaxFetchLimit, open: make(map[warg.LogID]*openLog)}
	b.run(ctx, mine)
	if err := wait(ctx, all); err != nil {
		return fmt.Errorf("verifying records: %w", err)
	}
	return nil
}
