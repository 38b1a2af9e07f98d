package warg

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// hashAlgorithm is the only hash algorithm of the protocol.
const hashAlgorithm = "sha256"

// DigestSize is the length of a [Digest] in bytes.
const DigestSize = sha256.Size

// digestTextLen is the length of "sha256:" and 64 hexadecimal digits.
const digestTextLen = len(hashAlgorithm) + 1 + 2*DigestSize

// ParseError says why a text is not a value of the protocol.
type ParseError struct {
	Label string // the protocol's name of the condition, for example "UppercaseHex"
	Msg   string // a sentence without a period, for people
}

// Error returns the sentence for people.
func (e *ParseError) Error() string { return e.Msg }

func parseErr(label, format string, args ...any) error {
	return &ParseError{Label: label, Msg: fmt.Sprintf(format, args...)}
}

// AnyHash is a self-describing hash as lax as the protocol allows: the
// algorithm is sha256, but the bytes may be of any length. It occurs only
// inside decoded records, where a shorter value is legal; everything that is
// looked up, compared with a tree, or named in a URL is a [Digest].
//
// The zero AnyHash is no hash at all. AnyHash is comparable.
type AnyHash struct {
	raw string // "\x01" and the bytes; empty for the zero value
}

// ParseAnyHash reads the text form "sha256:" and lower-case hexadecimal
// digits. The order of its checks, and so the error, is that of the protocol.
func ParseAnyHash(s string) (AnyHash, error) {
	algorithm, digits, ok := strings.Cut(s, ":")
	switch {
	case !ok:
		return AnyHash{}, parseErr("IncorrectStructure", "expected two parts for hash; found 1")
	case strings.ContainsAny(digits, "ABCDEF"):
		return AnyHash{}, parseErr("UppercaseHex", "hash contained uppercase hex values")
	case algorithm != hashAlgorithm:
		return AnyHash{}, parseErr("InvalidHashAlgorithm", "unable to parse hash algorithm: Illegal hash algorithm '%s'", algorithm)
	case len(digits)%2 != 0:
		return AnyHash{}, parseErr("InvalidHex", "hexadecimal decode failed: Odd number of digits")
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		at := strings.IndexFunc(digits, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
		odd, _ := utf8.DecodeRuneInString(digits[at:])
		return AnyHash{}, parseErr("InvalidHex", "hexadecimal decode failed: Invalid character '%c' at position %d", odd, at)
	}
	return AnyHash{raw: "\x01" + string(b)}, nil
}

// IsZero reports whether h is the zero value, which is no hash.
func (h AnyHash) IsZero() bool { return h.raw == "" }

// Bytes returns the hash bytes, of any length.
func (h AnyHash) Bytes() []byte {
	if h.raw == "" {
		return nil
	}
	return []byte(h.raw[1:])
}

// String returns the text form, or "" for the zero value.
func (h AnyHash) String() string {
	if h.raw == "" {
		return ""
	}
	return hashAlgorithm + ":" + hex.EncodeToString([]byte(h.raw[1:]))
}

// Digest returns h as a [Digest]; it fails unless h has exactly 32 bytes.
func (h AnyHash) Digest() (Digest, error) {
	var d Digest
	if len(h.raw) != 1+DigestSize {
		return d, parseErr("IncorrectLength", "expected a digest of %d bytes; found %d", DigestSize, max(len(h.raw)-1, 0))
	}
	copy(d[:], h.raw[1:])
	return d, nil
}

// Digest is a SHA-256 digest: of content, of a tree node, or of an identifier.
type Digest [DigestSize]byte

// ParseDigest reads "sha256:" and exactly 64 lower-case hexadecimal digits. A
// shorter or longer hash, which the protocol's text form allows, is refused
// with the label IncorrectLength.
func ParseDigest(s string) (Digest, error) {
	if d, ok := plainDigest(s); ok {
		return d, nil
	}
	h, err := ParseAnyHash(s) // which says what is wrong
	if err != nil {
		return Digest{}, err
	}
	return h.Digest()
}

// plainDigest reads a digest in good form without allocating: requests name them
// by the hundred.
func plainDigest(s string) (d Digest, ok bool) {
	const prefix = hashAlgorithm + ":"
	if len(s) != digestTextLen || s[:len(prefix)] != prefix {
		return d, false
	}
	for i := range d {
		high, okHigh := unhexLower(s[len(prefix)+2*i])
		low, okLow := unhexLower(s[len(prefix)+2*i+1])
		if !okHigh || !okLow {
			return Digest{}, false
		}
		d[i] = high<<4 | low
	}
	return d, true
}

func unhexLower(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// Sum returns the SHA-256 of the concatenation of parts.
func Sum(parts ...[]byte) Digest {
	if len(parts) == 1 {
		return sha256.Sum256(parts[0])
	}
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	var d Digest
	h.Sum(d[:0])
	return d
}

// AnyHash returns d as a self-describing hash.
func (d Digest) AnyHash() AnyHash { return AnyHash{raw: "\x01" + string(d[:])} }

// String returns the text form, 71 characters.
func (d Digest) String() string { return string(d.AppendText(nil)) }

// Hex returns the 64 hexadecimal digits alone, as file names use them.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether all bytes are zero; no input is known to hash to it.
func (d Digest) IsZero() bool { return d == Digest{} }

// Compare orders digests by their bytes.
func (d Digest) Compare(o Digest) int { return bytes.Compare(d[:], o[:]) }

// AppendText appends the text form to b.
func (d Digest) AppendText(b []byte) []byte {
	b = append(b, "sha256:"...)
	return hex.AppendEncode(b, d[:])
}

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return d.AppendText(nil), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Digest) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDigest(string(b))
	return err
}
