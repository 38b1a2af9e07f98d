package main

import (
	"context"
	"fmt"
	"io"
)

type packagesCmd struct {
	registryFlags
	jsonFlag
}

func (packagesCmd) Help() string {
	return `The names are checked against the registry's ledger, and the ledger against its
signed checkpoint: none is made up, and none is left out unnoticed.

Example:

    entrepot packages --registry https://pkg.example.com --on-behalf wasi.example
`
}

// packageList is what packages prints.
type packageList struct {
	Registry string   `json:"registry"`
	Packages []string `json:"packages"`
	Nameless int      `json:"nameless"` // logs whose name the registry does not tell
}

func (c packagesCmd) Run(ctx context.Context, p *process) error {
	s, err := p.openSession(c.registryFlags)
	if err != nil {
		return err
	}
	defer s.close()
	names, nameless, err := s.List(ctx)
	if err != nil {
		return fmt.Errorf("listing packages of %s: %w", s.Domain(), err)
	}
	result := packageList{Registry: s.Domain(), Packages: make([]string, 0, len(names)), Nameless: nameless}
	for _, n := range names {
		result.Packages = append(result.Packages, n.String())
	}
	return p.print(c.jsonFlag, result, func(w io.Writer) {
		for _, n := range result.Packages {
			fmt.Fprintln(w, n)
		}
		if nameless > 0 {
			fmt.Fprintf(w, "and %d whose names the registry does not tell\n", nameless)
		}
	})
}
