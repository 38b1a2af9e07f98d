package sim

import (
	"fmt"
	"slices"
	"sync"

	"github.com/entrepot/entrepot/warg"
)

// book is what one remembers who sees everything: each checkpoint that anybody was ever
// shown, and each acknowledgement that a publisher got. Whatever happens to disks, it
// must be of one history, as far as the peer had seen it.
type book struct {
	heads map[uint64]warg.Checkpoint // newest that was shown, by length
	last  warg.Checkpoint
	acks  map[warg.RecordID]ack

	mu    sync.Mutex
	wrong []string // under mu
}

// ack is what a publisher was told about a published record.
type ack struct {
	name    warg.PackageName
	index   uint64
	content warg.Digest // zero if it was lost, and nobody else had it
}

func newBook() *book {
	return &book{heads: map[uint64]warg.Checkpoint{}, acks: map[warg.RecordID]ack{}}
}

func (b *book) guilty(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
}

// verdict returns what was wrong so far.
func (b *book) verdict() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.wrong)
}

// saw judges a checkpoint that our registry shows.
func (b *book) saw(c warg.Checkpoint) {
	if old, ok := b.heads[c.LogLength]; ok && !old.SameView(c) {
		b.guilty("two checkpoints of length %d", c.LogLength)
		return
	}
	if c.LogLength < b.last.LogLength || c.Timestamp < b.last.Timestamp {
		b.guilty("the view went back from %d (%d) to %d (%d)", b.last.LogLength, b.last.Timestamp, c.LogLength, c.Timestamp)
	}
	b.heads[c.LogLength], b.last = c, c
}

// cut judges what a registry came back with, and forgets what went with a disk and no
// peer had seen, if it may be lost: what the peer saw never may. It returns how much
// that was.
func (b *book) cut(to, peer uint64, mayLose bool) (lost int) {
	if to < peer {
		b.guilty("the registry came back with length %d, the peer had seen %d", to, peer)
	}
	for n := range b.heads {
		if n <= to {
			continue
		}
		if !mayLose {
			b.guilty("length %d was shown, the registry came back with %d", n, to)
		}
		delete(b.heads, n)
		lost++
	}
	for id, a := range b.acks {
		if a.index < to {
			continue
		}
		if !mayLose {
			b.guilty("record %s was published at %d, the registry came back with length %d", id, a.index, to)
		}
		delete(b.acks, id)
		lost++
	}
	if mayLose {
		b.last = warg.Checkpoint{} // of a length that is gone, or signed again after the peer looked
	}
	return lost
}

// read judges the ledger of a registry: it leads to every checkpoint that was shown, and
// has every acknowledged record in its place, and no record twice.
func (b *book) read(leaves []warg.Leaf) {
	h := newHistory()
	at := map[warg.RecordID]uint64{}
	for i, leaf := range leaves {
		h.add(leaf)
		if first, twice := at[leaf.RecordID]; twice {
			b.guilty("record %s stands at %d and at %d", leaf.RecordID, first, i)
		}
		at[leaf.RecordID] = uint64(i)
	}
	for n, c := range b.heads {
		switch {
		case n >= uint64(len(h.roots)):
			b.guilty("length %d was shown, the ledger has %d leaves", n, len(leaves))
		case !c.SameView(h.roots[n]):
			b.guilty("the ledger does not lead to the roots that were shown for length %d", n)
		}
	}
	for id, a := range b.acks {
		if n, ok := at[id]; !ok || n != a.index {
			b.guilty("record %s was published at %d, the ledger has it at %d (%t)", id, a.index, n, ok)
		}
	}
}
