package archive

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/entrepot/entrepot/warg"
)

// Sizes of what many of stand in a frame, and how many do.
const (
	digestSize  = warg.DigestSize
	leafSize    = warg.LedgerEntrySize
	baseLogSize = digestSize + 8 + 1

	leavesPerFrame       = 16 << 10
	baseLogsPerFrame     = 16 << 10
	baseContentsPerFrame = 32 << 10
	checkpointsPerFrame  = 1 << 10
	bytesPerFrame        = 256 << 10
)

// errPayload says that a payload does not have the form of its kind.
var errPayload = errors.New("it does not have the form that it should have")

// encoder writes the fields of payloads. A text that is too long is found when the
// payload is used.
type encoder struct {
	b   []byte
	err error
}

func (e *encoder) u8(v uint8)   { e.b = append(e.b, v) }
func (e *encoder) u32(v uint32) { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64) { e.b = binary.BigEndian.AppendUint64(e.b, v) }

func (e *encoder) digest(d warg.Digest) { e.b = append(e.b, d[:]...) }

func (e *encoder) text(s string) {
	if len(s) > math.MaxUint16 {
		e.err = errors.New("a text is too long to be archived")
		return
	}
	e.b = append(binary.BigEndian.AppendUint16(e.b, uint16(len(s))), s...)
}

func (e *encoder) checkpoint(s warg.SignedCheckpoint) {
	c := s.Unverified()
	logRoot, logErr := c.LogRoot.Digest()
	mapRoot, mapErr := c.MapRoot.Digest()
	if err := errors.Join(logErr, mapErr); err != nil {
		e.err = err
		return
	}
	e.u64(c.LogLength)
	e.digest(logRoot)
	e.digest(mapRoot)
	e.u64(c.Timestamp)
	e.text(string(s.KeyID()))
	e.text(s.Signature().String())
}

func (e *encoder) record(r warg.Record) {
	e.u64(r.Index)
	e.text(r.Token)
	e.text(string(r.KeyID))
	e.text(r.Signature.String())
	e.b = append(e.b, r.Content...)
}

// decoder reads the fields of payloads. After something was missing or wrong it
// reads zeros, and end reports it.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || len(d.b) < n {
		d.bad, d.b = true, nil
		return make([]byte, n) // of the size of a field, or of a text that was measured
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8() uint8           { return d.take(1)[0] }
func (d *decoder) u32() uint32         { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64         { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) digest() warg.Digest { return warg.Digest(d.take(digestSize)) }
func (d *decoder) text() string        { return string(d.take(int(binary.BigEndian.Uint16(d.take(2))))) }

func (d *decoder) signature() warg.Signature {
	sig, err := warg.ParseSignature(d.text())
	d.bad = d.bad || err != nil
	return sig
}

func (d *decoder) checkpoint() warg.SignedCheckpoint {
	length, logRoot, mapRoot, time := d.u64(), d.digest(), d.digest(), d.u64()
	claims := warg.CheckpointClaims{LogLength: length, LogRoot: logRoot.AnyHash(), MapRoot: mapRoot.AnyHash(), Timestamp: time}
	key := warg.KeyID(d.text())
	return warg.NewSignedCheckpoint(claims, key, d.signature())
}

// record reads a record up to the end of the payload. Nothing of it aliases the
// payload.
func (d *decoder) record() (r warg.Record) {
	r.Index, r.Token, r.KeyID, r.Signature = d.u64(), d.text(), warg.KeyID(d.text()), d.signature()
	r.Content = append([]byte{}, d.b...)
	d.b = nil
	return r
}

// end fails unless the payload was read exactly to its end.
func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return errPayload
	}
	return nil
}

// baseLog is what the archives before have of a package log.
type baseLog struct {
	log     warg.LogID
	records uint64 // counted from the first
	named   bool
}

func (e *encoder) baseLog(l baseLog) {
	e.digest(warg.Digest(l.log))
	e.u64(l.records)
	named := uint8(0)
	if l.named {
		named = 1
	}
	e.u8(named)
}

func (d *decoder) baseLog() baseLog {
	l := baseLog{log: warg.LogID(d.digest()), records: d.u64()}
	named := d.u8()
	l.named = named == 1
	d.bad = d.bad || named > 1
	return l
}

// packageHead is the payload of a P frame.
type packageHead struct {
	log   warg.LogID
	first uint64 // of its records that are carried
	count uint64
	name  warg.PackageName // zero if it is not known
}

func (e *encoder) packageHead(p packageHead) {
	e.digest(warg.Digest(p.log))
	e.u64(p.first)
	e.u64(p.count)
	e.text(p.name.String())
}

func (d *decoder) packageHead() (p packageHead) {
	p.log, p.first, p.count = warg.LogID(d.digest()), d.u64(), d.u64()
	if text := d.text(); text != "" {
		name, err := warg.ParsePackageName(text)
		d.bad = d.bad || err != nil
		p.name = name
	}
	return p
}

// Counts says how much there is of a registry in an archive.
type Counts struct {
	Checkpoints  uint64 `json:"checkpoints"` // besides the newest
	Leaves       uint64 `json:"leaves"`
	Operator     uint64 `json:"operatorRecords"`
	Packages     uint64 `json:"packages"`
	Records      uint64 `json:"records"` // of packages
	Contents     uint64 `json:"contents"`
	ContentBytes uint64 `json:"contentBytes"`
}

func (e *encoder) counts(c Counts) {
	for _, n := range []uint64{c.Checkpoints, c.Leaves, c.Operator, c.Packages, c.Records, c.Contents, c.ContentBytes} {
		e.u64(n)
	}
}

func (d *decoder) counts() (c Counts) {
	for _, n := range []*uint64{&c.Checkpoints, &c.Leaves, &c.Operator, &c.Packages, &c.Records, &c.Contents, &c.ContentBytes} {
		*n = d.u64()
	}
	return c
}
