package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream/archive"
)

// archiveFiles are the files of an archive being written. They get their names when
// all of them are complete and on disk.
type archiveFiles struct {
	name    string
	split   bool
	volumes *archive.Volumes
	parts   []*os.File
	done    bool
}

// newArchiveFiles prepares the files of an archive. One that is split does not mix
// with parts that are there: some of those might stay and be taken for its own.
func newArchiveFiles(name string, size int64) (*archiveFiles, error) {
	f := &archiveFiles{name: name, split: size > 0}
	if f.split {
		there, err := partFiles(name)
		if err != nil {
			return nil, err
		}
		if len(there) > 0 {
			return nil, exitf(exitFailed, "there is %s already; remove it and its further parts, or choose another name", there[0])
		}
	}
	f.volumes = archive.NewVolumes(f.next, size)
	return f, nil
}

// partName returns the name of a part.
func (f *archiveFiles) partName(part int) string {
	if !f.split {
		return f.name
	}
	return fmt.Sprintf("%s.%03d", f.name, part)
}

// partFiles returns the parts of an archive that exist, in order.
func partFiles(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	pattern := regexp.MustCompile("^" + regexp.QuoteMeta(filepath.Base(name)) + `\.([0-9]{3,5})$`)
	found := map[int]string{}
	for _, e := range entries {
		if m := pattern.FindStringSubmatch(e.Name()); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, err
			}
			found[n] = filepath.Join(filepath.Dir(name), e.Name())
		}
	}
	var all []string
	for _, n := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[n])
	}
	return all, nil
}

// next opens the file of a part under a temporary name.
func (f *archiveFiles) next(part int) (io.WriteCloser, error) {
	folder, base := filepath.Split(f.partName(part))
	file, err := os.OpenFile(filepath.Join(folder, fmt.Sprintf(".%s.%d.tmp", base, os.Getpid())), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	f.parts = append(f.parts, file)
	return partFile{file}, nil
}

// partFile is on disk when it is closed.
type partFile struct{ *os.File }

func (p partFile) Close() error { return errors.Join(p.Sync(), p.File.Close()) }

// finish gives the files their names. It returns those, and how many bytes they have.
func (f *archiveFiles) finish() (names []string, bytes int64, err error) {
	if err := f.volumes.Close(); err != nil {
		return nil, 0, err
	}
	for i, part := range f.parts {
		fi, err := os.Stat(part.Name())
		if err != nil {
			return nil, 0, err
		}
		if err := os.Rename(part.Name(), f.partName(i)); err != nil {
			return nil, 0, err
		}
		names, bytes = append(names, f.partName(i)), bytes+fi.Size()
	}
	f.done = true
	return names, bytes, durable.OS{}.SyncDir(filepath.Dir(f.name))
}

// discard removes what was written, unless it is finished.
func (f *archiveFiles) discard() {
	if f.done {
		return
	}
	_ = f.volumes.Close()
	for i, part := range f.parts {
		_ = os.Remove(part.Name())
		if f.split {
			_ = os.Remove(f.partName(i)) // named before another could not be
		}
	}
}

// openArchives reads archives to their end. A name that is no file, but has parts,
// means all of those.
func (p *process) openArchives(names []string) ([]*archive.Archive, error) {
	var files []string
	total := int64(0)
	for _, name := range names {
		path := p.path(name)
		parts := []string{path}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if there, err := partFiles(path); err == nil && len(there) > 0 {
				parts = there
			}
		}
		for _, part := range parts {
			fi, err := os.Stat(part)
			if err != nil {
				return nil, fmt.Errorf("opening archive %s: %w", name, err)
			}
			total += fi.Size()
		}
		files = append(files, parts...)
	}
	show := p.newBar(total, "reading")
	opened, err := archive.OpenFiles(files, show.add)
	show.done()
	if err != nil {
		return nil, archiveError(err)
	}
	return opened, nil
}

// openOlder opens the archive that a delta is to build on.
func (p *process) openOlder(name string) (*archive.Archive, error) {
	opened, err := p.openArchives([]string{name})
	if err != nil {
		return nil, err
	}
	if len(opened) != 1 {
		closeArchives(opened)
		return nil, exitf(exitUsage, "%s is more than one archive", name)
	}
	return opened[0], nil
}
