package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
reset.json; evidence stays where it is. At the next start a new replica begins,
under the pinned key of the configuration: whatever history the registry then
shows is believed. With trust_first_key alone that includes whatever key it then
shows; set operator_key before (reset.json has the old one).

Stop the server first: while one holds the data directory, this fails with 75.

Example:

    entrepot mirror reset wasi.example --reason "restored from a backup, says their operator"
`
}

// Run needs no open site: a replica that cannot be opened is to be reset as well. A
// replica in use cannot be exchanged, so the lock of the data directory is taken.
func (c mirrorResetCmd) Run(_ context.Context, p *process) (err error) {
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
	lock, err := holdFolder(conf, p.command, p.now())
	if holder, ok := held(err); ok {
		return exitf(exitTemporary, "data directory %s is in use by %s: stop it first, then reset the mirror", conf.Data, holder)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	log, err := openAudit(conf, p.now, newLogger(p.stderr, conf.LogFormat, "warn"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var r upstream.Reset
	err = audited(log, "mirror reset", c.Domain+": "+reason, func() error {
		r, err = upstream.SetAside(durable.OS{}, filepath.Join(conf.Data, upstreamsDir, c.Domain), c.Domain, reason, p.now())
		return err
	})
	if err != nil {
		return err
	}
	auditReset(p, conf, r)
	return p.print(c.jsonFlag, r, func(w io.Writer) {
		fmt.Fprintf(w, "the replica of %s, of length %d, is now %s\n", r.Registry, r.Length, r.Directory)
		fmt.Fprintln(w, "a new one begins when the server starts, or with entrepot mirror sync")
	})
}

// auditReset logs that an operator decided to believe another history.
func auditReset(p *process, conf *config.Config, r upstream.Reset) {
	class, evidence := "", ""
	if r.Quarantine != nil {
		class, evidence = r.Quarantine.Class, r.Quarantine.Evidence
	}
	newLogger(p.stderr, conf.LogFormat, "warn").Warn("upstream was reset", "upstream", r.Registry, "reason", r.Reason,
		"length", r.Length, "class", class, "evidence", evidence, "kept", r.Directory)
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
