package main

import (
	"context"
	"encoding/json"
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
	Evidence   int           `json:"evidence"`
	AuditLines uint64        `json:"auditLines"`
	Cached     int           `json:"cachedContents"`
	Findings   []siteFinding `json:"findings"`
}

func (r *siteReport) say(class, file string, offset int64, reason string) {
	r.Findings = append(r.Findings, siteFinding{class, file, offset, reason})
}

func (r *siteReport) show(w io.Writer) {
	fmt.Fprintf(w, "upstreams\t%d heads, %d files of evidence\n", r.Upstreams, r.Evidence)
	fmt.Fprintf(w, "cache\t%d contents hashed\n", r.Cached)
	fmt.Fprintf(w, "audit log\t%d lines\n", r.AuditLines)
}

// checkSite reads what a site has besides its own registry.
func checkSite(ctx context.Context, conf *config.Config) (r siteReport, err error) {
	r.Findings = []siteFinding{}
	if err := r.upstreams(conf); err != nil {
		return r, err
	}
	if err := r.evidence(filepath.Join(conf.Data, evidenceDir)); err != nil {
		return r, err
	}
	if err := r.auditLog(conf); err != nil {
		return r, err
	}
	return r, r.cached(ctx, filepath.Join(conf.Data, cacheDir))
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
			r.say("upstream", f.File, f.Offset, f.Reason)
		}
	}
	return nil
}

// evidence checks that the files are what was written, not what they prove: that is for
// `entrepot monitor --evidence`.
func (r *siteReport) evidence(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		r.Evidence++
		if !json.Valid(text) {
			r.say("evidence", name, 0, "it is not JSON")
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
