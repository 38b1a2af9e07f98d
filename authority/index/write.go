package index

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Entry is a record that a batch adds to the registry.
type Entry struct {
	Name     warg.PackageName // zero for the operator log
	Leaf     warg.Leaf
	Index    uint64
	Position segment.Position
	Contents []warg.Digest // what its entries release
}

type putFunc func(key, value []byte) error

// put writes framed values in as many transactions as needed.
func (x *Index) put(write func(putFunc) error) error {
	x.absent.begin()
	defer x.absent.end()
	return kv.Write(x.db, func(set func(key, value []byte) error) error {
		return write(func(key, value []byte) error {
			x.absent.forget(key)
			return set(key, value)
		})
	})
}

func (x *Index) putHeader(put putFunc, segments uint64) error {
	b := append([]byte{formatVersion}, x.o.Registry[:]...)
	b = binary.BigEndian.AppendUint64(b, segments)
	key := []byte{keyHeader}
	return put(key, tree.Seal(key, b))
}

// Commit adds a batch, whose update must have been prepared from the head and
// whose entries are in the order of the registry, and makes it visible.
func (x *Index) Commit(u *tree.Update, batch []Entry) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	logs := map[warg.LogID]*Log{}
	err := x.put(func(put putFunc) error {
		if err := x.putBatch(put, batch, logs); err != nil {
			return err
		}
		return u.Write(put)
	})
	if err == nil {
		err = x.put(func(put putFunc) error { return u.WriteHead(put) })
	}
	if err == nil {
		err = u.Publish()
	}
	if err == nil {
		err = x.bound(len(batch))
	}
	if err != nil {
		x.heads.Purge()
		return fmt.Errorf("writing index: %w", err)
	}
	for id, l := range logs {
		x.heads.Add(id, *l)
	}
	return nil
}

// bound sees to it that no more than Options.Lag leaves can be lost, with the batch that
// may come next.
func (x *Index) bound(leaves int) error {
	x.unsynced += leaves
	if x.bulk || x.unsynced+leaves <= cmp.Or(x.o.Lag, MaxLag) {
		return nil
	}
	x.unsynced = 0
	return x.db.Sync()
}

// putBatch writes everything but the trees, and gathers the logs that it adds to.
func (x *Index) putBatch(put putFunc, batch []Entry, logs map[warg.LogID]*Log) error {
	seal := func(key, payload []byte) error { return put(key, tree.Seal(key, payload)) }
	head := x.tree.Head().Length
	released := map[warg.Digest]bool{}
	taken := map[warg.RecordID]warg.LogID{}
	for _, e := range batch {
		l, err := x.logOf(logs, e, head)
		if err != nil {
			return err
		}
		p := Place{e.Index, e.Leaf.RecordID, e.Position}
		if err := seal(placeKey(e.Leaf.LogID, l.Count), p.encode()); err != nil {
			return err
		}
		r := Record{Log: e.Leaf.LogID, State: warg.StatePublished, Index: e.Index, Place: l.Count}
		key, err := x.recordKey(taken, e.Leaf)
		if err != nil {
			return err
		}
		if err := seal(key, r.encode()); err != nil {
			return err
		}
		l.Count++
		for _, d := range contents(e.Contents) {
			if err := x.release(seal, released, d, e.Index); err != nil {
				return err
			}
		}
	}
	for id, l := range logs {
		b := binary.BigEndian.AppendUint32(nil, l.Count)
		if err := seal(logKey(id), append(b, l.Name.String()...)); err != nil {
			return err
		}
	}
	return nil
}

// recordKey returns where a record of a log is kept. taken are the keys of ids that
// the batch has used so far.
func (x *Index) recordKey(taken map[warg.RecordID]warg.LogID, leaf warg.Leaf) ([]byte, error) {
	log, ok := taken[leaf.RecordID]
	if !ok {
		r, known, err := x.Record(leaf.RecordID)
		if err != nil {
			return nil, err
		}
		if log = leaf.LogID; known {
			log = r.Log
		}
		taken[leaf.RecordID] = log
	}
	if log != leaf.LogID {
		return otherKey(leaf.LogID, leaf.RecordID), nil
	}
	return recordKey(leaf.RecordID), nil
}

// logOf returns a log as this batch has made it so far.
func (x *Index) logOf(logs map[warg.LogID]*Log, e Entry, head uint64) (*Log, error) {
	if l := logs[e.Leaf.LogID]; l != nil {
		return l, nil
	}
	l, ok := x.heads.Get(e.Leaf.LogID)
	if !ok {
		var err error
		if l, _, err = x.Log(e.Leaf.LogID, head); err != nil {
			return nil, err
		}
	}
	l.Name = e.Name
	logs[e.Leaf.LogID] = &l
	return &l, nil
}

// release notes the first record that releases content.
func (x *Index) release(seal putFunc, done map[warg.Digest]bool, d warg.Digest, index uint64) error {
	if done[d] {
		return nil
	}
	done[d] = true
	if _, ok, err := x.Released(d); ok || err != nil {
		return err
	}
	return seal(contentKey(d), binary.BigEndian.AppendUint64(nil, index))
}

// Reject notes that a record was rejected. A published record stays published.
func (x *Index) Reject(log warg.LogID, id warg.RecordID, reason string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r, ok, err := x.RecordOf(log, id); err != nil || ok && r.State == warg.StatePublished {
		return err
	}
	key, err := x.recordKey(map[warg.RecordID]warg.LogID{}, warg.Leaf{LogID: log, RecordID: id})
	if err != nil {
		return err
	}
	err = x.put(func(put putFunc) error {
		return put(key, tree.Seal(key, Record{Log: log, State: warg.StateRejected, Reason: reason}.encode()))
	})
	if err != nil {
		return fmt.Errorf("writing index: %w", err)
	}
	return nil
}

// SetSegment notes that all rejections in segments of submissions before the
// given one are in the index.
func (x *Index) SetSegment(segment uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if segment == x.segments {
		return nil
	}
	if err := x.put(func(put putFunc) error { return x.putHeader(put, segment) }); err != nil {
		return fmt.Errorf("writing index: %w", err)
	}
	x.segments = segment
	return nil
}
