// Package mirror fills the replica of a registry ahead of time.
//
// A replica fetches what it is asked for, verifies it and stores it. So a mirror
// only has to ask: for the checkpoint, then for names, records and content, as far
// as its [Plan] wants them. What is held already costs a look at the store.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// Replica is what is filled.
type Replica interface {
	warg.Registry
	// Refresh asks upstream for its checkpoint now.
	Refresh(ctx context.Context) error
}

// Plan says what a mirror keeps.
type Plan struct {
	Everything bool      // all packages with all content
	Packages   []Package // else these
}

// Package is a package of a plan.
type Package struct {
	Name warg.PackageName
	Want warg.Requirement // which of its releases have their content fetched
}

// Step is progress: Done of Total things of a stage. Stages follow each other.
type Step struct {
	Stage       string // "checkpoint", "names", "records", "content"
	Done, Total int64
}

// Sizes of requests to the replica.
const (
	ledgerBatch = 10_000 // leaves
	logsBatch   = 64     // logs in one fetch; the replica asks upstream for so many at a time
	contents    = 4      // fetched at a time: half of the connections that an upstream gets by default
)

// Sync fills a replica: first the checkpoint with its ledger, then what the plan
// names and the ledger has from index from on. It returns the length up to which
// the plan is now fulfilled. Content that upstream does not have is left out, as a
// release without content is no reason to keep nothing; any other error ends it.
func Sync(ctx context.Context, r Replica, plan Plan, from uint64, progress func(Step)) (uint64, error) {
	progress(Step{Stage: "checkpoint", Total: 1})
	if err := r.Refresh(ctx); err != nil {
		return from, err
	}
	view, err := r.Checkpoint(ctx)
	if err != nil {
		return from, err
	}
	progress(Step{Stage: "checkpoint", Done: 1, Total: 1})
	s := &filling{r: r, length: view.Checkpoint.LogLength, plan: plan, progress: progress}
	if s.length <= from {
		return from, nil
	}
	logs, err := s.logs(ctx, from)
	if err != nil {
		return from, err
	}
	if err := s.names(ctx, logs); err != nil {
		return from, err
	}
	wanted, err := s.records(ctx, logs)
	if err != nil {
		return from, err
	}
	if err := s.contents(ctx, wanted); err != nil {
		return from, err
	}
	return s.length, nil
}

// filling is one filling up to one length.
type filling struct {
	r        Replica
	length   uint64
	plan     Plan
	progress func(Step)
}

// logs returns the package logs of the plan that have leaves from an index on.
func (s *filling) logs(ctx context.Context, from uint64) ([]warg.LogID, error) {
	wanted := map[warg.LogID]bool{}
	for _, p := range s.plan.Packages {
		wanted[p.Name.LogID()] = true
	}
	if !s.plan.Everything && len(wanted) == 0 {
		return nil, nil
	}
	var found []warg.LogID
	seen := map[warg.LogID]bool{warg.OperatorLogID: true}
	for from < s.length {
		entries, err := s.r.Ledger(ctx, from, int(min(ledgerBatch, s.length-from)))
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return nil, fmt.Errorf("the ledger ends at %d of %d leaves", from, s.length)
		}
		for entry := range slices.Chunk(entries, warg.LedgerEntrySize) {
			log := warg.LogID(entry[:warg.DigestSize])
			if !seen[log] && (s.plan.Everything || wanted[log]) {
				found = append(found, log)
			}
			seen[log] = true
			from++
		}
	}
	return found, nil
}

func (s *filling) names(ctx context.Context, logs []warg.LogID) error {
	done := int64(0)
	for batch := range slices.Chunk(logs, warg.MaxNames) {
		if _, err := s.r.Names(ctx, batch); err != nil {
			return err
		}
		done += int64(len(batch))
		s.progress(Step{"names", done, int64(len(logs))})
	}
	return nil
}

// records has all records of the logs fetched and returns the content that their
// releases name and the plan wants.
func (s *filling) records(ctx context.Context, logs []warg.LogID) ([]warg.Digest, error) {
	wants := map[warg.LogID]warg.Requirement{}
	for _, p := range s.plan.Packages {
		wants[p.Name.LogID()] = p.Want
	}
	var wanted []warg.Digest
	seen := map[warg.Digest]bool{}
	done := int64(0)
	for batch := range slices.Chunk(logs, logsBatch) {
		err := s.batch(ctx, batch, func(log warg.LogID, rel pkglog.Release) {
			want, named := wants[log]
			digest, err := rel.Content.Digest()
			if err != nil || seen[digest] || !s.plan.Everything && !(named && want.Matches(rel.Version)) {
				return // a hash of another length names no content that anybody can have
			}
			seen[digest] = true
			wanted = append(wanted, digest)
		})
		if err != nil {
			return nil, err
		}
		done += int64(len(batch))
		s.progress(Step{"records", done, int64(len(logs))})
	}
	return wanted, nil
}

// batch reads all records of some logs and reports their releases.
func (s *filling) batch(ctx context.Context, logs []warg.LogID, found func(warg.LogID, pkglog.Release)) error {
	req := warg.LogsRequest{LogLength: s.length, Limit: warg.MaxFetchLimit}
	for _, log := range logs {
		req.Packages = append(req.Packages, warg.LogCursor{LogID: log})
	}
	for {
		page, err := s.r.Logs(ctx, req)
		if err != nil {
			return err
		}
		if len(page.Operator) > 0 {
			req.Operator = page.Operator[len(page.Operator)-1].Token
		}
		req.Packages = req.Packages[:0]
		for _, log := range page.Packages {
			for _, rec := range log.Records {
				if err := releases(rec, func(rel pkglog.Release) { found(log.LogID, rel) }); err != nil {
					return err
				}
			}
			if n := len(log.Records); n == warg.MaxFetchLimit {
				req.Packages = append(req.Packages, warg.LogCursor{LogID: log.LogID, Token: log.Records[n-1].Token})
			}
		}
		if len(req.Packages) == 0 {
			return nil
		}
	}
}

func releases(rec warg.Record, found func(pkglog.Release)) error {
	decoded, err := pkglog.Decode(rec.Content)
	if err != nil {
		return fmt.Errorf("decoding a stored record: %w", err)
	}
	for _, e := range decoded.Entries {
		if rel, ok := e.(pkglog.Release); ok {
			found(rel)
		}
	}
	return nil
}

// contents has content fetched, several at a time.
func (s *filling) contents(ctx context.Context, wanted []warg.Digest) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(contents)
	fetched := make(chan struct{})
	reported := make(chan struct{})
	go func() { // one goroutine, as the caller's function need not be safe for more
		defer close(reported)
		done := int64(0)
		for range fetched {
			done++
			s.progress(Step{"content", done, int64(len(wanted))})
		}
	}()
	for _, digest := range wanted {
		g.Go(func() error {
			_, err := s.r.Stat(ctx, digest)
			if err != nil && !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
				return err
			}
			fetched <- struct{}{}
			return nil
		})
	}
	err := g.Wait()
	close(fetched)
	<-reported
	return err
}
