package cas

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Folders returns the names of the folders that content lies in, sorted: the parts in
// which a store is scrubbed.
func (s *Store) Folders() ([]string, error) {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		const hexByte = 2
		if e.IsDir() && len(e.Name()) == hexByte {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Scrub reads all content in a folder from the disk and hashes it, whatever is known about
// it. What is damaged is moved aside, and handed to damaged. paced slows reading down; its
// reader's errors end it.
func (s *Store) Scrub(folder string, paced func(io.Reader) io.Reader, damaged func(*CorruptError)) error {
	entries, err := s.fs.ReadDir(filepath.Join(s.dir, folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		d, err := warg.ParseDigest("sha256:" + folder + e.Name())
		if err != nil || strings.HasSuffix(e.Name(), ".tmp") {
			continue // not ours
		}
		var corrupt *CorruptError
		switch err := s.scrub(d, paced); {
		case errors.As(err, &corrupt):
			damaged(corrupt)
		case err != nil && !errors.Is(err, fs.ErrNotExist): // it may be evicted meanwhile
			return err
		}
	}
	return nil
}

// scrub hashes one content. What seems damaged is read once more: it may have been the
// memory that was wrong.
func (s *Store) scrub(d warg.Digest, paced func(io.Reader) io.Reader) error {
	_, name := s.place(d)
	f, err := s.fs.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	var found warg.Digest
	for range 2 {
		durable.Forget(f)
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if found, err = s.hash(paced(f)); err != nil || found == d {
			return err
		}
	}
	s.verified.forget(d)
	return s.setAside(d, found, durable.FingerprintOf(fi))
}

// SetAside reports whether damaged content of that digest was moved aside.
func (s *Store) SetAside(d warg.Digest) bool {
	ok, err := durable.Exists(s.fs, filepath.Join(s.dir, badDir, d.Hex()))
	return ok && err == nil
}
