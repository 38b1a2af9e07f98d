package api

import (
	"math"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// AppendEnvelope appends a record as it is submitted.
func AppendEnvelope(dst []byte, e warg.Envelope) []byte {
	return append(appendEnvelope(dst, e), '}')
}

// appendEnvelope leaves the object open for further members.
func appendEnvelope(dst []byte, e warg.Envelope) []byte {
	dst = appendBytes(append(dst, `{"contentBytes":`...), e.Content)
	dst = appendMember(dst, "keyId", string(e.KeyID))
	return appendSignature(append(dst, `,"signature":`...), e.Signature)
}

// AppendRecord appends a published record. If r.JSON is at hand it is copied and
// nothing else of r is looked at. A record without a token has no member fetchToken.
func AppendRecord(dst []byte, r warg.Record) []byte {
	if r.JSON != nil {
		return append(dst, r.JSON...)
	}
	dst = appendEnvelope(dst, r.Envelope)
	dst = strconv.AppendUint(append(dst, `,"registryIndex":`...), r.Index, 10)
	if r.Token != "" {
		dst = appendMember(dst, "fetchToken", r.Token)
	}
	return append(dst, '}')
}

// ParseRecord reads a published record, with or without a fetch token.
func ParseRecord(body []byte) (warg.Record, error) {
	d := strictjson.NewDecoder(body)
	r := readRecord(d, requiredWithoutToken, "")
	if err := d.Err(); err != nil {
		return warg.Record{}, err
	}
	return r, nil
}

// How many of a published record's members are required.
const (
	requiredWithoutToken = 4
	requiredWithToken    = 5
)

// readRecord reads a published record. Records of a log are mostly signed by one
// key, so the id is taken from prev where it is the same.
func readRecord(d *strictjson.Decoder, required int, prev warg.KeyID) (r warg.Record) {
	f := strictjson.Fields{
		Names:    []string{"contentBytes", "keyId", "signature", "registryIndex", "fetchToken"},
		Required: required,
	}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			r.Content = readContent(d)
		case 1:
			r.KeyID = warg.KeyID(d.StringLike(string(prev)))
		case 2:
			r.Signature = readSignature(d)
		case 3:
			r.Index = d.Uint(math.MaxUint64)
		case 4:
			r.Token = d.String()
		}
	}
	return r
}

// readEnvelope reads a record as it is submitted.
func readEnvelope(d *strictjson.Decoder) (e warg.Envelope) {
	f := strictjson.Fields{Names: []string{"contentBytes", "keyId", "signature"}, Required: 3}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			e.Content = readContent(d)
		case 1:
			e.KeyID = warg.KeyID(d.String())
		case 2:
			e.Signature = readSignature(d)
		}
	}
	return e
}

// readContent reads a record's content bytes, at most [warg.MaxRecordBytes].
func readContent(d *strictjson.Decoder) []byte {
	b := readBytes(d)
	if len(b) > warg.MaxRecordBytes {
		d.Fail("a record of %d bytes; more than %d are not allowed", len(b), warg.MaxRecordBytes)
	}
	return b
}
