package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/authority/check"
	"github.com/entrepot/entrepot/internal/durable"
)

// Verify reads a backup: that it has the files of its list and no others, with their
// digests, and that they are a registry, see [check.Run]. Content that was missing when
// the backup was made is no damage of it.
func Verify(ctx context.Context, fsys durable.FS, dir string, tell func(done, total int64)) (*check.Report, error) {
	if _, err := verifyList(ctx, fsys, dir); err != nil {
		return nil, err
	}
	report, err := check.Run(ctx, check.Options{
		FS: fsys, Dir: filepath.Join(dir, ownDir), ContentDir: filepath.Join(dir, contentDir), Progress: tell,
	})
	if err != nil {
		return nil, err
	}
	for _, f := range report.Damage() {
		if f.Class != check.Content {
			return report, &DamageError{f.File, fmt.Sprintf("%s, byte %d: %s", f.Class, f.Offset, f.Reason)}
		}
	}
	return report, nil
}

func verifyList(ctx context.Context, fsys durable.FS, dir string) ([]item, error) {
	items, err := readList(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{dir, "there is no " + ListFile + ": it is no backup, or one that was interrupted"}
	}
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{ListFile: true}
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		listed[it.name] = true
		name := filepath.Join(dir, filepath.FromSlash(it.name))
		sum, _, err := hashOf(fsys, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &DamageError{name, "it is missing"}
		case err != nil:
			return nil, err
		case sum != it.sum:
			return nil, &DamageError{name, fmt.Sprintf("it has digest %s, not %s", sum, it.sum)}
		}
	}
	return items, noOthers(fsys, dir, "", listed)
}

// noOthers fails if there is a file that is not on the list.
func noOthers(fsys durable.FS, dir, below string, listed map[string]bool) error {
	entries, err := fsys.ReadDir(filepath.Join(dir, filepath.FromSlash(below)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if below != "" {
			name = below + "/" + name
		}
		switch {
		case e.IsDir():
			err = noOthers(fsys, dir, name, listed)
		case !listed[name]:
			err = &DamageError{filepath.Join(dir, filepath.FromSlash(name)), "it is not on the list"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
