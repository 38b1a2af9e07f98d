package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
)

// siteFlags are part of every command that works on a data directory.
type siteFlags struct {
	configFlag
	Data string `placeholder:"DIR" help:"Data directory, instead of data in the configuration."`
}

// siteConfig loads the configuration of a command that works on a data directory.
func (p *process) siteConfig(flags siteFlags) (*config.Config, error) {
	settings := map[string]string{}
	if flags.Data != "" {
		settings["data"] = flags.Data
	}
	return p.config(flags.Config, settings)
}

// operate does something to a data directory: through the server that holds it, or,
// while none does, on the directory itself.
func (p *process) operate(ctx context.Context, flags siteFlags, do func(proxy.Admin) error) error {
	return p.serverOrSite(ctx, flags, siteOptions{},
		func(a *adminClient) error {
			err := do(proxy.Admin{Namespaces: a, Operators: a, Mirrors: a, Registry: a})
			return orFenced(err, func() string { return a.fenced(ctx) })
		},
		func(s *site) error { return orFenced(do(s.admin()), s.fenced) })
}

// serverOrSite does something with the server that holds a data directory, or, while
// none does, with the directory itself.
func (p *process) serverOrSite(ctx context.Context, flags siteFlags, o siteOptions, remote func(*adminClient) error, local func(*site) error) error {
	conf, err := p.siteConfig(flags)
	if err != nil {
		return err
	}
	address := adminAddress(conf)
	conn, err := dialAdmin(ctx, address)
	if err == nil {
		_ = conn.Close() // it was only to see whether somebody answers
		return remote(newAdminClient(address))
	}
	if !nobodyListens(err) {
		return exitf(exitTemporary, "calling the server at %s: %w", address, err)
	}
	o.log = slog.New(slog.DiscardHandler)
	s, err := p.openSite(ctx, conf, o)
	if holder, ok := held(err); ok {
		return exitf(exitTemporary, "data directory %s is in use by %s, which takes no admin calls at %s; try again when it has started or ended", conf.Data, holder, address)
	}
	if err != nil {
		return err
	}
	return errors.Join(local(s), s.close())
}

// orFenced says, with an error that only means "not now", that it is the fence and
// that an operator has to do something about it.
func orFenced(err error, fenced func() string) error {
	if !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		return err
	}
	if why := fenced(); why != "" {
		return exitf(exitConfig, "%w: %s", err, why)
	}
	return err
}

// nobodyListens reports whether an error of dialling means that no server runs,
// rather than that one does not answer.
func nobodyListens(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
