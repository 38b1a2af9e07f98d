package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// SessionOptions say which registry a session is with and what may be believed.
type SessionOptions struct {
	Registry    warg.Registry  // usually a [Client]; nothing it says is believed
	Publisher   warg.Publisher // nil = Registry, if it is one
	OperatorKey warg.KeyID     // the pin; "" = the key remembered, else the first that is seen
	Memory      Memory         // what is known from earlier sessions; nil = nothing is kept
	Now         func() time.Time
}

// Session is a verifying client of one registry, for programs that want a few
// packages. It holds no ledger: it believes what the registry proves, against a
// checkpoint that extends every checkpoint it ever verified before. Operator and
// package logs are replayed from their first record each time.
//
// Verification errors are [*warg.Error] of kind KindUpstreamInvalid; see [ClassOf]
// and, for a registry that contradicts itself, [EvidenceOf]. A session is for one
// goroutine.
type Session struct {
	o     SessionOptions
	known remembered
}

// Memory keeps what a session must not forget.
type Memory interface {
	// Load returns what was kept last, or nil.
	Load() ([]byte, error)
	// Replace puts what change makes of what was kept last in its place, durably.
	// Two programs that do it at a time do it one after the other. If change returns
	// nil nothing is replaced.
	Replace(change func(old []byte) ([]byte, error)) error
}

// remembered is what a memory holds.
type remembered struct {
	Format      int             `json:"format"`
	Registry    string          `json:"registry"`
	OperatorKey warg.KeyID      `json:"operatorKey"`
	Checkpoint  json.RawMessage `json:"checkpoint"` // signed, the last one verified
	VerifiedAt  time.Time       `json:"verifiedAt"`

	signed warg.SignedCheckpoint
	view   warg.Checkpoint
}

const rememberedFormat = 1

// OpenSession opens a session: it reads what is remembered of the registry. It
// asks the registry nothing.
func OpenSession(o SessionOptions) (*Session, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if p, ok := o.Registry.(warg.Publisher); ok && o.Publisher == nil {
		o.Publisher = p
	}
	s := &Session{o: o}
	if o.Memory == nil {
		return s, nil
	}
	text, err := o.Memory.Load()
	if err == nil {
		s.known, err = parseRemembered(text)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is remembered of registry `%s`: %w", o.Registry.Domain(), err)
	}
	return s, nil
}

func parseRemembered(text []byte) (remembered, error) {
	var m remembered
	if len(text) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, err
	}
	if m.Format != rememberedFormat {
		return m, fmt.Errorf("it is of format %d", m.Format)
	}
	signed, err := api.ParseCheckpoint(m.Checkpoint)
	m.signed, m.view = signed, claimed(signed)
	return m, err
}

// remember keeps a verified checkpoint, unless another session was given a longer
// one meanwhile.
func (s *Session) remember(signed warg.SignedCheckpoint, view warg.Checkpoint, op *operator) error {
	m := remembered{
		Format: rememberedFormat, Registry: s.o.Registry.Domain(),
		OperatorKey: op.signer, Checkpoint: api.AppendCheckpoint(nil, signed), VerifiedAt: s.o.Now().UTC(),
		signed: signed, view: view,
	}
	s.known = m
	if s.o.Memory == nil {
		return nil
	}
	err := s.o.Memory.Replace(func(old []byte) ([]byte, error) {
		before, err := parseRemembered(old)
		if err != nil {
			return nil, err
		}
		newer := before.view.LogLength > view.LogLength ||
			before.view.LogLength == view.LogLength && before.view.Timestamp >= view.Timestamp
		if before.Format != 0 && newer {
			return nil, nil
		}
		return json.MarshalIndent(m, "", "  ")
	})
	if err != nil {
		return fmt.Errorf("remembering the checkpoint of registry `%s`: %w", m.Registry, err)
	}
	return nil
}

// Domain returns the registry's name.
func (s *Session) Domain() string { return s.o.Registry.Domain() }

// publisher returns what takes records.
func (s *Session) publisher() (warg.Publisher, error) {
	if s.o.Publisher == nil {
		return nil, errors.New("this registry takes no records")
	}
	return s.o.Publisher, nil
}

// Checkpoint verifies the registry's latest checkpoint and what belongs to it, and
// nothing else.
func (s *Session) Checkpoint(ctx context.Context) (*Snapshot, error) { return s.Fetch(ctx) }
