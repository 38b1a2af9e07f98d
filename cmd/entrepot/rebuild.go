package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

type rebuildIndexCmd struct {
	siteFlags
	jsonFlag
}

func (rebuildIndexCmd) Help() string {
	return `The index holds nothing that the journal does not have. A start makes it again by
itself when it notices damage; this does it when it does not. The old one is kept
as DATA/authority/index.bad. The server must be stopped.

Example:

    entrepot rebuild-index --config /etc/entrepot/entrepot.toml
`
}

// rebuilt is what rebuild-index prints.
type rebuilt struct {
	Records uint64  `json:"records"`
	Seconds float64 `json:"seconds"`
}

func (c rebuildIndexCmd) Run(ctx context.Context, p *process) error {
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	return p.holding(conf, func() error {
		o := authorityFiles(conf)
		o.Log = newLogger(p.stderr, conf.LogFormat, "error")
		begin := p.now()
		var length uint64
		err := p.recorded(conf, "rebuild-index", "", func() (err error) {
			length, err = p.rebuild(ctx, o)
			return err
		})
		if err != nil {
			return fencedOr(err)
		}
		r := rebuilt{length, p.now().Sub(begin).Seconds()}
		return p.print(c.jsonFlag, r, func(w io.Writer) {
			fmt.Fprintf(w, "made the index of %d records in %s\n", r.Records, p.now().Sub(begin).Round(time.Millisecond))
		})
	})
}
