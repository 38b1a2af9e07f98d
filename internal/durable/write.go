package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Stage is a point inside [Replace] between two effects.
type Stage string

// The stages of [Replace], named as failpoints are: what is on disk when they
// are reached.
const (
	StageTmp       Stage = "Tmp"       // the temporary file is written, nothing synced
	StageSynced    Stage = "Synced"    // the temporary file is durable under its temporary name
	StageRenamed   Stage = "Renamed"   // the new content has the name, for this boot
	StageDirSynced Stage = "DirSynced" // the new content has the name for good
)

const tempSuffix = ".tmp"

// Replace writes a small file so that after a crash at any moment the name has
// either its old content or the new one, and after Replace returned only the new
// one. If step is not nil it is called at each stage; its error ends Replace there.
func Replace(fsys FS, name string, content []byte, step func(Stage) error) error {
	if step == nil {
		step = func(Stage) error { return nil }
	}
	tmp := name + tempSuffix
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // a crash may have left one
	}
	if err := writeTemp(fsys, tmp, content, step); err != nil {
		return err
	}
	if err := step(StageSynced); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	if err := step(StageRenamed); err != nil {
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return err
	}
	return step(StageDirSynced)
}

// IsTemp reports whether a file has the name that [Replace] gives to what is not yet in
// place: a crash can leave one.
func IsTemp(name string) bool { return strings.HasSuffix(name, tempSuffix) }

func writeTemp(fsys FS, tmp string, content []byte, step func(Stage) error) (err error) {
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := step(StageTmp); err != nil {
		return err
	}
	return f.Sync()
}

// MkdirAll makes a directory and its missing parents, each durable before the
// next is made. One that is there is made durable as well: who made it may have been
// killed before he came to that.
func MkdirAll(fsys FS, name string) error {
	parent := filepath.Dir(name)
	exists, err := Exists(fsys, name)
	switch {
	case err != nil:
		return err
	case exists:
		err := fsys.SyncDir(parent)
		if errors.Is(err, fs.ErrPermission) {
			return nil // it was not made by us
		}
		return err
	}
	if parent == name {
		return fmt.Errorf("making directory %s: it has no parent", name)
	}
	if err := MkdirAll(fsys, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}

// fillChunk is what [Fill] writes at a time, in bytes.
const fillChunk = 1 << 20

// Fill extends a file with zeros from one size to another and syncs it, so that
// later writes below the new size allocate nothing.
func Fill(f File, from, to int64) error {
	zeros := make([]byte, min(fillChunk, max(to-from, 0)))
	for from < to {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return f.Sync()
}

// OnlyZeros reports whether b has nothing but zeros: whether what [Fill] wrote there
// is still what it was.
func OnlyZeros(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }
