package proxy

import "time"

// Counts is what the parts behind the server count, asked for when somebody looks.
// Functions that are nil are of parts that are not there. Keys of maps become labels:
// they must be from closed sets, the same at every call.
type Counts struct {
	Upstreams func() []UpstreamCounts
	Cache     func() CacheCounts
	Authority func() AuthorityCounts
	Security  func() map[string]uint64 // security events, by kind
	Peers     func() []PeerStatus
	Scrub     func() ScrubCounts
}

// ScrubCounts is what reading again in the background came to.
type ScrubCounts struct {
	Bytes   uint64            // since start
	Damages map[string]uint64 // since start, by what was damaged
	Ended   time.Time         // the last time that everything had been read, zero if never
}

// UpstreamCounts is what the replica of one registry did since start.
type UpstreamCounts struct {
	Domain      string
	Requests    map[string]map[string]uint64 // by what was asked for, and how that ended
	Refused     map[string]uint64            // by class
	Hits        map[string]uint64            // by what readers wanted
	Misses      map[string]uint64            // likewise
	Waits       map[string]uint64            // likewise: readers that waited for what another had asked for
	Stale       uint64
	Records     uint64               // verified
	Verified    map[string]Histogram // seconds, by what was verified
	Quarantines uint64

	Circuit       map[string]bool // states of the circuit breaker; true for the one it is in
	Opened        uint64          // how often it opened
	Retries       uint64          // extra requests to an upstream that had not answered
	RetriesBudget float64         // how many more are allowed now
}

// CacheCounts is what is kept of other registries' content.
type CacheCounts struct {
	Contents, Pinned   uint64 // that may be evicted; that may not
	Bytes, PinnedBytes int64  // of those
	MaxBytes           int64  // that Bytes is kept below
	Evictions, Damages uint64 // since start
	EvictedBytes       int64  // likewise
}

// AuthorityCounts is what our own registry did since start.
type AuthorityCounts struct {
	Submissions         map[string]uint64 // by how they were answered
	Records             map[string]uint64 // by how they ended
	Batches             Histogram         // records
	Checkpoints, Syncs  uint64
	Processing, Waiting uint64 // records on their way now; those that wait for content
}

// Histogram is how often something was at most so much.
type Histogram struct {
	Buckets map[float64]uint64 // by upper bound, cumulative
	Count   uint64
	Sum     float64
}
