package oplog

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/logstate"
)

// logIs is what error texts call this kind of log.
const logIs = "operator"

// State is what an operator log amounts to after some records. The zero value is
// the state of an empty log. Pass it by pointer; it is not safe for use by more
// than one goroutine while one of them changes it.
type State struct {
	core       logstate.Core[Permission]
	namespaces logstate.Table[string, NamespaceState]
	records    uint64       // accepted so far
	touched    []warg.KeyID // keys whose permissions the last accepted record may have changed
}

// NamespaceState says whose a namespace is.
type NamespaceState struct {
	Name     string
	Defined  bool   // this registry's own
	Registry string // if not defined: the domain of the registry whose it is
}

// ApplyOption says what [State.Apply] need not check.
type ApplyOption uint8

// The options.
const (
	CheckSignature    ApplyOption = iota // check everything
	SignatureVerified                    // the caller has verified the signature with the signer's key
)

// Validate decodes the next record of the log and applies it after checking
// everything, its signature included. On an error the state is unchanged. The
// error is a [*warg.RecordError] if the record decodes but may not follow.
func (s *State) Validate(env warg.Envelope) error {
	rec, err := Decode(env.Content)
	if err != nil {
		return err
	}
	return s.Apply(rec, env, CheckSignature)
}

// Apply is Validate for a record that was decoded already; rec must be what
// env.Content decodes to. On an error, a [*warg.RecordError], the state is
// unchanged.
func (s *State) Apply(rec Record, env warg.Envelope, opt ApplyOption) error {
	namespaces := s.namespaces.Len()
	if err := s.core.Begin(rec.frame()); err != nil {
		return err
	}
	if err := s.apply(rec, env, opt); err != nil {
		s.namespaces.Truncate(namespaces)
		s.core.Undo()
		return err
	}
	s.records++
	s.touched = s.core.Touched()
	return nil
}

func (s *State) apply(rec Record, env warg.Envelope, opt ApplyOption) error {
	for _, e := range rec.Entries {
		if err := e.apply(s, env.KeyID); err != nil {
			return err
		}
	}
	signing := logstate.Signing{ID: env.OperatorRecordID(), KeyID: env.KeyID, LogIs: logIs}
	if opt != SignatureVerified {
		signing.Verify = func(k warg.PublicKey) error { return k.VerifyOperatorRecord(env.Content, env.Signature) }
	}
	return s.core.Seal(rec.frame(), signing)
}

func (e Init) apply(s *State, signer warg.KeyID) error {
	return s.core.Init(signer, e.Key, allPermissions())
}

// Every other entry needs a permission, which nobody holds before the first
// entry; that an entry other than init comes first is thus reported as that.

func (e Grant) apply(s *State, signer warg.KeyID) error {
	if err := s.core.Authorize(signer, PermissionCommit); err != nil {
		return err
	}
	return s.core.Grant(signer, e.Key, e.Permissions)
}

func (e Revoke) apply(s *State, signer warg.KeyID) error {
	if err := s.core.Authorize(signer, PermissionCommit); err != nil {
		return err
	}
	return s.core.Revoke(signer, e.KeyID, e.Permissions)
}

func (e DefineNamespace) apply(s *State, signer warg.KeyID) error {
	if err := s.core.Authorize(signer, PermissionDefineNamespace); err != nil {
		return err
	}
	return s.addNamespace(NamespaceState{Name: e.Namespace, Defined: true})
}

func (e ImportNamespace) apply(s *State, signer warg.KeyID) error {
	if err := s.core.Authorize(signer, PermissionImportNamespace); err != nil {
		return err
	}
	return s.addNamespace(NamespaceState{Name: e.Namespace, Registry: e.Registry})
}

func (s *State) addNamespace(n NamespaceState) error {
	if !warg.ValidNamespace(n.Name) {
		return recordErr(warg.LabelInvalidNamespace,
			"the namespace `%s` is invalid; namespace must be a lowercased kebab case string", n.Name)
	}
	if _, ok := s.namespaces.Find(n.Name); ok {
		return recordErr(warg.LabelNamespaceAlreadyDefined,
			"the namespace `%s` is already defined and cannot be redefined", n.Name)
	}
	s.namespaces.Add(n.Name, n)
	return nil
}

func recordErr(label, format string, args ...any) error {
	return &warg.RecordError{Label: label, Msg: fmt.Sprintf(format, args...)}
}
