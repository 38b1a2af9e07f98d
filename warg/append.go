package warg

import (
	"encoding/base64"
	"encoding/hex"
)

// AppendText appends the text form to b, or nothing for the zero value.
func (h AnyHash) AppendText(b []byte) []byte {
	if h.raw == "" {
		return b
	}
	b = append(append(b, hashAlgorithm...), ':')
	return hex.AppendEncode(b, []byte(h.raw[1:]))
}

// AppendText appends the text form to b, or nothing for the zero value.
func (s Signature) AppendText(b []byte) []byte {
	if s.der == "" {
		return b
	}
	b = append(append(b, keyAlgorithm...), ':')
	return base64.StdEncoding.AppendEncode(b, []byte(s.der))
}
