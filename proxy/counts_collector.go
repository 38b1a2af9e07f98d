package proxy

import (
	"github.com/prometheus/client_golang/prometheus"
)

// countsCollector shows what the parts behind the server count.
type countsCollector struct {
	counts Counts

	requests, refused, reads, waits, stale, records, verified, quarantines *prometheus.Desc
	circuit, opened, retries, retriesLeft                                  *prometheus.Desc
	contents, contentBytes, maxBytes, evictions, evictedBytes, damages     *prometheus.Desc
	submissions, ends, batches, checkpoints, syncs, pending                *prometheus.Desc
	security                                                               *prometheus.Desc
	peerChecks, peerAnswered                                               *prometheus.Desc
	scrubbed, scrubDamages, scrubEnded                                     *prometheus.Desc
}

func newCountsCollector(counts Counts) *countsCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("entrepot_"+name, help, labels, nil)
	}
	c := &countsCollector{counts: counts}
	c.requests = desc("upstream_requests_total", "Requests to an upstream registry, by what was asked for and how that ended: ok, unreachable, timeout, denied (an error answer), refused (no answer of the protocol, or content with other bytes).", "registry", "kind", "class")
	c.refused = desc("upstream_refused_total", "What an upstream registry said and was not believed, by class of refusal.", "registry", "class")
	c.reads = desc("cache_reads_total", "What readers wanted of an upstream registry, by kind, and whether it was held (hit; a fresh checkpoint) or had to be asked for (miss).", "registry", "kind", "result")
	c.waits = desc("coalesced_waits_total", "Readers that waited for what another reader had asked an upstream registry for.", "registry", "kind")
	c.stale = desc("stale_answers_total", "Answers for an upstream registry that said that they may be out of date.", "registry")
	c.records = desc("verified_records_total", "Records of an upstream registry that were verified and stored.", "registry")
	c.verified = desc("verification_seconds", "How long verification took: of a checkpoint with the ledger it brought, of the records that came in one answer. Waiting for the upstream is not in it.", "registry", "kind")
	c.quarantines = desc("quarantines_total", "How often an upstream registry was quarantined since start.", "registry")
	c.circuit = desc("upstream_circuit_state", "1 for the state that the circuit breaker of an upstream registry is in: closed (it is asked), open (it does not answer, and is asked nothing for a while), half-open (one request finds out).", "registry", "state")
	c.opened = desc("upstream_circuit_opened_total", "How often an upstream registry that had answered did not any more.", "registry")
	c.retries = desc("upstream_retries_total", "Extra requests to an upstream registry that had not answered, sent before the longest pause was over.", "registry")
	c.retriesLeft = desc("upstream_retry_budget", "How many extra requests to an upstream registry are allowed now; every request earns a part of one, up to a tenth of all.", "registry")
	c.contents = desc("cache_contents", "Contents of upstream registries that are kept; pinned ones are never evicted.", "pinned")
	c.contentBytes = desc("cache_content_bytes", "Bytes of content of upstream registries that is kept; pinned ones are never evicted.", "pinned")
	c.maxBytes = desc("cache_max_bytes", "What the bytes of kept content that is not pinned stay below.")
	c.evictions = desc("cache_evictions_total", "Contents of upstream registries that made room for others.")
	c.evictedBytes = desc("cache_evicted_bytes_total", "Bytes of content that made room for others.")
	c.damages = desc("cache_damages_total", "Records and contents in the cache that turned out to be damaged, and are fetched again.")
	c.submissions = desc("publishes_total", "Package records submitted to our own registry, by answer: accepted, known, unauthorized, conflict, refused, unavailable.", "outcome")
	c.ends = desc("records_total", "Records of our own registry by how they ended: published, operator and adopted are in the log; invalid, content and expired were rejected.", "outcome")
	c.batches = desc("batch_records", "Records that became visible with one checkpoint of our own registry.")
	c.checkpoints = desc("checkpoints_signed_total", "Checkpoints that our own registry signed.")
	c.syncs = desc("syncs_total", "Syncs of files and directories of our own registry.")
	c.pending = desc("pending_records", "Records accepted by our own registry and not yet settled: sourcing (content is missing), processing.", "state")
	c.security = desc("security_events_total", "What somebody should look at: refusals of upstream registries by class; first_key, an operator key believed at first sight; fence, our own registry stopped signing; damage, a store lost what it held; unauthorized, a record that its signer may not publish.", "kind")
	c.peerChecks = desc("peer_checks_total", "Comparisons of checkpoints with a peer, by result: consistent, absent (it holds nothing of the registry), verified (it agrees with what it was shown), unverified (news to it), denied (it does not accept what it was shown), contradiction, unjudged (nothing is known here to compare with, or the registry is quarantined), refused (not signed by the registry), unreachable.", "peer", "result")
	c.peerAnswered = desc("peer_answered_seconds", "When a peer last answered, seconds since 1970; 0 if it never did.", "peer")
	c.scrubbed = desc("scrubbed_bytes_total", "Bytes that were read again in the background, to find out what the disk has changed.")
	c.scrubDamages = desc("scrub_damages_total", "What reading again found damaged: in the journal or the history, which fences our registry; in its content, which is withheld until it is put back; in the cache, which is fetched again.", "part")
	c.scrubEnded = desc("scrub_ended_seconds", "When everything had last been read again, seconds since 1970; 0 if never.")
	return c
}

