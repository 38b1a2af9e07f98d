package warg

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
)

// keyAlgorithm is the only signature algorithm of the protocol: ECDSA on P-256
// with SHA-256.
const keyAlgorithm = "ecdsa-p256"

// KeyID is the fingerprint of a public key: the text form of the SHA-256 of the
// key's text form. Where a key id is read from the wire any text is accepted; it
// is only ever looked up in a log's key table.
type KeyID string

// strictBase64 is standard base64 with canonical padding. The line breaks that
// the standard library skips are refused by decodeBase64.
var strictBase64 = base64.StdEncoding.Strict()

func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, parseErr("Base64DecodeError", "base64 contains a line break")
	}
	b, err := strictBase64.DecodeString(s)
	if err != nil {
		return nil, parseErr("Base64DecodeError", "base64 decode failed: %v", err)
	}
	return b, nil
}

// decodeAlgorithmText splits "ecdsa-p256:<base64>" where exactly one colon must stand.
func decodeAlgorithmText(s string) ([]byte, error) {
	if strings.Count(s, ":") != 1 {
		return nil, parseErr("IncorrectStructure", "expected two parts separated by one colon; found %d", strings.Count(s, ":")+1)
	}
	algorithm, payload, _ := strings.Cut(s, ":")
	if algorithm != keyAlgorithm {
		return nil, parseErr("SignatureAlgorithmParseError", "unknown signature algorithm `%s`", algorithm)
	}
	return decodeBase64(payload)
}

func encodeAlgorithmText(b []byte) string {
	return keyAlgorithm + ":" + base64.StdEncoding.EncodeToString(b)
}

// PublicKey is an ECDSA P-256 public key. The zero value is no key.
type PublicKey struct {
	key  *ecdsa.PublicKey
	text string
}

// ParsePublicKey reads "ecdsa-p256:<base64>" of a SEC1 point: compressed,
// uncompressed or compact. All spellings of one point print back, and
// fingerprint, as the compressed one.
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := decodeAlgorithmText(s)
	if err != nil {
		return PublicKey{}, err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), expandPoint(b))
	if err != nil {
		return PublicKey{}, parseErr("SignatureError", "public key is not a point of the curve P-256")
	}
	return newPublicKey(key), nil
}

// Tags and lengths of the encodings of a point (SEC 1, 2.3.3).
const (
	pointEven         = 2 // x, and y is even
	pointOdd          = 3 // x, and y is odd
	pointUncompressed = 4 // x and y
	pointCompact      = 5 // x, and y is the smaller of y and p-y

	coordinateLen = 32
	shortPointLen = 1 + coordinateLen
)

// expandPoint returns the uncompressed encoding of a point in any encoding that
// the protocol accepts. What is not one of those comes back unchanged.
func expandPoint(b []byte) []byte {
	if len(b) != shortPointLen || b[0] != pointEven && b[0] != pointOdd && b[0] != pointCompact {
		return b
	}
	curve := elliptic.P256()
	short := append([]byte{b[0]}, b[1:]...)
	if b[0] == pointCompact {
		short[0] = pointEven
	}
	x, y := elliptic.UnmarshalCompressed(curve, short)
	if x == nil {
		return b
	}
	if other := new(big.Int).Sub(curve.Params().P, y); b[0] == pointCompact && other.Cmp(y) < 0 {
		y = other
	}
	point := make([]byte, 1+2*coordinateLen)
	point[0] = pointUncompressed
	x.FillBytes(point[1:shortPointLen])
	y.FillBytes(point[shortPointLen:])
	return point
}

func newPublicKey(k *ecdsa.PublicKey) PublicKey {
	point, err := k.Bytes()
	if err != nil {
		panic("warg: P-256 point does not encode: " + err.Error()) // the key was validated when made
	}
	short := point[:shortPointLen]
	short[0] = pointEven | point[len(point)-1]&1
	return PublicKey{key: k, text: encodeAlgorithmText(short)}
}

// String returns the text form of the compressed key.
func (k PublicKey) String() string { return k.text }

// IsZero reports whether k is the zero value.
func (k PublicKey) IsZero() bool { return k.key == nil }

// ID returns the key's fingerprint.
func (k PublicKey) ID() KeyID { return KeyID(Sum([]byte(k.text)).String()) }

// VerifyOperatorRecord checks a signature over an operator record's content bytes.
func (k PublicKey) VerifyOperatorRecord(content []byte, sig Signature) error {
	return k.verify(signOperatorRecord, content, sig)
}

// VerifyPackageRecord checks a signature over a package record's content bytes.
func (k PublicKey) VerifyPackageRecord(content []byte, sig Signature) error {
	return k.verify(signPackageRecord, content, sig)
}

func (k PublicKey) verify(prefix string, content []byte, sig Signature) error {
	h := signedHash(prefix, content)
	if k.key == nil || sig.der == "" || !ecdsa.VerifyASN1(k.key, h[:], []byte(sig.der)) {
		return parseErr("SignatureError", "signature `%s` verification failed", sig)
	}
	return nil
}

// signedHash returns the hash that is signed: of the prefix, a colon and the content.
func signedHash(prefix string, content []byte) Digest {
	return Sum([]byte(prefix), []byte{':'}, content)
}

// PrivateKey is an ECDSA P-256 private key. It does not print itself by accident:
// String yields the key id; use [PrivateKey.Text] for the secret.
type PrivateKey struct{ key *ecdsa.PrivateKey }

