package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/scrub"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// scrubDelay is how long after a start reading again begins.
const scrubDelay = time.Minute

// newScrubber returns what reads again, in the background, everything that lies here.
func (s *site) newScrubber() *scrub.Scrubber {
	sources := s.authority.Scrubs()
	if s.cache != nil {
		sources = append(sources, s.cache.Scrubs()...)
	}
	return scrub.New(scrub.Options{
		Sources: sources, FS: durable.OS{}, State: filepath.Join(s.conf.Data, scrubFile),
		Delay: scrubDelay, Busy: s.authority.Busy, Now: s.now, Log: s.log,
	})
}

func (s *site) scrubCounts() proxy.ScrubCounts {
	stats := s.scrubber.Stats()
	return proxy.ScrubCounts{Bytes: stats.Bytes, Damages: stats.Damages, Ended: stats.Ended}
}

// healContent fetches content of our own from a peer that mirrors us.
func (s *site) healContent(ctx context.Context, d warg.Digest, keep func(io.Reader) error) error {
	err := error(warg.NotFound(warg.KindContentNotFound, d))
	for _, peer := range s.conf.Authority.Peers {
		o, oerr := s.backupOptions(peer)
		if oerr != nil {
			return oerr
		}
		transport, terr := upstream.NewClient(o)
		if terr != nil {
			return terr
		}
		ferr := orphaned{transport}.Fetch(ctx, d, func(body io.Reader, _ int64) error { return keep(body) })
		if ferr == nil {
			return nil
		}
		err = errors.Join(err, ferr)
	}
	return err
}