// Describe implements [prometheus.Collector].
func (c *countsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.requests, c.refused, c.reads, c.waits, c.stale, c.records, c.verified, c.quarantines,
		c.circuit, c.opened, c.retries, c.retriesLeft,
		c.contents, c.contentBytes, c.maxBytes, c.evictions, c.evictedBytes, c.damages,
		c.submissions, c.ends, c.batches, c.checkpoints, c.syncs, c.pending, c.security,
		c.peerChecks, c.peerAnswered, c.scrubbed, c.scrubDamages, c.scrubEnded,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *countsCollector) Collect(ch chan<- prometheus.Metric) {
	s := samples{ch}
	if c.counts.Upstreams != nil {
		for _, u := range c.counts.Upstreams() {
			c.upstream(s, u)
		}
	}
	if c.counts.Cache != nil {
		c.cache(s, c.counts.Cache())
	}
	if c.counts.Authority != nil {
		c.authority(s, c.counts.Authority())
	}
	if c.counts.Peers != nil {
		for _, p := range c.counts.Peers() {
			s.counters(c.peerChecks, p.Checks, p.Domain)
			s.gauge(c.peerAnswered, float64(max(p.AnsweredAt.Unix(), 0)), p.Domain)
		}
	}
	if c.counts.Scrub != nil {
		k := c.counts.Scrub()
		s.counter(c.scrubbed, k.Bytes)
		s.counters(c.scrubDamages, k.Damages)
		s.gauge(c.scrubEnded, float64(max(k.Ended.Unix(), 0)))
	}
	if c.counts.Security != nil {
		s.counters(c.security, c.counts.Security())
	}
}

func (c *countsCollector) upstream(s samples, u UpstreamCounts) {
	for kind, byClass := range u.Requests {
		s.counters(c.requests, byClass, u.Domain, kind)
	}
	s.counters(c.refused, u.Refused, u.Domain)
	for kind, n := range u.Hits {
		s.counter(c.reads, n, u.Domain, kind, "hit")
	}
	for kind, n := range u.Misses {
		s.counter(c.reads, n, u.Domain, kind, "miss")
	}
	s.counters(c.waits, u.Waits, u.Domain)
	s.counter(c.stale, u.Stale, u.Domain)
	s.counter(c.records, u.Records, u.Domain)
	for kind, h := range u.Verified {
		s.histogram(c.verified, h, u.Domain, kind)
	}
	s.counter(c.quarantines, u.Quarantines, u.Domain)
	for state, is := range u.Circuit {
		held := 0.0
		if is {
			held = 1
		}
		s.gauge(c.circuit, held, u.Domain, state)
	}
	s.counter(c.opened, u.Opened, u.Domain)
	s.counter(c.retries, u.Retries, u.Domain)
	s.gauge(c.retriesLeft, u.RetriesBudget, u.Domain)
}

func (c *countsCollector) cache(s samples, k CacheCounts) {
	s.gauge(c.contents, float64(k.Contents), "false")
	s.gauge(c.contents, float64(k.Pinned), "true")
	s.gauge(c.contentBytes, float64(k.Bytes), "false")
	s.gauge(c.contentBytes, float64(k.PinnedBytes), "true")
	s.gauge(c.maxBytes, float64(k.MaxBytes))
	s.counter(c.evictions, k.Evictions)
	s.counter(c.evictedBytes, uint64(k.EvictedBytes))
	s.counter(c.damages, k.Damages)
}

func (c *countsCollector) authority(s samples, a AuthorityCounts) {
	s.counters(c.submissions, a.Submissions)
	s.counters(c.ends, a.Records)
	s.histogram(c.batches, a.Batches)
	s.counter(c.checkpoints, a.Checkpoints)
	s.counter(c.syncs, a.Syncs)
	s.gauge(c.pending, float64(a.Waiting), "sourcing")
	s.gauge(c.pending, float64(a.Processing), "processing")
}

// samples sends metrics to a scrape.
type samples struct{ ch chan<- prometheus.Metric }

func (s samples) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s samples) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// counters sends one counter for each key, which is the last label.
func (s samples) counters(d *prometheus.Desc, byLabel map[string]uint64, labels ...string) {
	for last, n := range byLabel {
		s.counter(d, n, append(labels[:len(labels):len(labels)], last)...)
	}
}

func (s samples) histogram(d *prometheus.Desc, h Histogram, labels ...string) {
	s.ch <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum, h.Buckets, labels...)
}
