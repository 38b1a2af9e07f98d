package cache

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/entrepot/entrepot/warg"
)

// How much small content is kept in memory, verified: what is read often is read
// from there, without the database and without another hash over it.
const (
	hotBytes    = 16 << 20
	hotContents = 4096
	seenDigests = 16 << 10 // of each registry, half a megabyte
)

// hot is small content in memory.
type hot struct {
	mu    sync.Mutex
	bytes int
	lru   *lru.Cache[warg.Digest, []byte]
}

func newHot() (*hot, error) {
	h := new(hot)
	var err error
	h.lru, err = lru.NewWithEvict(hotContents, func(_ warg.Digest, b []byte) { h.bytes -= len(b) })
	return h, err
}

func (h *hot) find(d warg.Digest) ([]byte, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Get(d)
}

// add keeps verified content. Nobody may change b any more.
func (h *hot) add(d warg.Digest, b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lru.Contains(d) {
		return
	}
	h.lru.Add(d, b)
	for h.bytes += len(b); h.bytes > hotBytes; {
		h.lru.RemoveOldest()
	}
}

func (h *hot) remove(d warg.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lru.Remove(d)
}
