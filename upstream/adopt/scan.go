package adopt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// scan looks at the leaves that the ledger has got, and opens the logs of our
// namespaces among theirs.
func (k *Keeper) scan(ctx context.Context, length uint64) error {
	for k.scanned < length {
		entries, err := k.o.Source.Ledger(ctx, k.scanned, int(min(ledgerBatch, length-k.scanned)))
		if err != nil {
			return fmt.Errorf("reading the ledger of `%s`: %w", k.o.Source.Domain(), err)
		}
		if len(entries) == 0 {
			return fmt.Errorf("the ledger of `%s` ends at %d of %d leaves", k.o.Source.Domain(), k.scanned, length)
		}
		found := map[warg.LogID]struct{}{}
		for entry := range slices.Chunk(entries, warg.LedgerEntrySize) {
			if log := warg.LogID(entry[:warg.DigestSize]); log != warg.OperatorLogID {
				found[log] = struct{}{}
			}
		}
		k.name(ctx, slices.Collect(maps.Keys(found)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		k.scanned += uint64(len(entries) / warg.LedgerEntrySize)
	}
	return nil
}

// name opens those logs that are of our namespaces, and remembers those whose name
// cannot be had now.
func (k *Keeper) name(ctx context.Context, logs []warg.LogID) {
	for batch := range slices.Chunk(logs, warg.MaxNames) {
		names, err := k.o.Source.Names(ctx, batch)
		switch {
		case err == nil:
			k.named(batch, names)
		case len(batch) > 1 && (k.o.Offline || !away(err)):
			k.name(ctx, batch[:len(batch)/2]) // one of them is at fault
			k.name(ctx, batch[len(batch)/2:])
		default:
			k.named(batch, make([]warg.PackageName, len(batch)))
		}
	}
}

// away reports whether an error is about the registry and not about what it was asked.
func away(err error) bool {
	return errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) || errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout})
}

func (k *Keeper) named(logs []warg.LogID, names []warg.PackageName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, id := range logs {
		switch name := names[i]; {
		case name.IsZero():
			k.nameless[id] = struct{}{}
		case k.namespaces[name.Namespace()]:
			delete(k.nameless, id)
			if k.open[id] == nil {
				k.open[id] = &openLog{name: name, full: !k.examined[id]}
			}
		default:
			delete(k.nameless, id)
		}
	}
}
