package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// copyTree copies a folder of plain files, holes as holes. Sockets stay behind.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case d.Type().IsRegular():
			return copyFile(path, target)
		}
		return nil
	})
}

// copyFile copies the parts of a file that hold data.
func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	stat, err := source.Stat()
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, stat.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if err := target.Truncate(stat.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		begin, err := source.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole follows
		}
		if err != nil {
			return err
		}
		end, err := source.Seek(begin, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := io.Copy(&holes{target, begin}, io.NewSectionReader(source, begin, end-begin)); err != nil {
			return err
		}
		at = end
	}
}

// holes is a writer to a file that is nothing but holes, and leaves them where there are
// only zeros. What a server has allocated and not used need not be written.
type holes struct {
	file *os.File
	at   int64
}

// Write implements [io.Writer].
func (h *holes) Write(p []byte) (n int, err error) {
	n = len(p)
	if bytes.Count(p, []byte{0}) < n {
		n, err = h.file.WriteAt(p, h.at)
	}
	h.at += int64(n)
	return n, err
}

// files returns the plain files below a folder, by their paths in it, in order.
func files(folder string) (all []string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, relErr := filepath.Rel(folder, path)
			all, err = append(all, rel), relErr
		}
		return err
	})
	return all, err
}
