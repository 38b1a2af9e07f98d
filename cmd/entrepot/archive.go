package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/archive"
	"github.com/entrepot/entrepot/warg"
)

type archiveCmd struct {
	Export archiveExportCmd `cmd:"" help:"Write what is held of registries to a file, for a site without network."`
	Import archiveImportCmd `cmd:"" help:"Verify archives and store what they carry; all or nothing."`
	Verify archiveVerifyCmd `cmd:"" help:"Verify archives and store nothing."`
}

type archiveExportCmd struct {
	siteFlags
	jsonFlag
	Upstream []string `placeholder:"DOMAIN" help:"Upstream by its name in the configuration; may be repeated. Default: all."`
	Own      bool     `help:"Our own registry as well, for a site that has us as upstream."`
	Package  []string `placeholder:"NS:NAME" help:"Only the records and content of this package; may be repeated. Default: all that are held."`
	Since    string   `placeholder:"OLD" help:"Write only what is new since an older archive."`
	Split    string   `placeholder:"SIZE" help:"Cut into FILE.000, FILE.001 and so on, each at most this large (4GiB, 700MB)."`
	Output   string   `short:"o" required:"" placeholder:"FILE" help:"File to write."`
}

func (archiveExportCmd) Help() string {
	return `What is held is written, and nothing is fetched for it: fill the mirrors first.
The archive has no signature of its own; whoever imports it verifies the registries'.

Example:

    entrepot mirror sync wasi.example
    entrepot archive export --upstream wasi.example -o monday.archive
    entrepot archive export --upstream wasi.example --since monday.archive -o tuesday.archive
`
}

// exported is what export prints.
type exported struct {
	archive.Exported
	NothingHeld []string `json:"nothingHeld,omitempty"` // upstreams that are left out
	Files       []string `json:"files"`
	Bytes       int64    `json:"bytes"`
}

func (c archiveExportCmd) Run(ctx context.Context, p *process) error {
	split, err := c.split()
	if err != nil {
		return err
	}
	want := proxy.ArchiveWanted{Domains: c.Upstream, Own: c.Own, Packages: c.Package}
	for _, name := range c.Package {
		if _, err := parsePackage(name); err != nil {
			return err
		}
	}
	var old *archive.Archive
	if c.Since != "" {
		if old, err = p.openOlder(c.Since); err != nil {
			return err
		}
		defer old.Close()
	}
	out, err := newArchiveFiles(p.path(c.Output), split)
	if err != nil {
		return err
	}
	defer out.discard()
	var done exported
	err = p.serverOrSite(ctx, c.siteFlags, siteOptions{noOwn: !c.Own},
		func(a *adminClient) (err error) { done, err = a.export(ctx, want, old, out.volumes); return err },
		func(s *site) (err error) {
			show := p.newStages()
			defer show.done()
			done, err = archives{s}.export(ctx, exportPlan{want: want, since: old, out: out.volumes, progress: show.archiveStep})
			return err
		})
	if err == nil {
		done.Files, done.Bytes, err = out.finish()
	}
	if err != nil {
		return fmt.Errorf("writing archive %s: %w", c.Output, err)
	}
	return p.print(c.jsonFlag, done, done.show)
}

// split returns the size of parts, 0 for one part.
func (c archiveExportCmd) split() (int64, error) {
	if c.Split == "" {
		return 0, nil
	}
	size, err := config.ParseSize(c.Split)
	if err == nil && size < archive.MinPart {
		err = fmt.Errorf("parts of %s are too small; at least %d bytes", c.Split, archive.MinPart)
	}
	if err != nil {
		return 0, exitf(exitUsage, "--split: %w", err)
	}
	return size, nil
}

func (e exported) show(w io.Writer) {
	fmt.Fprintln(w, "registry\tlength\tpackages\trecords\tcontents\tbytes\tnot held")
	for _, r := range e.Registries {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", r.Domain, r.Length, r.Packages, r.Records, r.Contents, r.ContentBytes, notHeld(r))
	}
	for _, d := range e.NothingHeld {
		fmt.Fprintf(w, "%s\t\t\t\t\t\teverything\n", d)
	}
	fmt.Fprintf(w, "archive %s\n", e.ID)
	for _, f := range e.Files {
		fmt.Fprintf(w, "written to %s\n", f)
	}
}

