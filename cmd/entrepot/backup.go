package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/backup"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
)

type backupCmd struct {
	siteFlags
	jsonFlag
	Dir string `arg:"" placeholder:"DIR" help:"Where to; it must be empty or not exist yet."`
}

func (backupCmd) Help() string {
	return `Copies the registry, also while a server uses it, and what is remembered of
upstreams, with a list of digests that sha256sum --check reads; then reads all of it
back as fsck does. Not in it: the operator's key (keep a copy of that in another
place), the index and the cache, which are made again.

Example:

    entrepot backup --config /etc/entrepot/entrepot.toml /mnt/backup/2026-11-26
`
}

func (c backupCmd) Run(ctx context.Context, p *process) error {
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	exists, err := hasAuthority(conf)
	if err != nil {
		return fmt.Errorf("looking for a registry: %w", err)
	}
	if !exists {
		return exitf(exitConfig, "there is no registry in %s; say where with --config or --data", conf.Data)
	}
	dir := p.path(c.Dir)
	if within(conf.Data, dir) {
		return exitf(exitUsage, "%s is in the data directory; a backup belongs on another disk", dir)
	}
	progress := &byteProgress{p: p, what: "copying"}
	progress.bar = p.newBar(-1, progress.what)
	r, err := backup.Write(ctx, backupSite(conf), dir, func(n int64) { progress.tell(n, -1) })
	progress.bar.done()
	if err != nil {
		return backupError(fmt.Errorf("backing up %s: %w", conf.Data, err), dir)
	}
	if r.Missing > 0 {
		fmt.Fprintf(p.stderr, "content of %d releases is missing here, and so in the backup; upload it again by its digest\n", r.Missing)
	}
	return p.print(c.jsonFlag, r, func(w io.Writer) {
		fmt.Fprintf(w, "backed up %s up to %d:%s\n", r.Domain, r.Length, r.LogRoot)
		fmt.Fprintf(w, "%d files, %d bytes in %s, read back; without the operator's key\n", r.Files, r.Bytes, dir)
	})
}

// within reports whether a path is below a folder, or the folder itself.
func within(folder, path string) bool {
	a, err := filepath.Abs(folder)
	if err != nil {
		return false
	}
	b, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(a, b)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// backupSite says what a backup takes.
func backupSite(conf *config.Config) backup.Site {
	o := authorityFiles(conf)
	return backup.Site{
		FS: durable.OS{}, Dir: o.Dir, ContentDir: o.ContentDir, AnchorFile: o.AnchorFile, Data: conf.Data,
		Others: []string{upstreamsDir, evidenceDir, capabilityFile, uploadsFile}, Audit: auditFile,
	}
}

// backupError gives an error of a backup its exit code, and says what to do.
func backupError(err error, dir string) error {
	var damage *backup.DamageError
	var inUse *backup.InUseError
	switch {
	case errors.As(err, &damage):
		return exitf(exitVerification, "%w; `entrepot fsck` says more", err)
	case errors.As(err, &inUse):
		return exitf(exitFailed, "%w; restore to an empty data directory", err)
	case errors.Is(err, backup.ErrNotEmpty):
		return exitf(exitFailed, "%w: %s; name a new one", err, dir)
	}
	return err
}

// fencedOr gives an error that says that a registry is not as it should be its exit code.
func fencedOr(err error) error {
	var refused *authority.RefusedError
	if errors.As(err, &refused) {
		return exitf(exitConfig, "%w", err)
	}
	return err
}
