package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/check"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
)

type doctorCmd struct {
	siteFlags
	jsonFlag
	Quick bool `help:"Only what a start looks at, and fail only if there would be none; for service managers, before the server."`
}

func (doctorCmd) Help() string {
	return `Looks at a data directory, also while a server uses it, and says of each thing whether
it is well and what to do if not. Exits with 65 on damage, and with 78 if the registry
would be fenced or would not start. entrepot fsck reads everything; this reads what a
start reads. It changes nothing, but tries out what the file system can do, in a folder
of its own that it removes again.

With --quick the exit code says only whether a server would start: 78 if not. A
registry that would be fenced, damaged files included, is said to be so, and starts:
what it still serves is more than nothing.

Example:

    entrepot doctor --config /etc/entrepot/entrepot.toml
`
}

// What doctor thinks of a thing.
const (
	stateOK      = "ok"
	stateWarn    = "warn"
	stateBad     = "bad"     // damaged
	stateFenced  = "fenced"  // it would start, and not sign
	stateRefused = "refused" // it would not start
)

// symptom is one thing that was looked at.
type symptom struct {
	Check string `json:"check"`
	State string `json:"state"`
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"`
}

// doctor gathers symptoms.
type doctor struct {
	p    *process
	conf *config.Config
	o    authority.Options
	all  []symptom
}

func (d *doctor) say(check, state, do, format string, args ...any) {
	d.all = append(d.all, symptom{check, state, fmt.Sprintf(format, args...), do})
}

func (c doctorCmd) Run(ctx context.Context, p *process) error {
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	d := &doctor{p: p, conf: conf, o: authorityFiles(conf)}
	if err := d.look(ctx, c.Quick); err != nil {
		return err
	}
	err = p.print(c.jsonFlag, struct {
		Checks []symptom `json:"checks"`
	}{d.all}, func(w io.Writer) {
		for _, s := range d.all {
			fmt.Fprintf(w, "%s\t%s\t%s\n", s.State, s.Check, strings.TrimSuffix(s.Text+"; "+s.Do, "; "))
		}
	})
	if err != nil {
		return err
	}
	return d.verdict(c.Quick)
}

// verdict is the error for the worst that was found; quick, if that keeps a server from
// starting.
func (d *doctor) verdict(quick bool) error {
	for _, worst := range []struct {
		state string
		code  int
		start bool // a server starts all the same
	}{{stateBad, exitVerification, true}, {stateRefused, exitConfig, false}, {stateFenced, exitConfig, true}} {
		if quick && worst.start {
			continue
		}
		for _, s := range d.all {
			if s.State == worst.state {
				return exitf(worst.code, "%s: %s; %s", s.Check, s.Text, s.Do)
			}
		}
	}
	return nil
}

func (d *doctor) look(ctx context.Context, quick bool) error {
	d.secrets()
	d.fileSystems()
	d.descriptors()
	d.kernelClock()
	d.server(ctx)
	if err := notHalfRestored(d.conf); err != nil {
		d.say("restore", stateRefused, "restore again, or empty the data directory", "%v", err)
		return nil
	}
	exists, err := hasAuthority(d.conf)
	if err != nil {
		return err
	}
	if !exists {
		d.absent()
		return nil
	}
	if err := d.registry(ctx); err != nil {
		return err
	}
	d.opening()
	if quick {
		return nil
	}
	return d.rest()
}

// secrets looks at what nobody else should read.
func (d *doctor) secrets() {
	for _, file := range d.secretFiles() {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := d.p.checkSecret(file, groupAndOthers); err != nil {
			d.say("secrets", stateRefused, "chmod 600 "+file, "%v", err)
			continue
		}
		d.say("secrets", stateOK, "", "%s is ours alone", file)
	}
}

// server looks whether one answers. A lock is not tried: that could keep one from
// starting.
func (d *doctor) server(ctx context.Context) {
	holder, _ := os.ReadFile(filepath.Join(d.conf.Data, runFolder, holderFile))
	conn, err := dialAdmin(ctx, adminAddress(d.conf))
	if err != nil {
		d.say("server", stateOK, "", "none answers")
		return
	}
	_ = conn.Close() // it was only to see whether somebody answers
	d.say("server", stateOK, "", "in use by %s", strings.TrimSpace(string(holder)))
}

