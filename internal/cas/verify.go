package cas

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// CorruptError says that a file has other bytes than its name promises. The file
// was moved aside.
type CorruptError struct {
	Digest warg.Digest // what it should be
	Found  warg.Digest // what it is
	Moved  string      // where it is now
}

// Error names both digests.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("content %s is damaged: its file has digest %s and was moved to %s", e.Digest, e.Found, e.Moved)
}

// maxVerified bounds the memory of files known to be good, about 100 bytes each.
// A file that falls out is hashed once more.
const maxVerified = 1 << 17

// verifiedFiles remembers what files looked like when their bytes were last
// hashed.
type verifiedFiles struct {
	mu   sync.Mutex
	seen map[warg.Digest]durable.Fingerprint // under mu
	busy [64]sync.Mutex                      // by first byte: hash a file once, not once per reader
}

func (v *verifiedFiles) known(d warg.Digest, p durable.Fingerprint) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.seen[d]
	return ok && known == p
}

func (v *verifiedFiles) add(d warg.Digest, p durable.Fingerprint) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[warg.Digest]durable.Fingerprint{}
	}
	if len(v.seen) >= maxVerified {
		for old := range v.seen { // any one
			delete(v.seen, old)
			break
		}
	}
	v.seen[d] = p
}

func (v *verifiedFiles) forget(d warg.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, d)
}

// verify makes sure that f has the bytes of d and returns their number.
func (s *Store) verify(d warg.Digest, f durable.Reader) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	p := durable.FingerprintOf(fi)
	if s.verified.known(d, p) {
		return p.Size, nil
	}
	lane := &s.verified.busy[int(d[0])%len(s.verified.busy)]
	lane.Lock()
	defer lane.Unlock()
	if s.verified.known(d, p) {
		return p.Size, nil
	}
	found, err := s.hash(f)
	if err != nil {
		return 0, err
	}
	if found != d {
		return 0, s.setAside(d, found, p)
	}
	s.verified.add(d, p)
	return p.Size, nil
}

func (s *Store) hash(f io.Reader) (warg.Digest, error) {
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	h := sha256.New()
	// Only Read, so that CopyBuffer uses the buffer and not the file's WriteTo.
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, *buf); err != nil {
		return warg.Digest{}, err
	}
	return warg.Digest(h.Sum(nil)), nil
}

// setAside moves a damaged file out of the way, so that it can be put again.
// It leaves alone what has taken the place of the file that was looked at.
func (s *Store) setAside(d, found warg.Digest, looked durable.Fingerprint) error {
	dir, name := s.place(d)
	fi, err := s.fs.Stat(name)
	if err != nil {
		return err
	}
	if durable.FingerprintOf(fi) != looked {
		return fmt.Errorf("content %s changed while it was read", d)
	}
	moved := filepath.Join(s.dir, badDir, d.Hex())
	if err := s.fs.Rename(name, moved); err != nil {
		return fmt.Errorf("moving damaged content %s aside: %w", d, err)
	}
	for _, dir := range []string{filepath.Dir(moved), dir} {
		if err := s.fs.SyncDir(dir); err != nil {
			return fmt.Errorf("moving damaged content %s aside: %w", d, err)
		}
	}
	return &CorruptError{d, found, moved}
}
