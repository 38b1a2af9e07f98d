package oplog

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// CommitHistory remembers which keys held the commit permission at each length of
// the registry, so that the signer of an old checkpoint can be judged by what the
// operator log said when the registry had that length. The zero value is empty.
// It is not safe for use by more than one goroutine while one of them changes it.
type CommitHistory struct {
	records uint64 // observed so far
	length  uint64 // registry length after the last record observed
	changes map[warg.KeyID][]commitChange
}

// commitChange says that from a registry length on a key holds commit, or not.
type commitChange struct {
	length uint64
	holds  bool
}

// Observe notes what an operator record changed. Call it once after every record
// that s accepted, with the record's index in the registry log. It fails, and
// notes nothing, if a record was left out or an index is not beyond the last one.
func (h *CommitHistory) Observe(index uint64, s *State) error {
	switch {
	case s.records != h.records+1:
		return fmt.Errorf("operator record at index %d: %d records applied, %d observed", index, s.records, h.records)
	case index < h.length:
		return fmt.Errorf("operator record at index %d comes after one at index %d", index, h.length-1)
	}
	if h.changes == nil {
		h.changes = make(map[warg.KeyID][]commitChange)
	}
	h.records, h.length = s.records, index+1
	for _, id := range s.touched {
		holds := s.Can(id, PermissionCommit)
		if holds != h.Holds(id, h.length) {
			h.changes[id] = append(h.changes[id], commitChange{h.length, holds})
		}
	}
	return nil
}

// Holds reports whether the key held commit in the registry of the given length,
// that is after every operator record at an index below it. It knows of nothing
// beyond the last record observed: the caller must have observed all of them.
func (h *CommitHistory) Holds(id warg.KeyID, length uint64) bool {
	changes := h.changes[id]
	after, _ := slices.BinarySearchFunc(changes, length, func(c commitChange, l uint64) int {
		if c.length <= l {
			return -1
		}
		return 1
	})
	return after > 0 && changes[after-1].holds
}

// Length returns the registry length just after the last operator record observed.
func (h *CommitHistory) Length() uint64 { return h.length }
