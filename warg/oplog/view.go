package oplog

import (
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/logstate"
)

// Head returns the id and the time of the last record; ok is false in an empty log.
func (s *State) Head() (id warg.RecordID, time warg.Timestamp, ok bool) { return s.core.Head() }

// Key returns the key with the given id, if it was ever known to the log.
func (s *State) Key(id warg.KeyID) (warg.PublicKey, bool) { return s.core.Key(id) }

// Keys returns all keys ever known to the log, in the order they became known.
func (s *State) Keys() []warg.PublicKey { return s.core.Keys() }

// Can reports whether the key holds the permission now. For what it held at an
// earlier length of the registry see [CommitHistory].
func (s *State) Can(id warg.KeyID, p Permission) bool { return s.core.Can(id, p) }

// Permissions returns what the key holds now; the order has no meaning.
func (s *State) Permissions(id warg.KeyID) []Permission { return s.core.Permissions(id) }

// Namespace returns what the log says of a namespace, if anything.
func (s *State) Namespace(name string) (NamespaceState, bool) { return s.namespaces.Value(name) }

// Namespaces returns what the log says of namespaces, in the order it came to say so.
func (s *State) Namespaces() []NamespaceState { return s.namespaces.Values() }

// Records returns the number of records accepted.
func (s *State) Records() uint64 { return s.records }

// Clone returns a copy of the state that shares nothing with it.
func (s *State) Clone() *State {
	return &State{
		core: s.core.Clone(), namespaces: s.namespaces.Clone(),
		records: s.records, touched: slices.Clone(s.touched),
	}
}

// MarshalJSON returns the state as the protocol's clients store it. A state with
// a time before 1970 cannot be written.
func (s *State) MarshalJSON() ([]byte, error) {
	var o, namespaces logstate.Object
	s.core.AddTop(&o)
	s.core.AddKeys(&o)
	for i := range s.namespaces.Len() {
		name, n := s.namespaces.At(i)
		namespaces.AddObject(name, n.object())
	}
	o.AddObject("namespaces", &namespaces)
	return o.Encode()
}

func (n NamespaceState) object() *logstate.Object {
	var o logstate.Object
	if n.Defined {
		o.AddText("state", "defined")
		return &o
	}
	var registry, imported logstate.Object
	registry.AddText("registry", n.Registry)
	imported.AddObject("imported", &registry)
	o.AddObject("state", &imported)
	return &o
}
