package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
)

// siteFinding is damage outside of our own registry.
type siteFinding struct {
	Class  string `json:"class"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
}

func (f siteFinding) Error() string {
	return fmt.Sprintf("%s: %s, byte %d: %s", f.Class, f.File, f.Offset, f.Reason)
}

// siteReport is what was read besides our own registry.
type siteReport struct {
	Upstreams  int           `json:"upstreams"`
	Verified   int           `json:"upstreamCheckpoints"` // signatures and roots
	Evidence   int           `json:"evidence"`
	AuditLines uint64        `json:"auditLines"`
	Cached     int           `json:"cachedContents"`
	Areas      []area        `json:"areas"`
	Findings   []siteFinding `json:"findings"`
	Notes      []siteFinding `json:"notes"` // no damage, but worth knowing
}

func (r *siteReport) say(class, file string, offset int64, reason string) {
	r.Findings = append(r.Findings, siteFinding{class, file, offset, reason})
}

func (r *siteReport) note(class, file, reason string) {
	r.Notes = append(r.Notes, siteFinding{class, file, 0, reason})
}

func (r *siteReport) show(w io.Writer) {
	fmt.Fprintf(w, "upstreams\t%d heads, %d checkpoints verified, %d files of evidence\n", r.Upstreams, r.Verified, r.Evidence)
	fmt.Fprintf(w, "cache\t%d contents hashed\n", r.Cached)
	fmt.Fprintf(w, "audit log\t%d lines\n", r.AuditLines)
	for _, a := range r.Areas {
		fmt.Fprintf(w, "space\t%s: %d files, %d KiB\n", a.Name, a.Files, (a.Bytes+1023)>>10)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note\t%s: %s: %s\n", n.Class, n.File, n.Reason)
	}
}

// checkSite reads what a site has besides its own registry.
func checkSite(ctx context.Context, conf *config.Config) (r siteReport, err error) {
	r.Findings, r.Notes = []siteFinding{}, []siteFinding{}
	for _, look := range []func() error{
		func() error { return r.upstreams(conf) },
		func() error { return r.evidence(conf) },
		func() error { return r.auditLog(conf) },
		func() error { return r.cached(ctx, filepath.Join(conf.Data, cacheDir)) },
		func() error { return r.signatures(conf) }, // by what the cache holds, if that is sound
		func() error { return r.measure(conf) },
	} {
		if err := look(); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r *siteReport) upstreams(conf *config.Config) error {
	for _, domain := range upstreamDomains(conf) {
		dir := filepath.Join(conf.Data, upstreamsDir, domain)
		flaws, err := upstream.Inspect(durable.OS{}, dir, domain)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		r.Upstreams++
		for _, f := range flaws {
			r.say(classUpstream, f.File, f.Offset, f.Reason)
		}
	}
	return nil
}

func (r *siteReport) auditLog(conf *config.Config) error {
	report, findings, err := audit.Verify(audit.VerifyOptions{Path: auditPath(conf)})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.AuditLines = report.Lines
	for _, f := range findings {
		r.say("audit log", f.File, 0, f.Error())
	}
	return nil
}

func (r *siteReport) cached(ctx context.Context, dir string) error {
	report, err := cache.Inspect(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Cached = report.Contents
	for _, f := range report.Damaged {
		r.say(classCache, f.File, 0, f.Reason)
	}
	return nil
}

const classCache = "cache"

// repairSite drops cached files that are damaged: they are fetched again.
func repairSite(conf *config.Config, r siteReport) (done []string, err error) {
	for _, f := range r.Findings {
		if f.Class != classCache || !within(filepath.Join(conf.Data, cacheDir), f.File) {
			continue
		}
		if err := os.RemoveAll(f.File); err != nil {
			return done, err
		}
		done = append(done, "dropped "+f.File)
	}
	return done, nil
}
