package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/entrepot/entrepot/authority/backup"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
)

type restoreCmd struct {
	siteFlags
	jsonFlag
	Dir    string `arg:"" placeholder:"DIR" help:"A backup."`
	Fenced bool   `help:"Required: the restored registry signs nothing until you say that nothing newer was issued."`
}

func (restoreCmd) Help() string {
	return `Checks a backup and copies it to an empty data directory. The registry may have
issued checkpoints after the backup was made, and one that signs another history for
the same lengths is refused by all its clients for ever. So what is restored serves
records and content, and neither signs nor shows its head, until entrepot recover
--from a peer that saw more, or entrepot recover --accept with your word that nobody
did. The operator's key is not in a backup: put it back yourself. Interrupted, the
same command begins anew; until then no server starts there.

Example:

    entrepot restore --config /etc/entrepot/entrepot.toml /mnt/backup/2026-11-26 --fenced
`
}

func (c restoreCmd) Run(ctx context.Context, p *process) (err error) {
	if !c.Fenced {
		return exitf(exitUsage, "restore needs --fenced: whatever was issued after the backup would be signed a second time, and differently; see `entrepot restore --help`")
	}
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	lock, err := holdFolder(conf, p.command, p.now())
	if holder, ok := held(err); ok {
		return exitf(exitTemporary, "data directory %s is in use by %s; stop that first", conf.Data, holder)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	dir := p.path(c.Dir)
	progress := &byteProgress{p: p, what: "copying"}
	progress.bar = p.newBar(-1, progress.what)
	r, err := backup.Restore(ctx, backupSite(conf), dir, func(n int64) { progress.tell(n, -1) })
	progress.bar.done()
	if err != nil {
		return backupError(fmt.Errorf("restoring %s to %s: %w", dir, conf.Data, err), conf.Data)
	}
	if err := p.noteRestored(conf, dir, r); err != nil {
		return err
	}
	if _, err := os.Stat(conf.KeyFile()); err != nil {
		fmt.Fprintf(p.stderr, "the operator's key is not in a backup: put it back at %s\n", conf.KeyFile())
	}
	return p.print(c.jsonFlag, r, func(w io.Writer) {
		fmt.Fprintf(w, "restored %s as it was at %d:%s\n", r.Domain, r.Length, r.LogRoot)
		fmt.Fprintf(w, "it is fenced; if nothing newer was ever issued: entrepot recover --accept %d:%s\n", r.Length, r.LogRoot)
	})
}

// notHalfRestored returns an error if a restore of a data directory did not end. A server
// would begin a new registry there, or open one of which a part is missing.
func notHalfRestored(conf *config.Config) error {
	half, err := backup.IsUnfinished(durable.OS{}, conf.Data)
	if err != nil {
		return fmt.Errorf("looking at the data directory: %w", err)
	}
	if half {
		return exitf(exitConfig, "a restore to %s was interrupted; run `entrepot restore DIR --fenced` again", conf.Data)
	}
	return nil
}

// noteRestored records a restore once it is done: the audit log that it goes on in is part
// of the backup.
func (p *process) noteRestored(conf *config.Config, dir string, r *backup.Result) (err error) {
	log, err := openAudit(conf, p.now, newLogger(p.stderr, conf.LogFormat, "error"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	about := fmt.Sprintf("%s as it was at %d:%s", dir, r.Length, r.LogRoot)
	if err := log.Record(audit.Event{Kind: audit.Done, Call: "restore", About: about}); err != nil {
		return fmt.Errorf("it is restored, but recording that: %w", err)
	}
	return nil
}
