package main

import (
	"context"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

type namespaceCmd struct {
	Define namespaceDefineCmd `cmd:"" help:"Define a namespace here."`
	Import namespaceImportCmd `cmd:"" help:"Say that a namespace belongs to another registry."`
	List   namespaceListCmd   `cmd:"" help:"Show the namespaces of the operator log."`
}

// namespaceArg is a namespace that is judged before anything is asked.
type namespaceArg struct {
	Namespace string `arg:"" help:"Namespace: lower-case words joined by single hyphens."`
}

func (n namespaceArg) check() error {
	if !warg.ValidNamespace(n.Namespace) {
		return exitf(exitUsage, "`%s` is not a namespace; lower-case words joined by single hyphens are", n.Namespace)
	}
	return nil
}

type namespaceDefineCmd struct {
	siteFlags
	jsonFlag
	namespaceArg
}

func (namespaceDefineCmd) Help() string {
	return `Appends to the operator log, for good: a namespace cannot be taken back.

Example:

    entrepot namespace define acme
`
}

func (c namespaceDefineCmd) Run(ctx context.Context, p *process) error {
	if err := c.check(); err != nil {
		return err
	}
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		if err := ops.Namespaces.DefineNamespace(ctx, c.Namespace); err != nil {
			return fmt.Errorf("defining namespace `%s`: %w", c.Namespace, err)
		}
		return p.print(c.jsonFlag, proxy.Namespace{Name: c.Namespace}, func(w io.Writer) {
			fmt.Fprintf(w, "namespace `%s` is defined\n", c.Namespace)
		})
	})
}

type namespaceImportCmd struct {
	siteFlags
	jsonFlag
	namespaceArg
	Domain string `arg:"" help:"Registry that the namespace belongs to."`
}

func (namespaceImportCmd) Help() string {
	return `Appends to the operator log, for good. Publishing to the namespace here is then
refused with the name of that registry.

Example:

    entrepot namespace import wasi wasi.example
`
}

func (c namespaceImportCmd) Run(ctx context.Context, p *process) error {
	if err := c.check(); err != nil {
		return err
	}
	if _, err := api.ParseDomain(c.Domain); err != nil {
		return exitf(exitUsage, "%w", err)
	}
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		if err := ops.Namespaces.ImportNamespace(ctx, c.Namespace, c.Domain); err != nil {
			return fmt.Errorf("importing namespace `%s`: %w", c.Namespace, err)
		}
		return p.print(c.jsonFlag, proxy.Namespace{Name: c.Namespace, Registry: c.Domain}, func(w io.Writer) {
			fmt.Fprintf(w, "namespace `%s` belongs to `%s`\n", c.Namespace, c.Domain)
		})
	})
}

type namespaceListCmd struct {
	siteFlags
	jsonFlag
}

func (namespaceListCmd) Help() string {
	return "Example:\n\n    entrepot namespace list --json\n"
}

func (c namespaceListCmd) Run(ctx context.Context, p *process) error {
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		all, err := ops.Namespaces.Namespaces(ctx)
		if err != nil {
			return fmt.Errorf("listing namespaces: %w", err)
		}
		return p.print(c.jsonFlag, all, func(w io.Writer) {
			for _, n := range all {
				if n.Registry == "" {
					fmt.Fprintf(w, "%s\tdefined\n", n.Name)
				} else {
					fmt.Fprintf(w, "%s\timported from %s\n", n.Name, n.Registry)
				}
			}
		})
	})
}
