package cas

import (
	"bytes"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/entrepot/entrepot/warg"
)

// Hot is small content in memory, verified: what is read often is read from there,
// without the disk and without another hash over it. It is safe for concurrent use.
type Hot struct {
	limit int
	mu    sync.Mutex
	bytes int
	lru   *lru.Cache[warg.Digest, *Small]
}

// Small is a content that is kept in memory. Nobody may change its bytes.
type Small struct {
	Bytes    []byte
	Modified time.Time // when its file was written, zero if it has none
}

// NewHot returns an empty Hot that keeps so many contents, of so many bytes in all.
func NewHot(contents, bytes int) (*Hot, error) {
	h := &Hot{limit: bytes}
	var err error
	h.lru, err = lru.NewWithEvict(contents, func(_ warg.Digest, s *Small) { h.bytes -= len(s.Bytes) })
	return h, err
}

// Find returns a content that is in memory.
func (h *Hot) Find(d warg.Digest) (*Small, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Get(d)
}

// Add keeps verified content.
func (h *Hot) Add(d warg.Digest, s *Small) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lru.Contains(d) {
		return
	}
	h.lru.Add(d, s)
	for h.bytes += len(s.Bytes); h.bytes > h.limit; {
		h.lru.RemoveOldest()
	}
}

// Remove forgets a content.
func (h *Hot) Remove(d warg.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lru.Remove(d)
}

// Size returns how many contents are in memory, and their bytes.
func (h *Hot) Size() (contents, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Len(), h.bytes
}

// Open returns the content for reading.
func (s *Small) Open() warg.Content { return smallContent{bytes.NewReader(s.Bytes), s.Modified} }

type smallContent struct {
	*bytes.Reader
	modified time.Time
}

// Close implements [io.Closer].
func (smallContent) Close() error { return nil }

// ModTime returns when the content's file was written, zero if that is not known.
func (c smallContent) ModTime() time.Time { return c.modified }
