package authority

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// pageRecords is how many records of a log are kept together. Most logs are
// shorter, and so are answered from one page.
const pageRecords = 64

const (
	hotShards = 16
	hotBytes  = 64 << 20 // of memory for pages, in all
	recordFix = 256      // bytes of a record besides content and JSON, roughly
)

// page is a part of a log, ready to be sent. It never changes.
type page struct {
	log     index.Log // in the first page of a log only
	records []warg.Record
	bytes   int
}

type pageKey struct {
	log    warg.LogID
	number uint32
}

// hotLogs keeps pages of logs that were asked for lately. The first page of a log,
// which says how many records there are, is never older than what is published:
// the sequencer extends what a batch adds to, and a page that was read while it
// wrote the index and did so is not kept. Other pages may be; whoever uses one
// sees from the first page that records are missing.
type hotLogs struct {
	batches atomic.Uint64 // odd while a batch is written to the index and to pages
	shards  [hotShards]hotShard

	contents releasedSet
}

type hotShard struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[pageKey, *page] // under mu
	bytes int                            // under mu
}

func newHotLogs() (*hotLogs, error) {
	h := new(hotLogs)
	for i := range h.shards {
		s := &h.shards[i]
		// The number of pages is bounded by their bytes.
		lru, err := simplelru.NewLRU(hotBytes/hotShards/recordFix, func(_ pageKey, p *page) { s.bytes -= p.bytes })
		if err != nil {
			return nil, err
		}
		s.lru = lru
	}
	return h, nil
}

func (h *hotLogs) shard(log warg.LogID) *hotShard { return &h.shards[log[0]%hotShards] }

func (h *hotLogs) find(k pageKey) *page {
	s := h.shard(k.log)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _ := s.lru.Get(k)
	return p
}

// begin and end enclose what the sequencer does with a batch.
func (h *hotLogs) begin() { h.batches.Add(1) }
func (h *hotLogs) end()   { h.batches.Add(1) }

// keep adds a page that was read after h.batches was seen.
func (h *hotLogs) keep(k pageKey, p *page, seen uint64) {
	s := h.shard(k.log)
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen%2 == 0 && h.batches.Load() == seen {
		s.add(k, p)
	}
}

// add adds a page. The caller holds mu.
func (s *hotShard) add(k pageKey, p *page) {
	s.lru.Remove(k)
	s.lru.Add(k, p)
	s.bytes += p.bytes
	for s.bytes > hotBytes/hotShards && s.lru.Len() > 1 {
		s.lru.RemoveOldest()
	}
}

// extend brings the first page of a log up to date with records that a batch added to
// it, between begin and end.
func (h *hotLogs) extend(log warg.LogID, name warg.PackageName, added []warg.Record) {
	s := h.shard(log)
	s.mu.Lock()
	defer s.mu.Unlock()
	first := pageKey{log, 0}
	p, ok := s.lru.Peek(first)
	if !ok {
		return
	}
	next := &page{log: index.Log{Name: name, Count: p.log.Count + uint32(len(added))}, records: p.records, bytes: p.bytes}
	if room := pageRecords - len(p.records); room > 0 {
		// Appending beyond the end of p.records changes nothing that p shows, and
		// only the newest page of a log is ever extended.
		next.records = append(next.records, added[:min(room, len(added))]...)
		next.bytes = sizeOf(next.records)
	}
	s.add(first, next)
}

func sizeOf(records []warg.Record) (bytes int) {
	for i := range records {
		bytes += recordFix + len(records[i].Content) + len(records[i].JSON)
	}
	return bytes + recordFix
}

// published returns a record as readers get it.
func published(env warg.Envelope, index uint64, id warg.RecordID) warg.Record {
	r := warg.Record{Envelope: env, Index: index, Token: id.String()}
	r.JSON = api.AppendRecord(nil, r)
	return r
}

// maxReleased bounds the memory for contents known to be published, 32 bytes each.
const maxReleased = 1 << 16

// releasedSet remembers contents that a published record releases: that never
// changes.
type releasedSet struct {
	mu   sync.RWMutex
	seen map[warg.Digest]struct{} // under mu
}

func (h *hotLogs) released(d warg.Digest) bool {
	h.contents.mu.RLock()
	defer h.contents.mu.RUnlock()
	_, ok := h.contents.seen[d]
	return ok
}

func (h *hotLogs) keepReleased(d warg.Digest) {
	h.contents.mu.Lock()
	defer h.contents.mu.Unlock()
	if h.contents.seen == nil || len(h.contents.seen) >= maxReleased {
		h.contents.seen = map[warg.Digest]struct{}{}
	}
	h.contents.seen[d] = struct{}{}
}
