package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
)

// acceptClock opens the fence of a clock that jumped ahead.
func (c recoverCmd) acceptClock(ctx context.Context, p *process) error {
	if c.From != "" || c.Accept != "" {
		return exitf(exitUsage, "--accept-clock goes alone")
	}
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		switch err := ops.Registry.AcceptClock(ctx); {
		case errors.Is(err, &warg.Error{Kind: warg.KindConflict}):
			return exitf(exitConfig, "accepting the clock: %w", err)
		case err != nil:
			return fmt.Errorf("accepting the clock: %w", err)
		}
		return p.print(c.jsonFlag, struct {
			Status string `json:"status"`
		}{"accepted"}, func(w io.Writer) { fmt.Fprintln(w, "the clock is accepted") })
	})
}
