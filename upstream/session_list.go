package upstream

import (
	"context"
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// List returns the names of all packages of the registry, sorted, and how many of
// its logs have no name that it would tell. The ledger it reads them from is
// verified against the latest checkpoint, and the names against the ledger, so none
// is made up and none is left out.
func (s *Session) List(ctx context.Context) (names []warg.PackageName, nameless int, err error) {
	snap, err := s.Fetch(ctx)
	if err != nil {
		return nil, 0, err
	}
	logs, err := s.ledger(ctx, snap.Checkpoint)
	if err != nil {
		return nil, 0, err
	}
	for part := range slices.Chunk(logs, warg.MaxNames) {
		got, err := s.o.Registry.Names(ctx, part)
		if err != nil {
			return nil, 0, fmt.Errorf("fetching names: %w", err)
		}
		if len(got) != len(part) {
			return nil, 0, refuse(ClassAnswer, "asked for %d names, got %d", len(part), len(got))
		}
		for i, name := range got {
			switch {
			case name.IsZero():
				nameless++
			case name.LogID() != part[i]:
				return nil, 0, refuse(ClassName, "log `%s` is given the name `%s`, whose id is another one", part[i], name)
			default:
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, func(a, b warg.PackageName) int { return slices.Compare([]byte(a.String()), []byte(b.String())) })
	return names, nameless, nil
}

// ledger returns the package logs of a verified ledger, each once.
func (s *Session) ledger(ctx context.Context, cp warg.Checkpoint) ([]warg.LogID, error) {
	var edge vlog.Edge
	var logs []warg.LogID
	seen := map[warg.LogID]bool{warg.OperatorLogID: true}
	for edge.Len() < cp.LogLength {
		want := min(cp.LogLength-edge.Len(), ledgerChunk)
		page, err := s.o.Registry.Ledger(ctx, edge.Len(), int(want))
		if err != nil {
			return nil, fmt.Errorf("fetching ledger from index %d: %w", edge.Len(), err)
		}
		if len(page) == 0 || len(page)%warg.LedgerEntrySize != 0 || uint64(len(page)) > want*warg.LedgerEntrySize {
			return nil, refuse(ClassLedger, "the ledger page at index %d has %d bytes; the checkpoint has length %d", edge.Len(), len(page), cp.LogLength)
		}
		for _, l := range unpack(page) {
			edge.Append(vlog.LeafHash(l.LogValue()))
			if !seen[l.LogID] {
				seen[l.LogID] = true
				logs = append(logs, l.LogID)
			}
		}
	}
	if edge.Root() != cp.LogRoot {
		return nil, refuse(ClassRoots, "the ledger does not lead to the signed log root")
	}
	return logs, nil
}