func notHeld(r archive.ExportedRegistry) string {
	if r.MissingPackages+r.MissingContents == 0 {
		return "-"
	}
	return fmt.Sprintf("%d packages, %d contents", r.MissingPackages, r.MissingContents)
}

type archiveImportCmd struct {
	siteFlags
	jsonFlag
	Files []string `arg:"" name:"file" help:"Archives, in the order in which they build on each other; or all parts of them, in order."`
}

func (archiveImportCmd) Help() string {
	return `The registries must be in the configuration, each with its operator_key. Everything is
verified as if it came over the network, and nothing is stored unless all of it is
true. To import an archive again, or an older one, changes nothing.

Example:

    entrepot archive import monday.archive tuesday.archive.000 tuesday.archive.001
`
}

func (c archiveImportCmd) Run(ctx context.Context, p *process) error {
	opened, err := p.openArchives(c.Files)
	if err != nil {
		return err
	}
	defer closeArchives(opened)
	show := p.newStages()
	defer show.done()
	var done []upstream.Imported
	err = p.serverOrSite(ctx, c.siteFlags, siteOptions{noOwn: true},
		func(a *adminClient) error { return a.take(ctx, false, opened, show.step, &done) },
		func(s *site) (err error) {
			done, err = archives{s}.take(ctx, archives{s}.importOptions(opened, show.archiveStep))
			return err
		})
	if err != nil {
		return fmt.Errorf("importing: %w", archiveError(err))
	}
	show.done()
	return p.print(c.jsonFlag, done, func(w io.Writer) {
		fmt.Fprintln(w, "registry\tlength before\tlength now\tnew packages\tnew records\tnew contents\tbytes")
		for _, d := range done {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", d.Domain, d.From, d.To, d.Packages, d.Records, d.Contents, d.ContentBytes)
		}
	})
}

type archiveVerifyCmd struct {
	siteFlags
	jsonFlag
	Files []string `arg:"" name:"file" help:"Archives, in the order in which they build on each other; or all parts of them, in order."`
}

func (archiveVerifyCmd) Help() string {
	return `Registries in the configuration are verified with their operator_key and compared with
what is held of them. Of others it is shown which key everything hangs on.

Example:

    entrepot archive verify monday.archive
`
}

// verified is what verify prints for each registry.
type verified struct {
	Domain      string     `json:"domain"`
	Length      uint64     `json:"length"`
	SignedAt    time.Time  `json:"signedAt"`
	OperatorKey warg.KeyID `json:"operatorKey"`
	Pinned      bool       `json:"pinned"` // the key is the one that this site believes
}

func (c archiveVerifyCmd) Run(ctx context.Context, p *process) error {
	opened, err := p.openArchives(c.Files)
	if err != nil {
		return err
	}
	defer closeArchives(opened)
	show := p.newStages()
	defer show.done()
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	var done []verified
	if alone, err := standsAlone(conf); err != nil {
		return err
	} else if alone {
		done, err = verifyAlone(ctx, conf, opened, p.now, show.archiveStep)
		if err != nil {
			return fmt.Errorf("verifying: %w", archiveError(err))
		}
	} else {
		err = p.serverOrSite(ctx, c.siteFlags, siteOptions{noOwn: true},
			func(a *adminClient) error { return a.take(ctx, true, opened, show.step, &done) },
			func(s *site) (err error) {
				done, err = verifyArchives(ctx, archives{s}.importOptions(opened, show.archiveStep))
				return err
			})
		if err != nil {
			return fmt.Errorf("verifying: %w", archiveError(err))
		}
	}
	show.done()
	return p.print(c.jsonFlag, done, func(w io.Writer) {
		fmt.Fprintln(w, "registry\tlength\tsigned\toperator key")
		for _, v := range done {
			trust := ""
			if !v.Pinned {
				trust = " (not pinned here)"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s%s\n", v.Domain, v.Length, v.SignedAt.Format(time.RFC3339), v.OperatorKey, trust)
		}
	})
}

// archiveStep shows a step of work on an archive.
func (s *stages) archiveStep(x archive.Step) {
	s.step(proxy.MirrorProgress{Domain: x.Domain, Stage: x.Stage, Done: x.Done, Total: x.Total})
}

func closeArchives(opened []*archive.Archive) {
	for _, a := range slices.Backward(opened) {
		_ = a.Close() // they were only read
	}
}
