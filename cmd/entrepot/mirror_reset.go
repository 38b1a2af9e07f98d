package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

type mirrorResetCmd struct {
	siteFlags
	jsonFlag
	Domain string `arg:"" help:"Upstream by its name in the configuration."`
	Reason string `required:"" placeholder:"TEXT" help:"Why, for whoever looks at the old replica later."`
}

func (mirrorResetCmd) Help() string {
	return `For a registry that is quarantined, because it signed two statements that cannot
both be true, or whose replica cannot be opened any more. What was believed of it
is kept beside, as DATA/upstreams/DOMAIN.reset-TIME, with the reason in
reset.json; evidence stays where it is. A new replica begins, at once if a server
runs, under the pinned key of the configuration: whatever history the registry then
shows is believed. With trust_first_key alone that includes whatever key it then
shows; set operator_key before (reset.json has the old one).

While a server runs it does this itself: whoever asks for the registry is told 503
until the new history was reached. Records that were adopted stay in our own log.

Example:

    entrepot mirror reset wasi.example --reason "restored from a backup, says their operator"
`
}

// Run needs no open site: a replica that cannot be opened is to be reset as well. So
// it either calls the server that runs, or takes the lock of the data directory.
func (c mirrorResetCmd) Run(ctx context.Context, p *process) error {
	reason := strings.TrimSpace(c.Reason)
	if reason == "" {
		return exitf(exitUsage, "--reason must say something")
	}
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	domains := upstreamDomains(conf)
	if !slices.Contains(domains, c.Domain) {
		return warg.Errorf(warg.KindNotFound, "`%s` is not an upstream here; there are: %s", c.Domain, strings.Join(domains, ", "))
	}
	address, running := adminAddress(conf), true
	var r upstream.Reset
	conn, err := dialAdmin(ctx, address)
	switch {
	case err == nil:
		_ = conn.Close() // it was only to see whether somebody answers
		r, err = c.remote(ctx, newAdminClient(address), reason)
	case nobodyListens(err):
		running = false
		r, err = c.local(p, conf, reason)
	default:
		return exitf(exitTemporary, "calling the server at %s: %w", address, err)
	}
	if err != nil {
		return fmt.Errorf("resetting the mirror of `%s`: %w", c.Domain, err)
	}
	return p.print(c.jsonFlag, r, func(w io.Writer) {
		fmt.Fprintf(w, "the replica of %s, of length %d, is now %s\n", r.Registry, r.Length, r.Directory)
		if running {
			fmt.Fprintln(w, "a new one has begun; entrepot mirror sync fills it now")
		} else {
			fmt.Fprintln(w, "a new one begins when the server starts, or with entrepot mirror sync")
		}
	})
}

func (c mirrorResetCmd) remote(ctx context.Context, a *adminClient, reason string) (r upstream.Reset, err error) {
	text, err := a.ResetMirror(ctx, c.Domain, reason)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// local sets aside what no server holds.
func (c mirrorResetCmd) local(p *process, conf *config.Config, reason string) (r upstream.Reset, err error) {
	lock, err := holdFolder(conf, p.command, p.now())
	if holder, ok := held(err); ok {
		return r, exitf(exitTemporary, "data directory %s is in use by %s, which takes no admin calls; try again when it has started or ended", conf.Data, holder)
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	log := newLogger(p.stderr, conf.LogFormat, "warn")
	record, err := openAudit(conf, p.now, log)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	err = audited(record, mirrorResetCall, c.Domain+": "+reason, func() error {
		r, err = upstream.SetAside(durable.OS{}, filepath.Join(conf.Data, upstreamsDir, c.Domain), c.Domain, reason, p.now())
		return err
	})
	if err == nil {
		noteReset(log, r)
	}
	return r, err
}

// mirrorResetCall is the name under which resets stand in the audit log.
const mirrorResetCall = "mirror reset"

// noteReset logs that an operator decided to believe another history.
func noteReset(log *slog.Logger, r upstream.Reset) {
	class, evidence := "", ""
	if r.Quarantine != nil {
		class, evidence = r.Quarantine.Class, r.Quarantine.Evidence
	}
	log.Warn("upstream was reset", "upstream", r.Registry, "reason", r.Reason,
		"length", r.Length, "class", class, "evidence", evidence, "dir", r.Directory)
}

// upstreamDomains returns the names of the upstreams that are configured, sorted.
func upstreamDomains(conf *config.Config) []string {
	var all []string
	for _, u := range conf.Upstreams {
		all = append(all, u.Domain)
	}
	slices.Sort(all)
	return all
}
