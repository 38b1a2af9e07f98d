package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/entrepot/entrepot/warg"
)

// Download fetches content into a file, which it replaces only when all bytes are
// there and have the digest; on failure nothing is left behind. progress, if not
// nil, is told how many bytes have come and how many are announced, or -1.
func (s *Session) Download(ctx context.Context, digest warg.Digest, name string, progress func(done, total int64)) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return 0, fmt.Errorf("making a temporary file beside %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err = s.transport().Fetch(ctx, digest, keepIn(f, digest, progress)); err != nil {
		return 0, fmt.Errorf("downloading content `%s`: %w", digest, err)
	}
	if size, err = f.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	const readable = 0o644 // what a person downloads is for others to read as well
	if err = errors.Join(f.Chmod(readable), f.Sync()); err != nil {
		return 0, fmt.Errorf("writing %s: %w", f.Name(), err)
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return 0, fmt.Errorf("writing %s: %w", name, err)
	}
	return size, f.Close()
}

// transport returns what content is fetched from.
func (s *Session) transport() Transport {
	if t, ok := s.o.Registry.(Transport); ok {
		return t
	}
	return Adapt(s.o.Registry)
}

// keepIn returns what keeps a body in a file if it has the digest.
func keepIn(f *os.File, digest warg.Digest, progress func(done, total int64)) func(io.Reader, int64) error {
	return func(body io.Reader, size int64) error {
		if progress == nil {
			return copyVerified(f, body, digest)
		}
		return copyVerified(f, &progressReader{body, 0, size, progress}, digest)
	}
}

// progressReader tells how far a reader got.
type progressReader struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
}

// Read implements [io.Reader].
func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += int64(n)
	p.tell(p.done, p.total)
	return n, err
}
