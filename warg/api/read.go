package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// What the message of a refused JSON body begins with. Clients and tests know
// these texts; only what follows is ours.
const (
	syntaxPrefix = "Failed to parse the request body as JSON: "
	shapePrefix  = "Failed to deserialize the JSON body into the target type: "
)

// requestError turns an error of reading a request body into what the client is
// told: 400 for text that is not JSON, 422 for JSON of the wrong shape.
func requestError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*strictjson.Error](err); ok && e.Kind == strictjson.Syntax {
		return warg.Errorf(warg.KindBadRequest, syntaxPrefix+"%w", err)
	}
	return warg.Errorf(warg.KindUnprocessable, shapePrefix+"%w", err)
}

// readDigest reads a digest of 32 bytes.
func readDigest(d *strictjson.Decoder) warg.Digest {
	digest, err := warg.ParseDigest(d.String())
	d.FailWith(err)
	return digest
}

// keyDigest reads the name of the current member of a map as a digest of 32 bytes.
func keyDigest(d *strictjson.Decoder) warg.Digest {
	digest, err := warg.ParseDigest(string(d.Name()))
	d.FailWith(err)
	return digest
}

// readHash reads a hash of any length.
func readHash(d *strictjson.Decoder) warg.AnyHash {
	h, err := warg.ParseAnyHash(d.String())
	d.FailWith(err)
	return h
}

// readToken reads an opaque fetch token, or null as the empty one.
func readToken(d *strictjson.Decoder) (token string, null bool) {
	if d.Null() {
		return "", true
	}
	return d.String(), false
}

var errBase64 = errors.New("invalid base64")

// rawBase64 is standard base64 without padding, whose unused bits must be zero.
var rawBase64 = base64.RawStdEncoding.Strict()

// readBytes reads bytes in base64: the standard alphabet, nothing between the
// characters, unused bits zero, and from none to all of the padding.
func readBytes(d *strictjson.Decoder) []byte {
	text := d.Text()
	digits := bytes.TrimRight(text, "=")
	canonical := (4 - len(digits)%4) % 4
	lineBreak := bytes.IndexByte(digits, '\n') >= 0 || bytes.IndexByte(digits, '\r') >= 0
	if len(text)-len(digits) > canonical || lineBreak {
		d.FailWith(errBase64)
		return nil
	}
	b := make([]byte, rawBase64.DecodedLen(len(digits)))
	if _, err := rawBase64.Decode(b, digits); err != nil {
		d.FailWith(errBase64)
		return nil
	}
	return b
}

// appendBytes appends bytes as a padded base64 string.
func appendBytes(dst, b []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b)
	return append(dst, '"')
}

// appendDigest appends the text form of a digest as a string.
func appendDigest(dst []byte, digest warg.Digest) []byte {
	return append(digest.AppendText(append(dst, '"')), '"')
}

// appendSignature appends the text form of a signature as a string.
func appendSignature(dst []byte, sig warg.Signature) []byte {
	return append(sig.AppendText(append(dst, '"')), '"')
}

// appendHash appends the text form of a hash as a string.
func appendHash(dst []byte, h warg.AnyHash) []byte {
	return append(h.AppendText(append(dst, '"')), '"')
}

// appendPlain appends as a string a text that is known to need no escapes.
func appendPlain(dst []byte, s string) []byte {
	dst = append(append(dst, '"'), s...)
	return append(dst, '"')
}

// hasControl reports whether s has bytes that must not stand in a URL we follow.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
