package upstream

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// ErrNotHeld says that a store does not have what the checkpoints of a registry are judged
// by: its ledger and its operator log. A replica fetches them again.
var ErrNotHeld = errors.New("the cache does not hold its ledger and its operator log")

// InspectSigned judges the head of a registry and every checkpoint that was ever accepted
// of it as when they came: by the pinned operator key, the operator log, and the ledger
// that a store has. pin may be "", which is the key that was believed on first use.
// It writes nothing, returns how many checkpoints it verified, and fails with [ErrNotHeld]
// if the store has too little.
//
// A checksum can be right beside whatever somebody wrote; a signature cannot.
func InspectSigned(fsys durable.FS, dir, domain string, store Store, pin warg.KeyID) (verified int, flaws []Flaw, err error) {
	t := &trusted{fsys: fsys, dir: dir, domain: domain, log: slog.New(slog.DiscardHandler)}
	if err := t.readHead(); err != nil || t.head.Format == 0 {
		return 0, nil, err // Inspect says so
	}
	lines, err := readAcceptedLines(fsys, dir)
	if err != nil {
		return 0, nil, err
	}
	if store.Trees().LogLength < t.head.view.LogLength {
		return 0, nil, ErrNotHeld
	}
	op, err := heldOperator(store, t.head.view.LogLength)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrNotHeld, err)
	}
	if pin == "" {
		pin = t.head.OperatorKey
	}
	j := judged{op: op, store: store}
	if !op.hangsOn(pin, t.head.signed) {
		j.say(t.path(headFile), 0, "it hangs on operator key `%s`, and `%s` is pinned", op.signer, pin)
	}
	for _, l := range lines {
		if l.bad == nil {
			j.checkpoint(l.signed, filepath.Join(dir, acceptedFile), l.offset)
		}
	}
	j.edge, j.lost = vlog.Edge{}, false
	j.checkpoint(t.head.signed, t.path(headFile), 0)
	return j.verified, j.flaws, nil
}

// judged is an inspection under way.
type judged struct {
	op       *operator
	store    Store
	edge     vlog.Edge // of the ledger, as far as it was read
	lost     bool      // the ledger could not be read on
	verified int
	flaws    []Flaw
}

func (j *judged) say(file string, offset int64, format string, args ...any) {
	j.flaws = append(j.flaws, Flaw{file, offset, fmt.Sprintf(format, args...)})
}

// checkpoint judges one checkpoint. They come by ascending length; one that does not is
// written twice after a crash, and was judged.
func (j *judged) checkpoint(s warg.SignedCheckpoint, file string, offset int64) {
	view, err := j.op.open(s)
	if err != nil {
		j.say(file, offset, "the checkpoint of length %d: %v", s.Unverified().LogLength, err)
		return
	}
	j.verified++
	if view.LogLength < j.edge.Len() || j.lost {
		return
	}
	if err := j.readTo(view.LogLength); err != nil {
		j.lost = true
		j.say(file, offset, "reading the ledger up to length %d: %v", view.LogLength, err)
		return
	}
	if root := j.edge.Root(); root != view.LogRoot {
		j.say(file, offset, "the ledger leads to log root %s at length %d, and %s was signed", root, view.LogLength, view.LogRoot)
	}
	if trees := j.store.Trees(); trees.LogLength == view.LogLength && trees.MapRoot != view.MapRoot {
		j.say(file, offset, "the replica has map root %s at length %d, and %s was signed", trees.MapRoot, view.LogLength, view.MapRoot)
	}
}

// readTo reads the ledger up to a length.
func (j *judged) readTo(length uint64) error {
	for j.edge.Len() < length {
		packed, err := j.store.Ledger(j.edge.Len(), int(min(length-j.edge.Len(), ledgerChunk)))
		if err != nil {
			return err
		}
		if len(packed) < warg.LedgerEntrySize {
			return fmt.Errorf("it ends at %d", j.edge.Len())
		}
		for ; len(packed) >= warg.LedgerEntrySize; packed = packed[warg.LedgerEntrySize:] {
			leaf := warg.Leaf{LogID: warg.LogID(packed[:warg.DigestSize]), RecordID: warg.RecordID(packed[warg.DigestSize:warg.LedgerEntrySize])}
			j.edge.Append(vlog.LeafHash(leaf.LogValue()))
		}
	}
	return nil
}
