package tree

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Head is the state of a registry's trees at one length of its log.
type Head struct {
	Length  uint64 // number of leaves
	LogRoot warg.Digest
	MapRoot warg.Digest
}

// record is a head as it is stored, with the place of the map's root.
type record struct {
	Head
	mapRef vmap.Ref
}

// emptyRecord is the head of a tree without leaves.
func emptyRecord() record {
	return record{Head: Head{LogRoot: vlog.EmptyRoot(), MapRoot: vmap.Empty(vmap.Depth)}}
}

const recordSize = 8 + 2*warg.DigestSize + 8

func (r record) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, recordSize), r.Length)
	b = append(b, r.LogRoot[:]...)
	b = append(b, r.MapRoot[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(r.mapRef))
}

func parseRecord(b []byte) (r record, err error) {
	if len(b) != recordSize {
		return r, fmt.Errorf("%w: head record of %d bytes", ErrIndexCorrupt, len(b))
	}
	r.Length = binary.BigEndian.Uint64(b)
	copy(r.LogRoot[:], b[8:])
	copy(r.MapRoot[:], b[8+warg.DigestSize:])
	r.mapRef = vmap.Ref(binary.BigEndian.Uint64(b[8+2*warg.DigestSize:]))
	return r, nil
}

// recordAt returns the head that had the given length, which is at most that of s.
// If no head had it, the error is [warg.KindLengthNotFound].
func (t *Tree) recordAt(s *state, length uint64) (record, error) {
	if length == s.Length && length > 0 {
		return s.record, nil
	}
	notFound := &warg.Error{Kind: warg.KindLengthNotFound, Number: length}
	if length == 0 || length > s.Length {
		return record{}, notFound
	}
	if r, ok := t.records.Get(length); ok {
		return r, nil
	}
	var r record
	err := t.get(t.checkpointKey(length), func(payload []byte) (err error) {
		r, err = parseRecord(payload)
		return err
	})
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return record{}, notFound
	case err != nil:
		return record{}, err
	case r.Length != length:
		return record{}, fmt.Errorf("%w: head of length %d says %d", ErrIndexCorrupt, length, r.Length)
	}
	t.records.Add(length, r)
	return r, nil
}