// absent judges a directory without a registry.
func (d *doctor) absent() {
	stamp, ok, err := anchor.ReadStamp(durable.OS{}, d.conf.KeyFile())
	if err != nil || ok {
		d.say("registry", stateRefused, "mount the data, or restore a backup", "data missing or not mounted: the key signs for registry %s, and %s is empty", stamp.Domain, d.conf.Data)
		return
	}
	d.say("registry", stateOK, "", "there is none yet; the first start makes one")
}

// registry reads what a start reads.
func (d *doctor) registry(ctx context.Context) error {
	a, findings, err := check.Quick(ctx, check.Options{
		FS: durable.OS{}, Dir: d.o.Dir, ContentDir: d.o.ContentDir, AnchorFile: d.o.AnchorFile,
	})
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Harmless {
			d.say(string(f.Class), stateWarn, "nothing: the next start mends it", "%v", f)
		} else {
			d.say(string(f.Class), stateBad, "run entrepot fsck; docs/operating.md, \"Damage\"", "%v", f)
		}
	}
	if len(findings) == 0 {
		d.say("journal", stateOK, "", "it leads to the anchor at length %d", a.Length())
	}
	if !a.Registry.IsZero() {
		d.anchor(a)
	}
	return nil
}

// anchor compares the anchor with what is around it.
func (d *doctor) anchor(a anchor.Anchor) {
	const recover = "run entrepot recover, see docs/operating.md, \"When the registry is fenced\""
	if a.Domain != d.conf.Authority.Domain {
		d.say("domain", stateRefused, "set [authority] domain", "the registry is %s, not %s as configured", a.Domain, d.conf.Authority.Domain)
	}
	stamp, ok, err := anchor.ReadStamp(durable.OS{}, d.conf.KeyFile())
	switch {
	case err != nil:
		d.say("stamp", stateWarn, "look at "+anchor.StampPath(d.conf.KeyFile()), "%v", err)
	case ok && stamp.Registry != a.Registry.Hex():
		d.say("stamp", stateRefused, "use the key of this registry", "the key signs for another registry (%s)", stamp.Domain)
	case !ok:
		d.say("stamp", stateWarn, "nothing: a start writes it", "there is none beside the key")
	default:
		d.say("stamp", stateOK, "", "key and data belong together")
	}
	id, err := durable.OS{}.Identity(d.o.Dir)
	if err != nil || !id.Same(a.Directory) {
		d.say("directory", stateFenced, recover, "%s was copied, moved or restored", d.o.Dir)
	} else {
		d.say("directory", stateOK, "", "it is the one that the anchor was written for")
	}
	if a.Frozen {
		d.say("frozen", stateFenced, "nothing: there is no way back", "the registry was frozen at length %d", a.Length())
	}
	d.clock(a)
}

// clock compares the clock with the last checkpoint.
func (d *doctor) clock(a anchor.Anchor) {
	const behind, ahead = 5 * time.Minute, 365 * 24 * time.Hour
	if a.IsGenesis() {
		return
	}
	late := d.p.now().Sub(time.Unix(int64(a.Time()), 0)).Round(time.Second)
	switch {
	case late < -behind:
		d.say("clock", stateFenced, "set the clock", "it is %s behind the last checkpoint", -late)
	case late > ahead:
		d.say("clock", stateFenced, "set the clock, or run entrepot recover --accept-clock", "it is %s ahead of the last checkpoint", late)
	default:
		d.say("clock", stateOK, "", "the last checkpoint is %s old", late)
	}
}

// opening looks at the counter of openings of the index that did not end.
func (d *doctor) opening() {
	text, err := os.ReadFile(filepath.Join(d.o.Dir, authority.OpeningFile))
	if errors.Is(err, fs.ErrNotExist) {
		d.say("index", stateOK, "", "it was opened, and that ended")
		return
	}
	d.say("index", stateWarn, "nothing: at two the next start makes it again", "%s openings did not end", strings.TrimSpace(string(text)))
}

// rest looks at what a start of our own registry does not need.
func (d *doctor) rest() error {
	var r siteReport
	if err := errors.Join(r.upstreams(d.conf), r.evidence(d.conf), r.auditLog(d.conf)); err != nil {
		return err
	}
	for _, f := range r.Findings {
		d.say(f.Class, stateBad, "docs/operating.md, \"Damage\"", "%v", f)
	}
	if len(r.Findings) == 0 {
		d.say("site", stateOK, "", "%d upstreams, %d files of evidence, %d lines of audit log", r.Upstreams, r.Evidence, r.AuditLines)
	}
	return nil
}
