package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// Kind says in which kind of log a record stands.
type Kind uint8

// The kinds.
const (
	Operator Kind = iota + 1
	Package
)

// Frame is one leaf of the registry with the record that it stands for.
type Frame struct {
	Index    uint64
	Kind     Kind
	Name     warg.PackageName // zero for the operator log
	Log      warg.LogID
	Record   warg.RecordID // derived from the envelope
	Leaf     warg.Digest   // leaf hash of Log and Record
	Envelope warg.Envelope
}

// NewFrame returns the frame of a record; the zero name means the operator log.
func NewFrame(index uint64, name warg.PackageName, env warg.Envelope) Frame {
	f := Frame{Index: index, Kind: Package, Name: name, Envelope: env}
	if name.IsZero() {
		f.Kind, f.Log = Operator, warg.OperatorLogID
	} else {
		f.Log = name.LogID()
	}
	f.Record = env.RecordID(f.Log)
	f.Leaf = LeafHash(f.Value())
	return f
}

// Value returns the leaf as the trees know it.
func (f Frame) Value() warg.Leaf { return warg.Leaf{LogID: f.Log, RecordID: f.Record} }

// LeafHash returns the hash of a leaf in the log tree.
func LeafHash(l warg.Leaf) warg.Digest { return vlog.LeafHash(l.LogValue()) }

const fixedSize = 8 + 1 + 1

// encode returns the payload of the frame.
func (f Frame) encode() []byte {
	name := f.Name.String()
	b := make([]byte, 0, fixedSize+len(name)+2*warg.DigestSize+len(f.Envelope.Content)+256)
	b = binary.BigEndian.AppendUint64(b, f.Index)
	b = append(b, byte(f.Kind), byte(len(name)))
	b = append(b, name...)
	b = append(b, f.Log[:]...)
	b = append(b, f.Leaf[:]...)
	return f.Envelope.AppendProto(b)
}

// decode reads a payload and recomputes everything that can be computed. The
// frame shares no memory with b.
func decode(b []byte) (Frame, error) {
	if len(b) < fixedSize || len(b) < fixedSize+int(b[9])+2*warg.DigestSize {
		return Frame{}, errors.New("frame is too short")
	}
	index, kind := binary.BigEndian.Uint64(b), Kind(b[8])
	text, rest := string(b[fixedSize:fixedSize+int(b[9])]), b[fixedSize+int(b[9]):]
	env, err := warg.ParseEnvelopeProto(append([]byte(nil), rest[2*warg.DigestSize:]...))
	if err != nil {
		return Frame{}, fmt.Errorf("reading frame: %w", err)
	}
	var name warg.PackageName
	if kind == Package {
		if name, err = warg.ParsePackageName(text); err != nil {
			return Frame{}, fmt.Errorf("reading frame: %w", err)
		}
	}
	f := NewFrame(index, name, env)
	switch {
	case f.Kind != kind || kind == Operator && text != "":
		return Frame{}, errors.New("frame is of no known kind")
	case f.Log != warg.LogID(rest[:warg.DigestSize]):
		return Frame{}, errors.New("frame's log id is not that of its name")
	case f.Leaf != warg.Digest(rest[warg.DigestSize:]):
		return Frame{}, errors.New("frame's leaf hash is not that of its record")
	}
	return f, nil
}
