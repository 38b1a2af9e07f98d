package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
)

type freezeCmd struct {
	siteFlags
	jsonFlag
	Domain string `arg:"" help:"Domain of this registry, to be sure."`
}

func (freezeCmd) Help() string {
	return `There is no way back. What is complete is published, what still waits for content is
rejected, and no checkpoint ever follows: the registry goes on being read, and refuses
to publish with 503. Works through a running server and without one.

Example:

    entrepot freeze registry.example
`
}

// frozen is what freeze prints as JSON.
type frozen struct {
	Domain string `json:"domain"`
	Status string `json:"status"`
}

func (c freezeCmd) Run(ctx context.Context, p *process) error {
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		switch err := ops.Registry.Freeze(ctx, c.Domain); {
		case errors.Is(err, &warg.Error{Kind: warg.KindBadRequest}):
			return exitf(exitUsage, "freezing: %w", err)
		case errors.Is(err, &warg.Error{Kind: warg.KindConflict}):
			return exitf(exitConfig, "freezing: %w", err)
		case err != nil:
			return fmt.Errorf("freezing: %w", err)
		}
		return p.print(c.jsonFlag, frozen{c.Domain, "frozen"}, func(w io.Writer) {
			fmt.Fprintf(w, "%s is frozen for good\n", c.Domain)
		})
	})
}
