package api

import (
	"math"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// AppendVerification appends the answer of OpVerify.
func AppendVerification(dst []byte, v warg.Verification) []byte {
	dst = appendPlain(append(dst, `{"checkpoint":`...), v.Checkpoint.String())
	dst = appendPlain(append(dst, `,"signature":`...), v.Signature.String())
	if v.RetryAfter > 0 {
		dst = strconv.AppendInt(append(dst, `,"retryAfter":`...), int64(v.RetryAfter), 10)
	}
	return append(dst, '}')
}

// ParseVerification reads the answer of OpVerify.
func ParseVerification(body []byte) (warg.Verification, error) {
	var v warg.Verification
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"checkpoint", "signature", "retryAfter"}, Required: 2}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			v.Checkpoint = readVerdict(d)
		case 1:
			v.Signature = readVerdict(d)
		case 2:
			if !d.Null() {
				v.RetryAfter = int(d.Uint(math.MaxInt32))
			}
		}
	}
	if err := d.Err(); err != nil {
		return warg.Verification{}, err
	}
	return v, nil
}

func readVerdict(d *strictjson.Decoder) warg.Verdict {
	text := d.String()
	for _, v := range [...]warg.Verdict{warg.Unverified, warg.Verified, warg.Invalid} {
		if v.String() == text {
			return v
		}
	}
	d.Fail("unknown verdict %s", quoteClipped(text))
	return warg.Unverified
}
