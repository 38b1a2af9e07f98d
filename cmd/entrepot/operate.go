package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
)

// siteFlags are part of every command that works on a data directory.
type siteFlags struct {
	configFlag
	Data string `placeholder:"DIR" help:"Data directory, instead of data in the configuration."`
}

// operate does something to a data directory: through the server that holds it, or,
// while none does, on the directory itself.
func (p *process) operate(ctx context.Context, flags siteFlags, do func(proxy.Admin) error) error {
	settings := map[string]string{}
	if flags.Data != "" {
		settings["data"] = flags.Data
	}
	conf, err := p.config(flags.Config, settings)
	if err != nil {
		return err
	}
	address := adminAddress(conf)
	conn, err := dialAdmin(ctx, address)
	if err == nil {
		_ = conn.Close() // it was only to see whether somebody answers
		a := newAdminClient(address)
		err := do(proxy.Admin{Namespaces: a, Operators: a, Mirrors: a})
		return orFenced(err, func() string { return a.fenced(ctx) })
	}
	if !nobodyListens(err) {
		return exitf(exitTemporary, "calling the server at %s: %w", address, err)
	}
	s, err := p.openSite(ctx, conf, siteOptions{log: slog.New(slog.DiscardHandler)})
	if holder, ok := held(err); ok {
		return exitf(exitTemporary, "data directory %s is in use by %s, which takes no admin calls at %s; try again when it has started or ended", conf.Data, holder, address)
	}
	if err != nil {
		return err
	}
	return errors.Join(orFenced(do(s.admin()), s.fenced), s.close())
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
