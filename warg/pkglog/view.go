package pkglog

import (
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/logstate"
)

// Head returns the id and the time of the last record; ok is false in an empty log.
func (s *State) Head() (id warg.RecordID, time warg.Timestamp, ok bool) { return s.core.Head() }

// Key returns the key with the given id, if it was ever known to the log.
func (s *State) Key(id warg.KeyID) (warg.PublicKey, bool) { return s.core.Key(id) }

// Keys returns all keys ever known to the log, in the order they became known.
func (s *State) Keys() []warg.PublicKey { return s.core.Keys() }

// Can reports whether the key holds the permission now.
func (s *State) Can(id warg.KeyID, p Permission) bool { return s.core.Can(id, p) }

// Permissions returns what the key holds now; the order has no meaning.
func (s *State) Permissions(id warg.KeyID) []Permission { return s.core.Permissions(id) }

// Release returns the state of a version that was released, yanked or not.
func (s *State) Release(v warg.Version) (ReleaseState, bool) { return s.releases.Value(v) }

// Releases returns all versions ever released, in the order of their release.
func (s *State) Releases() []ReleaseState { return s.releases.Values() }

// Clone returns a copy of the state that shares nothing with it.
func (s *State) Clone() *State {
	return &State{core: s.core.Clone(), releases: s.releases.Clone()}
}

// Select returns the greatest of the releases that is not yanked and that the
// requirement matches.
func Select(releases []ReleaseState, req warg.Requirement) (best ReleaseState, ok bool) {
	for _, r := range releases {
		if r.Yanked || !req.Matches(r.Version) {
			continue
		}
		if !ok || r.Version.Compare(best.Version) > 0 {
			best, ok = r, true
		}
	}
	return best, ok
}

// MarshalJSON returns the state as the protocol's clients store it. A state with
// a time before 1970 cannot be written.
func (s *State) MarshalJSON() ([]byte, error) {
	var o, releases logstate.Object
	s.core.AddTop(&o)
	for i := range s.releases.Len() {
		v, r := s.releases.At(i)
		releases.AddObject(v.String(), r.object())
	}
	o.AddObject("releases", &releases)
	s.core.AddKeys(&o)
	return o.Encode()
}

func (r ReleaseState) object() *logstate.Object {
	var o, state logstate.Object
	o.AddText("recordId", r.RecordID.String())
	o.AddText("version", r.Version.String())
	o.AddText("by", string(r.By))
	o.AddTime("timestamp", r.Time)
	if r.Yanked {
		state.AddText("status", "yanked")
		state.AddText("by", string(r.YankedBy))
		state.AddTime("timestamp", r.YankedAt)
	} else {
		state.AddText("status", "released")
		state.AddText("content", r.Content.String())
	}
	o.AddObject("state", &state)
	return &o
}
