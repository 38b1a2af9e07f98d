package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/check"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

type fsckCmd struct {
	siteFlags
	jsonFlag
	Repair bool `help:"Mend what can be made again: index, temporary files, the history's last line, cached content; move damaged content aside."`
}

func (fsckCmd) Help() string {
	return `Reads every byte of a stopped registry and judges it: each record of the journal,
each signature, both roots at every checkpoint ever issued, content by its digest,
the index and whether anything in it leads nowhere, every checkpoint accepted of
upstreams with its signature, the cache, what evidence proves. Exits with 65 if
anything is damaged. What a crash leaves and the next start mends is listed as
harmless.

--repair touches neither journal nor anchor nor submissions beyond what a start does.
Damaged content is moved to DATA/content/bad and can be uploaded again by its digest.

Example:

    entrepot fsck --config /etc/entrepot/entrepot.toml
`
}

// fsckReport is what fsck prints.
type fsckReport struct {
	*check.Report
	Site     siteReport `json:"site"`
	Repaired []string   `json:"repaired"`
}

func (c fsckCmd) Run(ctx context.Context, p *process) error {
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	return p.holding(conf, func() error { return c.run(ctx, p, conf) })
}

// holding does something to a data directory that no server holds.
func (p *process) holding(conf *config.Config, do func() error) (err error) {
	exists, err := hasAuthority(conf)
	if err != nil {
		return fmt.Errorf("looking for a registry: %w", err)
	}
	if !exists {
		return exitf(exitConfig, "there is no registry in %s; say where with --config or --data", conf.Data)
	}
	lock, err := holdFolder(conf, p.command, p.now())
	if holder, ok := held(err); ok {
		return exitf(exitTemporary, "data directory %s is in use by %s; stop that first", conf.Data, holder)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := notHalfRestored(conf); err != nil {
		return err
	}
	return do()
}

func (c fsckCmd) run(ctx context.Context, p *process, conf *config.Config) error {
	report, err := p.check(ctx, conf)
	if err != nil {
		return err
	}
	if c.Repair {
		var done []string
		err := p.recorded(conf, "fsck --repair", report.summary(), func() (err error) {
			done, err = p.repair(ctx, conf, report)
			return err
		})
		if err != nil {
			return err
		}
		if len(done) > 0 {
			if report, err = p.check(ctx, conf); err != nil {
				return err
			}
		}
		report.Repaired = append(report.Repaired, done...)
	}
	if err := p.print(c.jsonFlag, report, report.show); err != nil {
		return err
	}
	first, count := report.damage()
	if count == 0 {
		return nil
	}
	more := ""
	if count > 1 {
		more = fmt.Sprintf(" (and %d more)", count-1)
	}
	return exitf(exitVerification, "%s is damaged: %s%s; docs/operating.md, \"Damage\", says what to do", conf.Data, first, more)
}

// check reads everything.
func (p *process) check(ctx context.Context, conf *config.Config) (*fsckReport, error) {
	o := authorityFiles(conf)
	progress := &byteProgress{p: p, what: "checking"}
	progress.bar = p.newBar(-1, progress.what)
	report, err := check.Run(ctx, check.Options{
		FS: durable.OS{}, Dir: o.Dir, ContentDir: o.ContentDir, AnchorFile: o.AnchorFile,
		Index: index.Badger(filepath.Join(o.Dir, authority.IndexDir), slog.New(slog.DiscardHandler)),
		Adopt: adoptions(conf), Progress: progress.tell,
	})
	progress.bar.done()
	if err != nil {
		return nil, err
	}
	if report.Findings == nil {
		report.Findings = []check.Finding{}
	}
	rest, err := checkSite(ctx, conf)
	return &fsckReport{Report: report, Site: rest, Repaired: []string{}}, err
}

// adoptions returns the namespaces that are configured as adopted, with their upstreams.
func adoptions(conf *config.Config) map[string]string {
	all := map[string]string{}
	for _, u := range conf.Upstreams {
		for _, ns := range adoptedFrom(u) {
			all[ns] = u.Domain
		}
	}
	return all
}

// authorityFiles says where the registry of a configuration has its files.
func authorityFiles(conf *config.Config) authority.Options {
	o := authority.Options{
		Dir: filepath.Join(conf.Data, authorityDir), ContentDir: filepath.Join(conf.Data, contentDir),
		AnchorFile: conf.Authority.AnchorFile, FS: durable.OS{},
	}
	if o.AnchorFile == "" {
		o.AnchorFile = filepath.Join(o.Dir, authority.AnchorFile)
	}
	return o
}

// repair mends what can be made again, and says what it did.
func (p *process) repair(ctx context.Context, conf *config.Config, r *fsckReport) (done []string, err error) {
	o := authorityFiles(conf)
	o.Log = newLogger(p.stderr, conf.LogFormat, "error")
	if r.Has(check.Anchor) {
		return nil, nil // nobody knows what is to be believed
	}
	var damaged []warg.Digest
	for _, f := range r.Damage() {
		if f.Class == check.Content {
			damaged = append(damaged, f.Digest)
		}
	}
	moved, err := authority.Mend(o, damaged)
	if err != nil {
		return nil, err
	}
	for _, file := range moved {
		done = append(done, "moved damaged content to "+file)
	}
	for _, f := range r.Findings {
		if f.Harmless && (f.Class == check.History || f.Class == check.Journal) {
			done = append(done, "settled "+f.File)
		}
	}
	if r.Has(check.Index) && !r.Has(check.Journal) && !r.Has(check.History) && !r.Has(check.Roots) {
		if _, err := p.rebuild(ctx, o); err != nil {
			return done, err
		}
		done = append(done, "made the index again")
	}
	more, err := repairSite(conf, r.Site)
	return append(done, more...), err
}

// rebuild makes the index again, with progress.
func (p *process) rebuild(ctx context.Context, o authority.Options) (uint64, error) {
	var bar bar
	at := uint64(0)
	length, err := authority.RebuildIndex(ctx, o, func(done, total uint64) {
		if bar.p == nil && done == 0 {
			bar = p.newCount(int64(total), "making the index")
		}
		bar.add(int64(done - at))
		at = done
	})
	bar.done()
	return length, err
}

// damage returns the first damage as a sentence, and how much there is.
func (r *fsckReport) damage() (first string, count int) {
	for _, f := range r.Damage() {
		if count++; count == 1 {
			first = f.Error()
		}
	}
	for _, f := range r.Site.Findings {
		if count++; count == 1 {
			first = f.Error()
		}
	}
	return first, count
}

// summary says in a few words what was found, before anything is mended.
func (r *fsckReport) summary() string {
	switch first, count := r.damage(); count {
	case 0:
		return "nothing damaged"
	case 1:
		return first
	default:
		return fmt.Sprintf("%s (and %d more)", first, count-1)
	}
}

func (r *fsckReport) show(w io.Writer) {
	fmt.Fprintf(w, "registry\t%s, length %d\n", r.Domain, r.Length)
	fmt.Fprintf(w, "newest\t%d:%s\n", r.Length, r.LogRoot)
	fmt.Fprintf(w, "journal\t%d records in %d segments, of %d packages\n", r.Records, r.Segments, r.Logs)
	fmt.Fprintf(w, "checkpoints\t%d recomputed and verified\n", r.Checkpoints)
	fmt.Fprintf(w, "submissions\t%d\n", r.Pending)
	fmt.Fprintf(w, "content\t%d files hashed, %d missing\n", r.Contents, r.Missing)
	r.Site.show(w)
	for _, done := range r.Repaired {
		fmt.Fprintf(w, "repaired\t%s\n", done)
	}
	for _, f := range r.Findings {
		word := "damaged"
		if f.Harmless {
			word = "harmless"
		}
		fmt.Fprintf(w, "%s\t%v\n", word, f)
	}
	for _, f := range r.Site.Findings {
		fmt.Fprintf(w, "damaged\t%v\n", f)
	}
}
