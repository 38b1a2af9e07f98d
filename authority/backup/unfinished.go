package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
)

// Unfinished is the name of a file in a data directory for as long as a restore is under
// way: what stands there is neither nothing nor a registry. It lists the files that are
// being restored, none of which was there before. The next restore takes them away again
// and begins anew; nobody else may use the directory.
const Unfinished = "restore.unfinished"

// maxUnfinished bounds that file, in bytes: a million contents and more.
const maxUnfinished = 128 << 20

// IsUnfinished reports whether a data directory holds a restore that did not end.
func IsUnfinished(fsys durable.FS, data string) (bool, error) {
	return durable.Exists(fsys, filepath.Join(data, Unfinished))
}

// begin notes what is about to be restored.
func begin(s Site, items []item) error {
	var names strings.Builder
	for _, it := range items {
		fmt.Fprintln(&names, it.name)
	}
	if err := durable.MkdirAll(s.FS, s.Data); err != nil {
		return err
	}
	return durable.Replace(s.FS, filepath.Join(s.Data, Unfinished), []byte(names.String()), nil)
}

// end says that everything is restored.
func end(s Site) error {
	if err := s.FS.Remove(filepath.Join(s.Data, Unfinished)); err != nil {
		return err
	}
	return s.FS.SyncDir(s.Data)
}

// clearUnfinished takes away what a restore has left that did not end. The note of it
// stays, so that this can be interrupted as well.
func clearUnfinished(s Site) error {
	names, err := durable.ReadFile(s.FS, filepath.Join(s.Data, Unfinished), maxUnfinished)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dirs := map[string]bool{}
	for name := range strings.Lines(string(names)) {
		name = filepath.FromSlash(strings.TrimSuffix(name, "\n"))
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%s names %q, which is not below it", Unfinished, name)
		}
		file := filepath.Join(s.Data, name)
		switch err := s.FS.Remove(file); {
		case err == nil:
			dirs[filepath.Dir(file)] = true
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("taking away what an interrupted restore has left: %w", err)
		}
	}
	for dir := range dirs {
		if err := s.FS.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
