package main

import (
	"fmt"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
)

// counts returns what the site's parts count, in the words of the metrics.
func (s *site) counts() proxy.Counts {
	c := proxy.Counts{Authority: s.authorityCounts, Security: s.securityEvents}
	if len(s.conf.Authority.Peers) > 0 && s.peers != nil {
		c.Peers = s.peers.status
	}
	if s.scrubber != nil {
		c.Scrub = s.scrubCounts
	}
	if s.cache != nil {
		c.Cache, c.Upstreams = s.cacheCounts, s.upstreamCounts
	}
	return c
}

// named puts names in the place of keys.
func named[K interface {
	comparable
	fmt.Stringer
}, V any](m map[K]V) map[string]V {
	out := make(map[string]V, len(m))
	for k, v := range m {
		out[k.String()] = v
	}
	return out
}

func (s *site) upstreamCounts() []proxy.UpstreamCounts {
	var all []proxy.UpstreamCounts
	for _, domain := range s.domains() {
		stats := s.replicas[domain].Stats()
		u := proxy.UpstreamCounts{
			Domain:   domain,
			Requests: make(map[string]map[string]uint64), Verified: make(map[string]proxy.Histogram),
			Refused: named(stats.Refused), Hits: named(stats.Hits), Misses: named(stats.Misses), Waits: named(stats.Joined),
			Stale: stats.Stale, Records: stats.VerifiedRecords, Quarantines: stats.Quarantines,
		}
		u.Circuit = make(map[string]bool)
		for _, state := range upstream.Circuits() {
			u.Circuit[state.String()] = state == stats.Circuit
		}
		u.Opened, u.Retries, u.RetriesBudget = stats.Opened, stats.Retries, stats.RetryBudget
		for kind, byOutcome := range stats.Requests {
			u.Requests[kind.String()] = named(byOutcome)
		}
		for what, d := range stats.Verified {
			u.Verified[what.String()] = proxy.Histogram{Buckets: d.Buckets, Count: d.Count, Sum: d.Sum.Seconds()}
		}
		all = append(all, u)
	}
	return all
}

func (s *site) cacheCounts() proxy.CacheCounts {
	c := s.cache.Stats()
	return proxy.CacheCounts{
		Contents: c.Contents, Pinned: c.Pinned, Bytes: c.Bytes, PinnedBytes: c.PinnedBytes, MaxBytes: c.MaxBytes,
		Evictions: c.Evictions, EvictedBytes: c.EvictedBytes, Damages: c.Damages,
	}
}

func (s *site) authorityCounts() proxy.AuthorityCounts {
	stats, status := s.authority.Stats(), s.authority.Status()
	return proxy.AuthorityCounts{
		Submissions: named(stats.Answers), Records: named(stats.Ends),
		Batches:     proxy.Histogram{Buckets: stats.Batches.Buckets, Count: stats.Batches.Count, Sum: float64(stats.Batches.Records)},
		Checkpoints: stats.Checkpoints, Syncs: stats.Syncs,
		Processing: uint64(max(status.Pending-status.Waiting, 0)), Waiting: uint64(status.Waiting),
	}
}

// securityEvents counts what somebody should look at, since start: what upstreams
// were refused for, and a few events of our own.
func (s *site) securityEvents() map[string]uint64 {
	events := map[string]uint64{}
	for _, class := range upstream.Classes() {
		events[class.String()] = 0
	}
	var firstKeys, damages uint64
	for _, r := range s.replicas {
		stats := r.Stats()
		for class, n := range stats.Refused {
			events[class.String()] += n
		}
		firstKeys, damages = firstKeys+stats.FirstKeys, damages+stats.Damages
	}
	if s.cache != nil {
		damages += s.cache.Stats().Damages
	}
	if s.scrubber != nil {
		for _, n := range s.scrubber.Stats().Damages {
			damages += n
		}
	}
	own := s.authority.Stats()
	events["first_key"], events["damage"] = firstKeys, damages
	events["fence"], events["unauthorized"] = own.Fences, own.Answers[authority.AnswerUnauthorized]
	return events
}
