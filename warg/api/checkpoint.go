package api

import (
	"math"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// AppendCheckpoint appends a signed checkpoint: the answer of OpCheckpoint and the
// request of OpVerify. The text is not what is signed, so writing it anew is safe.
func AppendCheckpoint(dst []byte, s warg.SignedCheckpoint) []byte {
	dst = appendClaims(append(dst, `{"contents":`...), s.Unverified())
	dst = appendMember(dst, "keyId", string(s.KeyID()))
	dst = appendSignature(append(dst, `,"signature":`...), s.Signature())
	return append(dst, '}')
}

func appendClaims(dst []byte, c warg.CheckpointClaims) []byte {
	dst = appendHash(append(dst, `{"logRoot":`...), c.LogRoot)
	dst = strconv.AppendUint(append(dst, `,"logLength":`...), c.LogLength, 10)
	dst = appendHash(append(dst, `,"mapRoot":`...), c.MapRoot)
	dst = strconv.AppendUint(append(dst, `,"timestamp":`...), c.Timestamp, 10)
	return append(dst, '}')
}

// ParseCheckpoint reads a signed checkpoint, as an answer. It verifies nothing.
func ParseCheckpoint(body []byte) (warg.SignedCheckpoint, error) {
	d := strictjson.NewDecoder(body)
	s := readCheckpoint(d)
	if err := d.Err(); err != nil {
		return warg.SignedCheckpoint{}, err
	}
	return s, nil
}

// ParseVerifyRequest reads the request of OpVerify, which is a signed checkpoint.
func ParseVerifyRequest(body []byte) (warg.SignedCheckpoint, error) {
	s, err := ParseCheckpoint(body)
	return s, requestError(err)
}

func readCheckpoint(d *strictjson.Decoder) warg.SignedCheckpoint {
	var (
		claims warg.CheckpointClaims
		keyID  warg.KeyID
		sig    warg.Signature
	)
	f := strictjson.Fields{Names: []string{"contents", "keyId", "signature"}, Required: 3}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			claims = readClaims(d)
		case 1:
			keyID = warg.KeyID(d.String())
		case 2:
			sig = readSignature(d)
		}
	}
	return warg.NewSignedCheckpoint(claims, keyID, sig)
}

func readClaims(d *strictjson.Decoder) (c warg.CheckpointClaims) {
	f := strictjson.Fields{Names: []string{"logRoot", "logLength", "mapRoot", "timestamp"}, Required: 4}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			c.LogRoot = readHash(d)
		case 1:
			c.LogLength = d.Uint(math.MaxUint64)
		case 2:
			c.MapRoot = readHash(d)
		case 3:
			c.Timestamp = d.Uint(math.MaxUint64)
		}
	}
	return c
}

func readSignature(d *strictjson.Decoder) warg.Signature {
	sig, err := warg.ParseSignatureText(d.Text())
	d.FailWith(err)
	return sig
}
