package proxy

import (
	"net/http"
	"time"
)

// RegistryState is the state that a registry is in.
type RegistryState string

// The states of a registry. One of which nothing is held yet is stale.
const (
	StateOK          RegistryState = "ok"
	StateStale       RegistryState = "stale"       // older than it should be; served with a warning
	StateQuarantined RegistryState = "quarantined" // caught in a contradiction; the last good view is served
	StateFenced      RegistryState = "fenced"      // our own registry may not sign
)

func registryStates() []RegistryState {
	return []RegistryState{StateOK, StateStale, StateQuarantined, StateFenced}
}

// RegistryStatus is how one registry is doing.
type RegistryStatus struct {
	Domain         string        `json:"domain"`
	LogLength      uint64        `json:"logLength"`
	CheckpointTime time.Time     `json:"checkpointTime,omitzero"` // when the checkpoint that is served was signed
	VerifiedAt     time.Time     `json:"verifiedAt,omitzero"`     // when it was last known to be the newest
	Mode           string        `json:"mode"`                    // "authority", "pass-through", "adopt"
	Offline        bool          `json:"offline,omitempty"`
	State          RegistryState `json:"state"`
	LastError      string        `json:"lastError,omitempty"`
	LastErrorAt    time.Time     `json:"lastErrorAt,omitzero"`
	Circuit        string        `json:"circuit,omitempty"` // of the circuit breaker: closed, open, half-open; "" for our own

	OperatorKey string `json:"operatorKey,omitempty"` // fingerprint of the key that everything hangs on
	Pinned      string `json:"pinned,omitempty"`      // why it is believed: "configuration", "first use"; "" for our own

	Refused    map[string]uint64 `json:"refused,omitempty"` // what was not believed since start, by class
	Quarantine *Quarantine       `json:"quarantine,omitempty"`
	Evidence   []string          `json:"evidence,omitempty"` // files with proofs of misbehaviour, not only of this run
}

// PeerStatus is how an installation is doing that mirrors this one.
type PeerStatus struct {
	Domain      string            `json:"domain"`
	AnsweredAt  time.Time         `json:"answeredAt,omitzero"` // when it last answered
	LastError   string            `json:"lastError,omitempty"`
	LastErrorAt time.Time         `json:"lastErrorAt,omitzero"`
	Checks      map[string]uint64 `json:"checks"` // comparisons of checkpoints since start, by result
}

// Quarantine is why a registry is believed nothing more.
type Quarantine struct {
	Class    string    `json:"class"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Evidence string    `json:"evidence,omitempty"` // file
}

// statusDocument is the answer of /statusz.
type statusDocument struct {
	Version        string            `json:"version,omitempty"`
	BaseURL        string            `json:"baseUrl"`
	Registries     []RegistryStatus  `json:"registries"`
	Peers          []PeerStatus      `json:"peers,omitempty"`
	SecurityEvents map[string]uint64 `json:"securityEvents,omitempty"` // since start, by kind; those that happened
}

func (a *admin) status(*http.Request) (any, error) {
	d := statusDocument{Version: a.s.version, BaseURL: a.s.baseURL, Registries: []RegistryStatus{}}
	if a.ops.Status != nil {
		d.Registries = append(d.Registries, a.ops.Status()...)
	}
	if a.ops.Counts.Peers != nil {
		d.Peers = a.ops.Counts.Peers()
	}
	if a.ops.Counts.Security != nil {
		for kind, n := range a.ops.Counts.Security() {
			if n == 0 {
				continue
			}
			if d.SecurityEvents == nil {
				d.SecurityEvents = map[string]uint64{}
			}
			d.SecurityEvents[kind] = n
		}
	}
	return d, nil
}
