package upstream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/entrepot/entrepot/warg"
)

const (
	// heldBackAtMost is how long records that are refused keep a checkpoint from being
	// served. What somebody on the way did to them passes sooner; a record that the
	// registry itself cannot give as its ledger has it must not keep the news of all
	// other packages away for ever.
	heldBackAtMost = 10 * time.Minute

	// knownLogsBatch is how many logs are brought up to date together: a few requests'
	// worth, so that a replica of everything does not replay everything at a time.
	knownLogsBatch = 4 * logsPerRequest
)

// keepKnown sees to it that every log which readers could read up to the head can be
// read up to the new checkpoint as well, before that is served. Without it a registry
// that goes away between a checkpoint and the records below it, or sends false ones,
// would take from readers what they had.
//
// Logs that nobody asked for yet are not fetched.
func (g *growth) keepKnown(ctx context.Context) error {
	known, err := g.known()
	if err != nil {
		return err
	}
	next := &view{signed: g.signed, cp: g.cp, op: g.op, epoch: g.r.epoch.Load()}
	for logs := range slices.Chunk(known, knownLogsBatch) {
		// Twice, as the first time may join readers who fetch an older state.
		for range 2 {
			if logs, err = g.behind(logs); err != nil || len(logs) == 0 {
				break
			}
			if err = g.r.askForLogs(ctx, next, logs); err != nil {
				break
			}
		}
		if err == nil {
			logs, err = g.behind(logs)
		}
		if err == nil && len(logs) > 0 {
			err = fmt.Errorf("log `%s` is not held up to length %d after it was fetched", logs[0], g.cp.LogLength) // cannot happen
		}
		if err := g.heldBack(err); err != nil {
			return err
		}
	}
	return nil
}

// known returns the package logs that have new leaves and were held up to the head.
func (g *growth) known() ([]warg.LogID, error) {
	at := g.r.trusted.current().view.LogLength
	if at == 0 {
		return nil, nil
	}
	var known []warg.LogID
	head := at
	seen := map[warg.LogID]bool{warg.OperatorLogID: true}
	for at < g.cp.LogLength {
		packed, err := g.r.o.Store.Ledger(at, int(min(g.cp.LogLength-at, ledgerChunk)))
		if err != nil {
			return nil, err
		}
		leaves := unpack(packed)
		if len(leaves) == 0 {
			return nil, fmt.Errorf("the store's ledger ends at %d of %d leaves", at, g.cp.LogLength)
		}
		for _, l := range leaves {
			if seen[l.LogID] {
				continue
			}
			seen[l.LogID] = true
			next, held, err := g.missing(l.LogID)
			if err != nil {
				return nil, err
			}
			if held > 0 && next >= head {
				known = append(known, l.LogID)
			}
		}
		at += uint64(len(leaves))
	}
	return known, nil
}

// missing returns the registry index of the first record of a log that is not held,
// and how many are. Of a complete log the index is beyond every length.
func (g *growth) missing(log warg.LogID) (next, held uint64, err error) {
	_, held, err = g.r.o.Store.Log(log)
	if err != nil || held == 0 {
		return 0, 0, err
	}
	next, _, ok, err := g.r.o.Store.Position(log, held)
	if err == nil && !ok {
		next = warg.MaxRegistryLength
	}
	return next, held, err
}

// behind returns those of the logs that are not held up to the new checkpoint.
func (g *growth) behind(logs []warg.LogID) ([]warg.LogID, error) {
	var behind []warg.LogID
	for _, log := range logs {
		next, _, err := g.missing(log)
		if err != nil {
			return nil, err
		}
		if next < g.cp.LogLength {
			behind = append(behind, log)
		}
	}
	return behind, nil
}

// heldBack decides whether what went wrong with records keeps the checkpoint back.
func (g *growth) heldBack(err error) error {
	if ClassOf(err) == ClassNone {
		return err
	}
	now := g.r.o.Now()
	if g.r.heldBack.IsZero() {
		g.r.heldBack = now
	}
	if now.Sub(g.r.heldBack) < heldBackAtMost {
		return err
	}
	g.r.o.Log.Warn("serving a checkpoint without all records that were held", "upstream", g.r.o.Domain, "length", g.cp.LogLength, "error", err)
	return nil
}
