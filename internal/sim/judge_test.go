package sim

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// judge remembers everything that anybody was told about our own registry and about
// the upstream, and what is wrong with it.
type judge struct {
	mu       sync.Mutex
	own      history
	up       history
	facts    map[warg.RecordID]*fact
	verdicts []string
}

// history is what is known of one registry.
type history struct {
	heads  map[uint64]warg.Checkpoint // by length, as seen
	last   warg.Checkpoint            // newest that was seen
	leaves []warg.Leaf                // as far as the ledger was read
	log    vlog.Log                   // of leaves
	maps   vmap.Map                   // of leaves
	roots  []warg.Checkpoint          // what leaves lead to, by length
}

// fact is what was promised about a record of our registry.
type fact struct {
	name     warg.PackageName
	env      warg.Envelope
	contents [][]byte
	uploaded map[warg.Digest]bool // acknowledged
	state    warg.State           // best that was promised; 0 = nothing
	index    uint64
	reason   string
}

func newJudge() *judge {
	return &judge{own: newHistory(), up: newHistory(), facts: map[warg.RecordID]*fact{}}
}

func newHistory() history {
	return history{heads: map[uint64]warg.Checkpoint{}, roots: make([]warg.Checkpoint, 1)}
}

// wrong notes that a promise was broken.
func (j *judge) wrong(format string, args ...any) {
	if v := fmt.Sprintf(format, args...); !slices.Contains(j.verdicts, v) {
		j.verdicts = append(j.verdicts, v)
	}
}

func (j *judge) guilty() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.verdicts)
}

// saw judges a checkpoint that somebody was shown: the view of a registry never goes
// back, and no length has two roots.
func (j *judge) saw(who string, h *history, c warg.Checkpoint) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old, ok := h.heads[c.LogLength]; ok && !old.SameView(c) {
		j.wrong("%s: two checkpoints of length %d", who, c.LogLength)
	}
	h.heads[c.LogLength] = c
	if c.LogLength < h.last.LogLength || c.Timestamp < h.last.Timestamp {
		j.wrong("%s: the view went back from %d (%d) to %d (%d)", who, h.last.LogLength, h.last.Timestamp, c.LogLength, c.Timestamp)
		return
	}
	h.last = c
}

// read judges a piece of a ledger: what stood there once stands there for ever.
func (j *judge) read(who string, h *history, start uint64, packed []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for b := range slices.Chunk(packed, warg.LedgerEntrySize) {
		leaf := warg.Leaf{LogID: warg.LogID(b[:warg.DigestSize]), RecordID: warg.RecordID(b[warg.DigestSize:])}
		switch n := uint64(len(h.leaves)); {
		case start < n && h.leaves[start] != leaf:
			j.wrong("%s: the ledger changed at index %d", who, start)
		case start == n:
			h.add(leaf)
		}
		start++
	}
	for n, c := range h.heads {
		if n == 0 || n > uint64(len(h.leaves)) {
			continue
		}
		if !c.SameView(h.roots[n]) {
			j.wrong("%s: the ledger does not lead to the roots of length %d", who, n)
		}
	}
}

func (h *history) add(leaf warg.Leaf) {
	h.leaves = append(h.leaves, leaf)
	h.log.Append(vlog.LeafHash(leaf.LogValue()))
	h.maps = h.maps.Update([]vmap.Entry{{Key: leaf.MapKey(), Value: leaf.MapValue()}})
	h.roots = append(h.roots, warg.Checkpoint{LogLength: h.log.Len(), LogRoot: h.log.Root(), MapRoot: h.maps.Root()})
}

// accepted notes what a publisher was promised about a record.
func (j *judge) accepted(name warg.PackageName, env warg.Envelope, contents [][]byte, st warg.RecordStatus) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.facts[st.RecordID]
	if f == nil {
		f = &fact{name: name, env: env, contents: contents, uploaded: map[warg.Digest]bool{}}
		j.facts[st.RecordID] = f
	}
	j.promise(f, st)
}

// uploaded notes that content was acknowledged.
func (j *judge) uploaded(id warg.RecordID, d warg.Digest) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.facts[id].uploaded[d] = true
}

// promise compares a state with what was promised before.
func (j *judge) promise(f *fact, st warg.RecordStatus) {
	final := f.state == warg.StatePublished || f.state == warg.StateRejected
	switch {
	case final && st.State != f.state:
		j.wrong("record %s of %s was %s, now it is %s", st.RecordID, f.name, f.state, st.State)
	case f.state == warg.StatePublished && st.Index != f.index:
		j.wrong("record %s moved from index %d to %d", st.RecordID, f.index, st.Index)
	case f.state == warg.StateRejected && st.Reason != f.reason:
		j.wrong("record %s was rejected because %q, now because %q", st.RecordID, f.reason, st.Reason)
	case st.State == warg.StateSourcing:
		for _, d := range st.Missing {
			if f.uploaded[d] {
				j.wrong("content %s of record %s was received, now it is missing", d, st.RecordID)
			}
		}
	}
	f.state, f.index, f.reason = st.State, st.Index, st.Reason
}

// known returns what was promised about a record, and whether anything was.
func (j *judge) known(id warg.RecordID) (fact, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f, ok := j.facts[id]
	if !ok {
		return fact{}, false
	}
	return *f, true
}

// records returns the ids of everything that was promised, in order.
func (j *judge) records() []warg.RecordID {
	j.mu.Lock()
	defer j.mu.Unlock()
	ids := make([]warg.RecordID, 0, len(j.facts))
	for id := range j.facts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b warg.RecordID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

// log judges the records of a package of ours as a reader of a length saw them: each
// is what its author signed, and every published one below the length is there.
func (j *judge) logRead(name warg.PackageName, length uint64, records []warg.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := map[warg.RecordID]uint64{}
	for _, r := range records {
		id := r.PackageRecordID()
		seen[id] = r.Index
		f := j.facts[id]
		switch {
		case f == nil: // the answer to its publisher was lost
		case f.name != name || !bytes.Equal(f.env.Content, r.Content):
			j.wrong("a reader of %s got another record than was published", name)
		case f.state == warg.StatePublished && f.index != r.Index:
			j.wrong("record %s stands at index %d, its publisher was told %d", id, r.Index, f.index)
		}
	}
	for id, f := range j.facts {
		if f.name != name || f.state != warg.StatePublished || f.index >= length {
			continue
		}
		if _, ok := seen[id]; !ok {
			j.wrong("published record %s of %s is not there at length %d", id, name, length)
		}
	}
}
