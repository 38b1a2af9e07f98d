package main

import (
	"cmp"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
)

// status describes all registries, our own first.
func (s *site) status() []proxy.RegistryStatus {
	own := s.authority.Status()
	shown := proxy.RegistryStatus{
		Domain:      own.Domain,
		LogLength:   own.Length,
		Mode:        "authority",
		State:       proxy.StateOK,
		OperatorKey: string(own.KeyID),
	}
	if own.Signed > 0 {
		shown.CheckpointTime = time.Unix(int64(own.Signed), 0).UTC()
	}
	if own.Err != nil {
		shown.LastError = own.Err.Error()
	}
	if why := s.fenced(); why != "" {
		shown.State, shown.LastError = proxy.StateFenced, why
	}
	all := []proxy.RegistryStatus{shown}
	for _, u := range s.conf.Upstreams {
		all = append(all, s.upstreamStatus(u))
	}
	return all
}

// pinnedByConfiguration is why a key is believed before the registry was ever reached.
const pinnedByConfiguration = "configuration"

// upstreamStatus puts the status of a replica into the words of the admin listener.
func (s *site) upstreamStatus(u config.Upstream) proxy.RegistryStatus {
	replica := s.replicas[u.Domain]
	r := replica.Status()
	shown := proxy.RegistryStatus{
		Domain:         r.Domain,
		LogLength:      r.LogLength,
		CheckpointTime: r.CheckpointTime,
		VerifiedAt:     r.VerifiedAt,
		Mode:           u.Mode,
		Offline:        r.Offline,
		State:          proxy.RegistryState(r.State),
		LastError:      cmp.Or(r.LastError, s.adoptionTrouble(u.Domain)),
		LastErrorAt:    r.LastErrorAt.UTC(),
		OperatorKey:    string(cmp.Or(r.OperatorKey, u.OperatorKey)),
		Pinned:         r.Pinned,
		Refused:        named(r.Refused),
		Circuit:        r.Circuit.String(),
	}
	if u.OperatorKey != "" {
		shown.Pinned = pinnedByConfiguration
	}
	if len(adoptedFrom(u)) > 0 {
		shown.Mode = "adopt"
	}
	if r.State == upstream.StateCold {
		shown.State = proxy.StateStale
	}
	if q := r.Quarantine; q != nil {
		shown.Quarantine = &proxy.Quarantine{Class: q.Class, Reason: q.Reason, Since: q.Since, Evidence: q.Evidence}
		shown.LastError = q.Class + ": " + q.Reason + "; evidence: " + q.Evidence
	}
	var err error
	if shown.Evidence, err = replica.Evidence(); err != nil {
		s.log.Warn("evidence could not be listed", "upstream", u.Domain, "error", err)
	}
	return shown
}
