package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/entrepot/entrepot/proxy"
)

type mirrorCmd struct {
	Sync   mirrorSyncCmd   `cmd:"" help:"Fetch and verify what upstream registries have that is not here."`
	Status mirrorStatusCmd `cmd:"" help:"Show what is held of upstream registries, how fresh it is, and the last error."`
	Reset  mirrorResetCmd  `cmd:"" help:"Set the replica of an upstream registry aside, and begin a new one."`
}

type mirrorSyncCmd struct {
	siteFlags
	jsonFlag
	Domains []string `arg:"" optional:"" name:"domain" help:"Upstreams by their names in the configuration. Default: all."`
}

func (mirrorSyncCmd) Help() string {
	return `Example:

    entrepot mirror sync wasi.example
`
}

func (c mirrorSyncCmd) Run(ctx context.Context, p *process) error {
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		show := p.newStages()
		err := ops.Mirrors.SyncMirrors(ctx, c.Domains, show.step)
		show.done()
		if err != nil {
			return fmt.Errorf("filling mirrors: %w", err)
		}
		return p.printMirrors(ctx, ops, c.jsonFlag, c.Domains)
	})
}

type mirrorStatusCmd struct {
	siteFlags
	jsonFlag
}

func (mirrorStatusCmd) Help() string {
	return `Bytes are of content; pinned are those of them that are never evicted, because the
plan of the mirror asks for them or they were imported from an archive. A full replica
of a peer is that peer's backup: the folder cache/, which may be deleted else, may not.

Example:

    entrepot mirror status
`
}

func (c mirrorStatusCmd) Run(ctx context.Context, p *process) error {
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		return p.printMirrors(ctx, ops, c.jsonFlag, nil)
	})
}

// printMirrors prints the status of the mirrors named, or of all.
func (p *process) printMirrors(ctx context.Context, ops proxy.Admin, j jsonFlag, domains []string) error {
	all, err := ops.Mirrors.MirrorStatus(ctx)
	if err != nil {
		return fmt.Errorf("asking for the status of mirrors: %w", err)
	}
	shown := make([]proxy.MirrorStatus, 0, len(all))
	for _, m := range all {
		if len(domains) == 0 || slices.Contains(domains, m.Domain) {
			shown = append(shown, m)
		}
	}
	return p.print(j, shown, func(w io.Writer) {
		if len(shown) == 0 {
			fmt.Fprintln(w, "no upstream registries are configured")
			return
		}
		fmt.Fprintln(w, "registry\tstate\tverified\tleaves\tpackages\trecords\tcontents\tbytes\tpinned\tlast error")
		for _, m := range shown {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", m.Domain, m.State, ago(p.now(), m.VerifiedAt),
				m.LogLength, m.Packages, m.Records, m.Contents, m.ContentBytes, m.PinnedBytes, m.LastError)
		}
		for _, m := range shown {
			if m.Backup {
				fmt.Fprintf(w, "the replica of %s is the backup of that peer: it is pinned, and %s/ may not be deleted\n", m.Domain, cacheDir)
			}
		}
	})
}

// ago says how long ago something was, to the second.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return "never"
	}
	return now.Sub(then).Truncate(time.Second).String() + " ago"
}

// stages shows the progress of several mirrors one after the other: a bar for each
// stage of each.
type stages struct {
	p       *process
	current string
	bar     bar
	at      int64
}

func (p *process) newStages() *stages { return &stages{p: p} }

func (s *stages) step(m proxy.MirrorProgress) {
	name := m.Domain + ": " + m.Stage
	if name != s.current {
		s.done()
		total := m.Total
		if total == 0 {
			total = -1
		}
		s.current, s.at, s.bar = name, 0, s.p.newCount(total, name)
	}
	s.bar.add(m.Done - s.at)
	s.at = m.Done
}

func (s *stages) done() { s.bar.done() }
