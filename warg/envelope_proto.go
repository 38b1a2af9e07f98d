package warg

import (
	"fmt"

	"github.com/entrepot/entrepot/warg/internal/pb"
)

// Field numbers of the message Envelope.
const (
	envelopeContents  = 1
	envelopeKeyID     = 2
	envelopeSignature = 3
)

// ParseEnvelopeProto reads the protobuf form of an envelope. It checks the
// signature's form but not the signature, and does not look into the content.
// The content aliases b.
func ParseEnvelopeProto(b []byte) (Envelope, error) {
	var e Envelope
	var signature string
	r := pb.NewReader(b)
	for r.Next() {
		switch r.Number() {
		case envelopeContents:
			e.Content = r.Bytes()
		case envelopeKeyID:
			e.KeyID = KeyID(r.Text())
		case envelopeSignature:
			signature = r.Text()
		}
	}
	if err := r.Err(); err != nil {
		return Envelope{}, fmt.Errorf("reading envelope: %w", err)
	}
	var err error
	if e.Signature, err = ParseSignature(signature); err != nil {
		return Envelope{}, fmt.Errorf("reading signature of envelope: %w", err)
	}
	return e, nil
}

// AppendProto appends the canonical protobuf form of the envelope to b.
func (e Envelope) AppendProto(b []byte) []byte {
	b = pb.AppendBytes(b, envelopeContents, e.Content)
	b = pb.AppendText(b, envelopeKeyID, string(e.KeyID))
	return pb.AppendText(b, envelopeSignature, e.Signature.String())
}
