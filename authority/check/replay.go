package check

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// replay lets the registry happen once more, record by record, and compares what comes
// of it with every checkpoint that was issued.
type replay struct {
	c       *checker
	stopped bool // the journal is damaged: what follows leads nowhere

	edge     vlog.Edge
	tree     vmap.Map
	leaves   []vmap.Entry // not yet in tree
	ops      oplog.State
	commits  oplog.CommitHistory
	logs     map[warg.LogID]*pkglog.State
	released map[warg.Digest]uint64 // by the record with this index first

	history *anchor.HistoryReader // nil if it cannot be read
	next    warg.SignedCheckpoint
	more    bool // next is valid
	last    warg.SignedCheckpoint
	index   *indexCheck // nil if that is not looked at
}

func (c *checker) newReplay() (*replay, error) {
	r := &replay{c: c, logs: map[warg.LogID]*pkglog.State{}, released: map[warg.Digest]uint64{}}
	path := c.path(authority.HistoryFile)
	var err error
	var damage *anchor.DamageError
	r.history, err = anchor.ReadHistory(c.o.FS, path, c.registry)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.anchored && c.anchor.IsGenesis():
	case errors.Is(err, fs.ErrNotExist):
		c.say(History, path, 0, "there is none")
	case errors.As(err, &damage):
		c.say(History, path, 0, "%s", damage.Reason)
	case err != nil:
		return nil, err
	}
	if err := r.advance(); err != nil {
		return nil, err
	}
	r.index, err = c.openIndex()
	return r, err
}

func (r *replay) close() {
	if r.history != nil {
		r.history.Close()
	}
	if r.index != nil {
		r.index.close()
	}
}

// advance reads the next checkpoint that was issued.
func (r *replay) advance() error {
	r.last, r.more = r.next, false
	if r.history == nil {
		return nil
	}
	for {
		at := r.history.Offset()
		c, ok, err := r.history.Next()
		var damage *anchor.DamageError
		if errors.As(err, &damage) {
			r.c.say(History, damage.Path, at, "%s", damage.Reason)
			if ok {
				continue // with the block after it
			}
			return nil
		}
		if ok && err == nil {
			r.judgeOrder(c, at)
			r.next, r.more = c, true
		}
		return err
	}
}

// judgeOrder compares a checkpoint with the one before it.
func (r *replay) judgeOrder(c warg.SignedCheckpoint, at int64) {
	last, now := r.last.Unverified(), c.Unverified()
	file := r.c.path(authority.HistoryFile)
	switch {
	case r.last.IsZero():
	case now.LogLength < last.LogLength || now.Timestamp < last.Timestamp:
		r.c.say(History, file, at, "a checkpoint of length %d, time %d, follows one of length %d, time %d",
			now.LogLength, now.Timestamp, last.LogLength, last.Timestamp)
	case now.LogLength == last.LogLength && (now.LogRoot != last.LogRoot || now.MapRoot != last.MapRoot):
		r.c.say(Roots, file, at, "two checkpoints of length %d have different roots", now.LogLength)
	}
	if r.c.anchored && now.LogLength > r.c.report.Length {
		r.c.say(History, file, at, "a checkpoint of length %d that the anchor, at length %d, does not know", now.LogLength, r.c.report.Length)
	}
}

// add takes in a record.
func (r *replay) add(f journal.Frame, p journal.Position, file string) error {
	if r.stopped {
		return nil
	}
	r.edge.Append(f.Leaf)
	leaf := f.Value()
	r.leaves = append(r.leaves, vmap.Entry{Key: leaf.MapKey(), Value: leaf.MapValue()})
	if err := r.apply(f); err != nil {
		if r.c.anchored && f.Index >= r.c.report.Length {
			r.c.note(Journal, file, int64(p.Offset), "the tail is cut at record %d: %v", f.Index, err)
		} else {
			class := Package
			if f.Kind == journal.Operator {
				class = Operator
			}
			r.c.say(class, file, int64(p.Offset), "record %d: %v", f.Index, err)
		}
	}
	if r.index != nil {
		r.index.record(f, p)
	}
	return r.checkpoints()
}

