package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// statusCollector shows the state of the registries, which is asked for when it
// is looked at.
type statusCollector struct {
	status                               func() []RegistryStatus
	now                                  func() time.Time
	length, signed, verified, age, state *prometheus.Desc
}

func newStatusCollector(status func() []RegistryStatus, now func() time.Time) *statusCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("entrepot_registry_"+name, help, append([]string{"registry"}, labels...), nil)
	}
	return &statusCollector{
		status: status, now: now,
		length:   desc("log_length", "Leaves of the registry's log at the checkpoint that is served."),
		signed:   desc("checkpoint_signed_seconds", "When the checkpoint that is served was signed, seconds since 1970."),
		verified: desc("checkpoint_verified_seconds", "When the checkpoint that is served was last known to be the newest, seconds since 1970."),
		age:      desc("checkpoint_age_seconds", "How long ago the checkpoint that is served was last known to be the newest; of our own registry, how long ago it was signed."),
		state:    desc("state", "1 for the state that the registry is in: ok, stale, quarantined or fenced.", "state"),
	}
}

// Describe implements [prometheus.Collector].
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.length, c.signed, c.verified, c.age, c.state} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	out, now := samples{ch}, c.now()
	for _, s := range c.status() {
		out.gauge(c.length, float64(s.LogLength), s.Domain)
		newest := s.CheckpointTime
		if !s.CheckpointTime.IsZero() {
			out.gauge(c.signed, float64(s.CheckpointTime.Unix()), s.Domain)
		}
		if !s.VerifiedAt.IsZero() {
			newest = s.VerifiedAt
			out.gauge(c.verified, float64(s.VerifiedAt.Unix()), s.Domain)
		}
		if !newest.IsZero() {
			out.gauge(c.age, max(now.Sub(newest).Seconds(), 0), s.Domain)
		}
		for _, state := range registryStates() {
			held := 0.0
			if s.State == state {
				held = 1
			}
			out.gauge(c.state, held, s.Domain, string(state))
		}
	}
}
