package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// ledgerBatch is how many leaves are asked of a source at a time.
const ledgerBatch = leavesPerFrame

// survey is what is to be archived of a registry: the state at one checkpoint, to
// which the registry may add while the archive is written.
type survey struct {
	src    Source
	chosen []warg.PackageName // none = all
	since  *Cargo             // nil = from nothing

	head     warg.SignedCheckpoint
	first    uint64 // where the ledger begins
	length   uint64
	operator uint64     // operator leaves from first on
	logs     []surveyed // chosen package logs, ascending
}

// surveyed is a package log and how many leaves it has.
type surveyed struct {
	log    warg.LogID
	leaves uint64
}

func compareLog(s surveyed, log warg.LogID) int { return warg.Digest(s.log).Compare(warg.Digest(log)) }

func (s *survey) has(log warg.LogID) bool {
	_, ok := slices.BinarySearchFunc(s.logs, log, compareLog)
	return ok
}

// look reads the ledger up to the newest checkpoint. The log's roots are computed on
// the way, so that a damaged store or somebody else's base is noticed here.
func (s *survey) look(ctx context.Context, progress func(Step)) (err error) {
	if s.head, err = s.src.Head(ctx); err != nil {
		return err
	}
	s.length = s.head.Unverified().LogLength
	if s.since != nil {
		s.first = s.since.r.length
		if s.first > s.length {
			return fmt.Errorf("the older archive leads to length %d, beyond the %d that is held here", s.first, s.length)
		}
	}
	leaves := make(map[warg.LogID]uint64)
	for _, name := range s.chosen {
		leaves[name.LogID()] = 0
	}
	if err := s.count(ctx, leaves, progress); err != nil {
		return err
	}
	for log, n := range leaves {
		if n > 0 {
			s.logs = append(s.logs, surveyed{log, n})
		}
	}
	slices.SortFunc(s.logs, func(a, b surveyed) int { return compareLog(a, b.log) })
	return nil
}

// count counts the leaves of every chosen log.
func (s *survey) count(ctx context.Context, leaves map[warg.LogID]uint64, progress func(Step)) error {
	var edge vlog.Edge
	for {
		if s.since != nil && edge.Len() == s.first && edge.Root().AnyHash() != s.since.r.head.Unverified().LogRoot {
			return fmt.Errorf("the older archive has another history: its log root of length %d is not the one held here", s.first)
		}
		if edge.Len() == s.length {
			break
		}
		packed, err := s.ledger(ctx, edge.Len())
		if err != nil {
			return err
		}
		for ; len(packed) > 0; packed = packed[leafSize:] {
			leaf := warg.Leaf{LogID: warg.LogID(packed[:digestSize]), RecordID: warg.RecordID(packed[digestSize:leafSize])}
			_, chosen := leaves[leaf.LogID]
			switch {
			case leaf.LogID == warg.OperatorLogID && edge.Len() >= s.first:
				s.operator++
			case leaf.LogID != warg.OperatorLogID && (chosen || len(s.chosen) == 0):
				leaves[leaf.LogID]++
			}
			edge.Append(vlog.LeafHash(leaf.LogValue()))
		}
		progress(Step{s.src.Domain(), "ledger", int64(edge.Len()), int64(s.length)})
	}
	if edge.Root().AnyHash() != s.head.Unverified().LogRoot {
		return fmt.Errorf("the ledger held here does not lead to the log root of length %d", s.length)
	}
	return nil
}

// ledger reads some leaves, at least one, that end at the base's length or at a full
// frame from there, and not beyond the checkpoint.
func (s *survey) ledger(ctx context.Context, start uint64) ([]byte, error) {
	end := s.length
	if start < s.first {
		end = s.first
	}
	packed, err := s.src.Ledger(ctx, start, int(min(end-start, ledgerBatch)))
	if err != nil {
		return nil, err
	}
	if len(packed) == 0 || len(packed)%leafSize != 0 {
		return nil, fmt.Errorf("the ledger held here ends at %d of %d leaves", start, s.length)
	}
	return packed[:min(uint64(len(packed)), (end-start)*leafSize)], nil
}
