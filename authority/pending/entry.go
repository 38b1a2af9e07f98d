package pending

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Kind says what an entry is about.
type Kind uint8

// The kinds of entries.
const (
	Accepted Kind = iota + 1
	Rejected
	carried
)

// Entry is one thing that must not be forgotten.
type Entry struct {
	Kind     Kind
	Time     time.Time
	Name     warg.PackageName // Accepted
	Envelope warg.Envelope    // Accepted
	Log      warg.LogID
	Record   warg.RecordID
	Reason   string // Rejected
}

// Accept returns the entry of an accepted record.
func Accept(at time.Time, name warg.PackageName, env warg.Envelope) Entry {
	return Entry{Kind: Accepted, Time: at, Name: name, Envelope: env, Log: name.LogID(), Record: env.PackageRecordID()}
}

// Reject returns the entry of a rejected record.
func Reject(at time.Time, log warg.LogID, record warg.RecordID, reason string) Entry {
	return Entry{Kind: Rejected, Time: at, Log: log, Record: record, Reason: reason}
}

func (e Entry) encode() []byte {
	b := []byte{byte(e.Kind)}
	switch e.Kind {
	case Accepted:
		b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
		b = append(b, byte(len(e.Name.String())))
		b = append(b, e.Name.String()...)
		b = e.Envelope.AppendProto(b)
	case Rejected:
		b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
		b = append(b, e.Log[:]...)
		b = append(b, e.Record[:]...)
		b = append(b, e.Reason...)
	}
	return b
}

var errShort = errors.New("entry is too short")

// decode reads a payload; the entry shares no memory with it.
func decode(b []byte) (Entry, error) {
	if len(b) == 1 && Kind(b[0]) == carried {
		return Entry{Kind: carried}, nil
	}
	if len(b) < 10 {
		return Entry{}, errShort
	}
	at := time.Unix(0, int64(binary.BigEndian.Uint64(b[1:])))
	switch Kind(b[0]) {
	case Accepted:
		return decodeAccepted(at, b[9:])
	case Rejected:
		rest := b[9:]
		if len(rest) < 2*warg.DigestSize {
			return Entry{}, errShort
		}
		return Reject(at, warg.LogID(rest[:warg.DigestSize]), warg.RecordID(rest[warg.DigestSize:]),
			string(rest[2*warg.DigestSize:])), nil
	}
	return Entry{}, fmt.Errorf("entry of unknown kind %d", b[0])
}

func decodeAccepted(at time.Time, b []byte) (Entry, error) {
	n := int(b[0])
	if len(b) < 1+n {
		return Entry{}, errShort
	}
	name, err := warg.ParsePackageName(string(b[1 : 1+n]))
	if err != nil {
		return Entry{}, err
	}
	env, err := warg.ParseEnvelopeProto(append([]byte(nil), b[1+n:]...))
	if err != nil {
		return Entry{}, err
	}
	return Accept(at, name, env), nil
}
