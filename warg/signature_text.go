package warg

import (
	"bytes"
	"crypto/elliptic"
)

// orderP256 is the order of the group, big-endian. It never changes.
var orderP256 = elliptic.P256().Params().N.Bytes()

// belowOrder reports whether a positive integer, big-endian, is below the order.
func belowOrder(v []byte) bool {
	v = bytes.TrimLeft(v, "\x00")
	return len(v) < len(orderP256) || len(v) == len(orderP256) && bytes.Compare(v, orderP256) < 0
}

// maxSignatureText is the longest text of a signature: the base64 of two integers
// of 33 bytes in DER, 72 bytes in all.
const maxSignatureText = len(keyAlgorithm) + 1 + 96

// ParseSignatureText is [ParseSignature] for text in a buffer. It makes no copies on
// the way: pages of records are full of signatures.
func ParseSignatureText(text []byte) (Signature, error) {
	const prefix = keyAlgorithm + ":"
	payload, ok := bytes.CutPrefix(text, []byte(prefix))
	if ok && len(text) <= maxSignatureText && bytes.IndexByte(payload, '\n') < 0 && bytes.IndexByte(payload, '\r') < 0 {
		var der [maxSignatureText]byte
		n, err := strictBase64.Decode(der[:], payload)
		if err == nil && validSignatureDER(der[:n]) {
			return Signature{der: string(der[:n])}, nil
		}
	}
	return ParseSignature(string(text)) // which says what is wrong
}
