// Package logstate holds what package logs and operator logs share: the frame of
// a record on the wire, and the state of a log's head, keys and permissions with
// the rules for changing it. What differs, the entries, is in pkglog and oplog.
package logstate

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/pb"
)

// HashAlgorithm is the only hash algorithm that an init entry may name.
const HashAlgorithm = "sha256"

// Field numbers of the messages PackageRecord and OperatorRecord, which agree,
// and of Timestamp.
const (
	recordPrev    = 1
	recordVersion = 2
	recordTime    = 3
	recordEntries = 4

	timeSeconds = 1
	timeNanos   = 2
)

// Frame is a record without its entries.
type Frame struct {
	Prev    *warg.AnyHash // nil = absent
	Version uint32
	Time    warg.Timestamp
}

// wireTime is a Timestamp message before it is normalized.
type wireTime struct {
	seconds int64
	nanos   int32
}

// DecodeRecord reads a record. It calls entry with a reader for each of the
// entries, in order.
//
// A field may occur more than once: the last prev and version count, times are
// merged, and every entries field is one more entry.
func DecodeRecord(content []byte, entry func(*pb.Reader) error) (Frame, error) {
	var f Frame
	var prev *string
	var time *wireTime
	r := pb.NewReader(content)
	for r.Next() {
		switch r.Number() {
		case recordPrev:
			s := r.Text()
			prev = &s
		case recordVersion:
			f.Version = uint32(r.Varint())
		case recordTime:
			if time == nil {
				time = new(wireTime)
			}
			if err := time.merge(r.Message()); err != nil {
				return Frame{}, err
			}
		case recordEntries:
			if err := entry(r.Message()); err != nil {
				return Frame{}, err
			}
		}
	}
	if err := r.Err(); err != nil {
		return Frame{}, err
	}
	return f, f.convert(prev, time)
}

func (t *wireTime) merge(r *pb.Reader) error {
	for r.Next() {
		switch r.Number() {
		case timeSeconds:
			t.seconds = int64(r.Varint())
		case timeNanos:
			t.nanos = int32(r.Varint())
		}
	}
	return r.Err()
}

func (f *Frame) convert(prev *string, time *wireTime) error {
	if prev != nil {
		h, err := warg.ParseAnyHash(*prev)
		if err != nil {
			return fmt.Errorf("reading prev: %w", err)
		}
		f.Prev = &h
	}
	if time == nil {
		return errors.New("record has no time")
	}
	var ok bool
	if f.Time, ok = warg.NormalizeTimestamp(time.seconds, time.nanos); !ok {
		return errors.New("record has a time out of range")
	}
	return nil
}

// Append appends the fields of f in canonical form. The entries, each appended by
// [Variant.Append], come after them.
func (f Frame) Append(b []byte) []byte {
	if f.Prev != nil {
		b = pb.AppendPresentText(b, recordPrev, f.Prev.String())
	}
	b = pb.AppendVarint(b, recordVersion, uint64(f.Version))
	t := pb.AppendVarint(nil, timeSeconds, uint64(f.Time.Seconds))
	t = pb.AppendVarint(t, timeNanos, uint64(f.Time.Nanos))
	return pb.AppendMessage(b, recordTime, t)
}
