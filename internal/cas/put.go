package cas

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"strconv"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// copyBuffer is what is read of a body at a time, in bytes: large enough that
// hashing and writing dominate, small enough for many uploads at once.
const copyBuffer = 128 << 10

// Errors of [Store.Put] that say something about the body. Nothing was kept, and
// another attempt may succeed.
var (
	ErrTooLarge = errors.New("content is too large")
	ErrNoSpace  = errors.New("no space left for content")
)

// MismatchError says that the bytes have another digest than was said.
type MismatchError struct{ Want, Found warg.Digest }

// Error names both digests.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("content digest `%s` does not match expected digest `%s`", e.Found, e.Want)
}

// BodyError says that the body could not be read to its end.
type BodyError struct{ Err error }

// Error describes the cause.
func (e *BodyError) Error() string { return "reading content: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BodyError) Unwrap() error { return e.Err }

// Checks are what a body must pass besides having the right digest.
type Checks struct {
	MaxSize int64 // bytes; a longer body is ErrTooLarge
	// Tee sees the bytes as they arrive, before anything is known of them.
	Tee io.Writer
	// Accept is asked once the digest is known to be right; its error ends the Put.
	Accept func() error
}

// Put stores a body under its digest and returns its size in bytes. When it
// returns nil the content is durable. Errors are ErrTooLarge, ErrNoSpace, a
// [MismatchError], a [BodyError], what Accept returned, or a [StoreError].
func (s *Store) Put(want warg.Digest, body io.Reader, c Checks) (int64, error) {
	tmp := filepath.Join(s.dir, tmpDir, strconv.FormatUint(s.temps.Add(1), 10))
	f, err := s.fs.Create(tmp)
	if err != nil {
		return 0, writeErr(err, "making %s", tmp)
	}
	size, err := s.receive(f, want, body, c)
	if err == nil {
		err = s.finish(f, tmp, want)
	}
	if err != nil {
		// If the name is taken already there is nothing to remove; otherwise the
		// next start does what fails here.
		_ = s.fs.Remove(tmp)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = storeErr(cerr, "closing content %s", want)
	}
	return size, err
}

// writeErr classifies an error of a call that is not a sync.
func writeErr(err error, doing string, args ...any) error {
	if durable.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return storeErr(err, doing, args...)
}

// receive reads the body into f and judges it.
func (s *Store) receive(f durable.File, want warg.Digest, body io.Reader, c Checks) (int64, error) {
	h := sha256.New()
	size, err := s.copy(f, h, body, c)
	if err != nil {
		return 0, err
	}
	if found := warg.Digest(h.Sum(nil)); found != want {
		return 0, &MismatchError{want, found}
	}
	if c.Accept != nil {
		if err := c.Accept(); err != nil {
			return 0, err
		}
	}
	return size, s.step("blobTmp")
}

func (s *Store) copy(f durable.File, h hash.Hash, body io.Reader, c Checks) (size int64, err error) {
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	for {
		n, rerr := body.Read(*buf)
		b := (*buf)[:n]
		if size += int64(n); size > c.MaxSize {
			return 0, ErrTooLarge
		}
		h.Write(b)
		if c.Tee != nil {
			_, _ = c.Tee.Write(b) // what it finds, it says in Accept
		}
		if _, err := f.Write(b); err != nil {
			return 0, writeErr(err, "writing content")
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return size, nil
		case rerr != nil:
			return 0, &BodyError{rerr}
		}
	}
}

// finish gives verified bytes their name.
func (s *Store) finish(f durable.File, tmp string, d warg.Digest) error {
	dir, name := s.place(d)
	if err := s.fanOut(dir); err != nil {
		return err
	}
	if err := s.round.join(s, &unit{file: f, tmp: tmp, dir: dir, name: name}); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return storeErr(err, "looking at %s", name)
	}
	s.verified.add(d, durable.FingerprintOf(fi))
	return nil
}

// fanOut makes the directory of a digest's first byte durable.
func (s *Store) fanOut(dir string) error {
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	base := filepath.Base(dir)
	if s.dirs[base] {
		return nil
	}
	if err := s.fs.Mkdir(dir); err != nil {
		return writeErr(err, "making %s", dir)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return storeErr(err, "syncing %s", s.dir)
	}
	s.dirs[base] = true
	return nil
}
