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
	"sync"

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
	Pins       Pins      // keeps the content from being evicted; nil = it may be
}

// Pins is what keeps content of a plan. Both methods are called from several
// goroutines.
type Pins interface {
	// Pin keeps content from now on, whether it is here already or comes later.
	Pin(digest warg.Digest) error
	// Release lets go of all content that was pinned for the plan before and is not to
	// be kept any more.
	Release(keep func(digest warg.Digest) bool) error
}

// Package is a package of a plan.
type Package struct {
	Name warg.PackageName
	Want warg.Requirement // which of its releases have their content fetched
}

// Step is progress: Done of Total things of a stage. Stages follow each other.
type Step struct {
	Stage       string // "checkpoint", "records" (of logs, and their names), "content"
	Done, Total int64
}

// Sizes of requests to the replica.
const (
	ledgerBatch = 10_000 // leaves
	logsBatch   = 256    // logs in one fetch; the replica asks upstream for so many at a time
	recordsPage = 100    // records of each log that are looked at together: some 30 MiB at worst

	// atATime is how many fetches of logs, or of content, are under way: half of the
	// connections that an upstream gets by default. While one waits for upstream the
	// others verify.
	atATime = 4
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
	wanted, err := s.records(ctx, logs)
	if err != nil {
		return from, err
	}
	if err := s.contents(ctx, wanted); err != nil {
		return from, err
	}
	if plan.Pins != nil && from == 0 {
		keep := make(map[warg.Digest]bool, len(wanted))
		for _, digest := range wanted {
			keep[digest] = true
		}
		if err := plan.Pins.Release(func(d warg.Digest) bool { return keep[d] }); err != nil {
			return from, err
		}
	}
	return s.length, nil
}

// filling is one filling up to one length.
type filling struct {
	r        Replica
	length   uint64
	plan     Plan
	progress func(Step)

	mu   sync.Mutex
	step Step // reported last; under mu
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

// records has all records and the names of the logs fetched and returns the content
// that their releases name and the plan wants.
func (s *filling) records(ctx context.Context, logs []warg.LogID) ([]warg.Digest, error) {
	wants := map[warg.LogID]warg.Requirement{}
	for _, p := range s.plan.Packages {
		wants[p.Name.LogID()] = p.Want
	}
	var wanted []warg.Digest
	seen := map[warg.Digest]bool{}
	batches := slices.Collect(slices.Chunk(logs, logsBatch))
	s.begin("records", len(logs))
	err := each(ctx, len(batches), func(ctx context.Context, i int) error {
		var found []warg.Digest
		err := s.batch(ctx, batches[i], func(log warg.LogID, rel pkglog.Release) {
			want, named := wants[log]
			digest, err := rel.Content.Digest()
			if err == nil && (s.plan.Everything || named && want.Matches(rel.Version)) {
				found = append(found, digest) // a hash of another length names no content that anybody can have
			}
		})
		if err != nil {
			return err
		}
		s.advance(len(batches[i]), func() {
			for _, digest := range found {
				if !seen[digest] {
					seen[digest] = true
					wanted = append(wanted, digest)
				}
			}
		})
		return nil
	})
	return wanted, err
}

// batch has names and records of some logs fetched, reads all records, and reports
// their releases.
func (s *filling) batch(ctx context.Context, logs []warg.LogID, found func(warg.LogID, pkglog.Release)) error {
	if _, err := s.r.Names(ctx, logs); err != nil {
		return err
	}
	req := warg.LogsRequest{LogLength: s.length, Limit: recordsPage}
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
			if n := len(log.Records); n == recordsPage {
				req.Packages = append(req.Packages, warg.LogCursor{LogID: log.LogID, Token: log.Records[n-1].Token})
			}
		}
		if len(req.Packages) == 0 {
			return nil
		}
	}
}

func releases(rec warg.Record, found func(pkglog.Release)) error {
	list, err := pkglog.Releases(rec.Content)
	if err != nil {
		return fmt.Errorf("decoding a stored record: %w", err)
	}
	for _, rel := range list {
		found(rel)
	}
	return nil
}

// contents has content pinned and fetched.
func (s *filling) contents(ctx context.Context, wanted []warg.Digest) error {
	s.begin("content", len(wanted))
	return each(ctx, len(wanted), func(ctx context.Context, i int) error {
		if s.plan.Pins != nil {
			if err := s.plan.Pins.Pin(wanted[i]); err != nil {
				return err
			}
		}
		_, err := s.r.Stat(ctx, wanted[i])
		if err != nil && !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
			return err
		}
		s.advance(1, func() {})
		return nil
	})
}

// begin starts counting the steps of a stage.
func (s *filling) begin(stage string, total int) { s.step = Step{Stage: stage, Total: int64(total)} }

// advance notes that so much more of the stage is done, with what belongs to that,
// and tells the caller, whose function need not be safe for more than one goroutine.
func (s *filling) advance(more int, with func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	with()
	s.step.Done += int64(more)
	s.progress(s.step)
}

// each calls f with 0 to n-1, several at a time, until one fails.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
	for i := range n {
		if running.Err() != nil {
			break
		}
		g.Go(func() error { return f(running, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