// apply replays a record in its log, signature included.
func (r *replay) apply(f journal.Frame) error {
	if f.Kind == journal.Operator {
		if err := r.ops.Validate(f.Envelope); err != nil {
			return err
		}
		return r.commits.Observe(f.Index, &r.ops)
	}
	state := r.logs[f.Log]
	if state == nil {
		state = new(pkglog.State)
		r.logs[f.Log] = state
	}
	rec, err := pkglog.Decode(f.Envelope.Content)
	if err != nil {
		return err
	}
	for _, e := range rec.Entries {
		if release, ok := e.(pkglog.Release); ok {
			if d, err := release.Content.Digest(); err == nil && f.Index < r.c.report.Length {
				if _, known := r.released[d]; !known {
					r.released[d] = f.Index
				}
			}
		}
	}
	return state.Apply(rec, f.Envelope, pkglog.CheckSignature)
}

// checkpoints compares the registry, as it is now, with all checkpoints of this length.
func (r *replay) checkpoints() error {
	for r.more && r.next.Unverified().LogLength <= r.edge.Len() {
		if r.next.Unverified().LogLength == r.edge.Len() {
			r.compare(r.next, r.c.path(authority.HistoryFile), r.history.Offset())
			if r.index != nil {
				r.index.checkpoint(r.next.Unverified())
			}
			r.c.report.Checkpoints++
		}
		if err := r.advance(); err != nil {
			return err
		}
	}
	ours := r.c.anchor.Signed
	if r.c.anchored && !ours.IsZero() && r.edge.Len() == r.c.report.Length && r.last != ours {
		r.compare(ours, r.c.o.AnchorFile, 0) // it is not in the history, which may be no fault
		r.c.report.Checkpoints++
	}
	return nil
}

// compare judges one checkpoint of the present length.
func (r *replay) compare(signed warg.SignedCheckpoint, file string, at int64) {
	c := signed.Unverified()
	r.tree, r.leaves = r.tree.Update(r.leaves), r.leaves[:0]
	if root := r.edge.Root().AnyHash(); root != c.LogRoot {
		r.c.say(Roots, file, at, "at length %d the journal leads to log root %s, and %s was signed", c.LogLength, root, c.LogRoot)
	}
	if root := r.tree.Root().AnyHash(); root != c.MapRoot {
		r.c.say(Roots, file, at, "at length %d the journal leads to map root %s, and %s was signed", c.LogLength, root, c.MapRoot)
	}
	if err := r.opens(signed); err != nil {
		r.c.say(Signer, file, at, "the checkpoint of length %d: %v", c.LogLength, err)
	}
}

// opens verifies a signature with a key that held commit at that length.
func (r *replay) opens(signed warg.SignedCheckpoint) error {
	key, ok := r.ops.Key(signed.KeyID())
	if !ok || !r.commits.Holds(signed.KeyID(), signed.Unverified().LogLength) {
		return fmt.Errorf("key %s might not sign", signed.KeyID())
	}
	_, err := signed.Open(key)
	return err
}

// edgeAt returns the right edge if it is that of a length.
func (r *replay) edgeAt(length uint64) *vlog.Edge {
	if r.stopped || r.edge.Len() != length {
		return nil
	}
	return &r.edge
}

// finish compares history and anchor, once everything was replayed.
func (r *replay) finish() error {
	r.c.report.Logs = len(r.logs)
	for r.more { // of lengths that the journal does not reach
		if err := r.advance(); err != nil {
			return err
		}
	}
	if r.c.anchored && !r.c.anchor.IsGenesis() && r.history != nil {
		r.ends()
	}
	if r.index != nil && !r.stopped {
		return r.index.finish()
	}
	return nil
}

// ends compares the newest checkpoint of the history with the anchor's.
func (r *replay) ends() {
	path, at := r.c.path(authority.HistoryFile), r.history.Offset()
	ours, last := r.c.anchor.Signed, r.last
	switch {
	case last == ours:
		if r.history.Torn() {
			r.c.note(History, path, at, "something stands behind the last checkpoint")
		}
		return
	case !last.IsZero() && !before(last.Unverified(), ours.Unverified()):
		r.c.say(Anchor, r.c.o.AnchorFile, 0, "its checkpoint of length %d cannot follow the last of the history, of length %d",
			ours.Unverified().LogLength, last.Unverified().LogLength)
		return
	}
	r.c.note(History, path, at, "the anchor's checkpoint is not appended yet")
}

// before reports whether a checkpoint can have been issued before another one.
func before(c, next warg.CheckpointClaims) bool {
	if c.LogLength != next.LogLength {
		return c.LogLength < next.LogLength
	}
	return c.LogRoot == next.LogRoot && c.MapRoot == next.MapRoot && c.Timestamp < next.Timestamp
}