// ParsePrivateKey reads "ecdsa-p256:<base64>" of a big-endian scalar of 24 to 32 bytes.
func ParsePrivateKey(s string) (PrivateKey, error) {
	algorithm, payload, ok := strings.Cut(s, ":")
	switch {
	case !ok:
		return PrivateKey{}, parseErr("MissingColon", "private key has no colon")
	case algorithm != keyAlgorithm:
		return PrivateKey{}, parseErr("SignatureAlgorithmParseError", "unknown signature algorithm `%s`", algorithm)
	}
	b, err := decodeBase64(payload)
	if err != nil {
		return PrivateKey{}, err
	}
	const shortest, scalarLen = 24, 32
	if len(b) < shortest || len(b) > scalarLen {
		return PrivateKey{}, parseErr("SignatureError", "private key has %d bytes; expected %d to %d", len(b), shortest, scalarLen)
	}
	padded := make([]byte, scalarLen)
	copy(padded[scalarLen-len(b):], b)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), padded)
	if err != nil {
		return PrivateKey{}, parseErr("SignatureError", "private key is not a scalar of the curve P-256")
	}
	return PrivateKey{key}, nil
}

// GenerateKey makes a new private key from the system's random source.
func GenerateKey() (PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("generating an %s key: %w", keyAlgorithm, err)
	}
	return PrivateKey{key}, nil
}

// IsZero reports whether k is the zero value.
func (k PrivateKey) IsZero() bool { return k.key == nil }

// Public returns the public half.
func (k PrivateKey) Public() PublicKey { return newPublicKey(&k.key.PublicKey) }

// Text returns the secret text form "ecdsa-p256:<base64 of the 32-byte scalar>".
func (k PrivateKey) Text() string {
	b, err := k.key.Bytes()
	if err != nil {
		panic("warg: P-256 scalar does not encode: " + err.Error()) // the key was validated when made
	}
	return encodeAlgorithmText(b)
}

// String returns the key id, so that a key in a log line gives nothing away.
func (k PrivateKey) String() string {
	if k.key == nil {
		return "no key"
	}
	return string(k.Public().ID())
}

// GoString keeps the secret out of %#v.
func (k PrivateKey) GoString() string { return "warg.PrivateKey(" + k.String() + ")" }

// SignOperatorRecord signs an operator record's content bytes.
func (k PrivateKey) SignOperatorRecord(content []byte) Signature {
	return k.sign(signOperatorRecord, content)
}

// SignPackageRecord signs a package record's content bytes.
func (k PrivateKey) SignPackageRecord(content []byte) Signature {
	return k.sign(signPackageRecord, content)
}

// sign signs deterministically (RFC 6979), which a nil random source selects.
func (k PrivateKey) sign(prefix string, content []byte) Signature {
	h := signedHash(prefix, content)
	der, err := k.key.Sign(nil, h[:], crypto.SHA256)
	if err != nil {
		panic("warg: signing with a valid P-256 key: " + err.Error()) // no input makes it fail
	}
	return Signature{der: string(der)}
}

// Signature is an ECDSA signature that is well-formed: strict DER with both
// integers in range. The zero value is no signature and verifies nothing.
type Signature struct{ der string }

// ParseSignature reads "ecdsa-p256:<base64 of DER>". Only canonical DER with both
// integers in 1..n-1 is accepted, so what parses prints back the same.
func ParseSignature(s string) (Signature, error) {
	der, err := decodeAlgorithmText(s)
	if err != nil {
		return Signature{}, err
	}
	if !validSignatureDER(der) {
		return Signature{}, parseErr("SignatureError", "signature is not a canonical ASN.1 ECDSA signature")
	}
	return Signature{der: string(der)}, nil
}

// IsZero reports whether s is the zero value.
func (s Signature) IsZero() bool { return s.der == "" }

// String returns the text form, or "" for the zero value.
func (s Signature) String() string {
	if s.der == "" {
		return ""
	}
	return encodeAlgorithmText([]byte(s.der))
}

// MarshalText implements [encoding.TextMarshaler].
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Signature) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSignature(string(b))
	return err
}

// validSignatureDER reports whether der is SEQUENCE { INTEGER r, INTEGER s } in
// its only canonical form, r and s in 1..n-1.
func validSignatureDER(der []byte) bool {
	const sequence, longForm = 0x30, 0x80
	if len(der) < 2 || der[0] != sequence || der[1] >= longForm || int(der[1]) != len(der)-2 {
		return false
	}
	rest, ok := cutScalarDER(der[2:])
	if !ok {
		return false
	}
	rest, ok = cutScalarDER(rest)
	return ok && len(rest) == 0
}

// cutScalarDER removes one minimal positive INTEGER below the group order from
// the front of b.
func cutScalarDER(b []byte) (rest []byte, ok bool) {
	const integer, signBit = 0x02, 0x80
	if len(b) < 3 || b[0] != integer || b[1] == 0 || b[1] > sha256.Size+1 || len(b) < 2+int(b[1]) {
		return nil, false
	}
	v, rest := b[2:2+int(b[1])], b[2+int(b[1]):]
	negative := v[0]&signBit != 0
	padded := v[0] == 0 && (len(v) == 1 || v[1]&signBit == 0)
	if negative || padded {
		return nil, false
	}
	return rest, belowOrder(v)
}
