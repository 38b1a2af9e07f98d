package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/internal/durable"
)

// InUseError says that there is something where a backup is to be restored.
type InUseError struct{ File string }

// Error names a file.
func (e *InUseError) Error() string {
	return fmt.Sprintf("there is a registry already: %s", e.File)
}

// Restore copies a backup to where a site has its files, of which none may exist yet. It
// always leaves a registry that opens fenced: its anchor is of no directory at all, until
// an operator or a peer has said that nothing newer was ever issued.
//
// Interrupted, it leaves a note, [Unfinished], and the next call begins anew.
//
// An anchor that survived elsewhere is kept if it is of the same registry and knows more:
// it is what keeps the registry from signing twice.
func Restore(ctx context.Context, s Site, dir string, tell func(bytes int64)) (*Result, error) {
	report, err := Verify(ctx, s.FS, dir, nil)
	if err != nil {
		return nil, err
	}
	if err := clearUnfinished(s); err != nil {
		return nil, err
	}
	held, err := freeFor(s)
	if err != nil {
		return nil, err
	}
	items, err := readList(s.FS, dir)
	if err != nil {
		return nil, err
	}
	if err := begin(s, items); err != nil {
		return nil, err
	}
	next, _, err := anchor.Read(s.FS, filepath.Join(dir, ownDir, authority.AnchorFile))
	if err != nil {
		return nil, err
	}
	if next, err = newer(next, held, s.AnchorFile); err != nil {
		return nil, err
	}
	c := newCopier(s.FS, s.Data, tell)
	anchorName := ownDir + "/" + authority.AnchorFile
	for _, it := range items {
		if it.name == anchorName {
			continue
		}
		if err := errors.Join(ctx.Err(), c.restore(dir, it)); err != nil {
			return nil, err
		}
	}
	if err := c.settle(); err != nil {
		return nil, err
	}
	// An inode 0 does not exist, so this is the anchor of no directory.
	next.Directory = durable.Identity{}
	if err := c.folder(filepath.Dir(s.AnchorFile)); err != nil {
		return nil, err
	}
	f := anchor.NewFile(s.FS, s.AnchorFile, "entrepot restore")
	if held != nil {
		if _, err := f.Load(); err != nil {
			return nil, err
		}
	}
	if err := f.Swap(next, nil); err != nil {
		return nil, err
	}
	if err := end(s); err != nil {
		return nil, err
	}
	return &Result{
		Directory: s.Data, Domain: report.Domain, Length: report.Length, LogRoot: report.LogRoot,
		Files: len(items), Bytes: c.bytes, Missing: report.Missing, Report: report,
	}, nil
}

// restore copies one file and compares it with the list.
func (c *copier) restore(dir string, it item) error {
	n := len(c.items)
	if ok, err := c.file(filepath.Join(dir, filepath.FromSlash(it.name)), it.name); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("copying %s", it.name))
	}
	if c.items[n].sum != it.sum {
		return &DamageError{filepath.Join(dir, it.name), "it changed while it was copied"}
	}
	return nil
}

// freeFor returns an error if there are files of a registry, and the anchor that stands
// in a place of its own.
func freeFor(s Site) (*anchor.Anchor, error) {
	names := append([]string{ownDir, contentDir, s.Audit}, s.Others...)
	for _, name := range names {
		if name == "" {
			continue
		}
		file, err := anyFile(s.FS, filepath.Join(s.Data, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		if file != "" {
			return nil, &InUseError{file}
		}
	}
	a, raw, err := anchor.Read(s.FS, s.AnchorFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil && raw == nil:
		return nil, err
	case err != nil:
		return nil, &DamageError{s.AnchorFile, err.Error() + "; move it aside if it is lost for good"}
	}
	return &a, nil
}

// anyFile returns the name of a file below a path, or "" if there is none. Locks do not
// count.
func anyFile(fsys durable.FS, name string) (string, error) {
	fi, err := fsys.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case !fi.IsDir():
		base := filepath.Base(name)
		if base == authority.LockFile || strings.HasSuffix(base, ".lock") {
			return "", nil
		}
		return name, nil
	}
	entries, err := fsys.ReadDir(name)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if file, err := anyFile(fsys, filepath.Join(name, e.Name())); file != "" || err != nil {
			return file, err
		}
	}
	return "", nil
}

// newer returns the one of two anchors that knows more: what was issued after the backup
// must not be forgotten.
func newer(saved anchor.Anchor, held *anchor.Anchor, file string) (anchor.Anchor, error) {
	if held == nil {
		return saved, nil
	}
	if held.Registry != saved.Registry {
		return saved, &InUseError{file + ", the anchor of another registry, " + held.Domain}
	}
	a, b := saved.Signed.Unverified(), held.Signed.Unverified()
	switch {
	case bytes.Equal(saved.Encode(), held.Encode()), a.LogLength < b.LogLength, a.LogLength == b.LogLength && a.Timestamp <= b.Timestamp:
		return *held, nil
	}
	saved.Frozen = saved.Frozen || held.Frozen
	return saved, nil
}
