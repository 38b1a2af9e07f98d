package cache

import "sync/atomic"

// Stats is how much content is kept, and what was done to keep it that little. Bytes
// are of content as it was fetched, each once however many registries have it.
type Stats struct {
	Contents     uint64
	Bytes        int64 // of content that may be evicted
	Pinned       uint64
	PinnedBytes  int64
	MaxBytes     int64 // that Bytes is kept below
	Evictions    uint64
	EvictedBytes int64  // since the cache was opened, as Evictions
	Damages      uint64 // of what was read, since then
}

// counts are the counters behind Stats.
type counts struct {
	evictions    atomic.Uint64
	evictedBytes atomic.Int64
	damages      atomic.Uint64
}

// Stats returns how the cache is doing. It costs as much as one read.
func (c *Cache) Stats() Stats {
	s := Stats{
		MaxBytes: c.o.MaxContent, Evictions: c.counts.evictions.Load(), EvictedBytes: c.counts.evictedBytes.Load(),
		Damages: c.counts.damages.Load(),
	}
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Contents, s.Bytes = uint64(len(b.uses)), b.total
	s.Pinned, s.PinnedBytes = uint64(len(b.pinned)), b.pinnedBytes
	return s
}
