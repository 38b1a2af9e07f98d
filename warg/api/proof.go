package api

import (
	"math"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// AppendInclusionRequest appends the request of OpInclusion: to prove the records
// at the given registry indexes at a checkpoint of the given length.
func AppendInclusionRequest(dst []byte, length uint64, leaves []uint64) []byte {
	dst = strconv.AppendUint(append(dst, `{"logLength":`...), length, 10)
	dst = append(dst, `,"leafs":[`...)
	for i, leaf := range leaves {
		dst = strconv.AppendUint(appendComma(dst, i), leaf, 10)
	}
	return append(dst, `]}`...)
}

// ParseInclusionRequest reads the request of OpInclusion. Errors: KindBadRequest if
// the body is not JSON, else KindUnprocessable, also for more than
// [warg.MaxLeaves] leaves.
func ParseInclusionRequest(body []byte) (length uint64, leaves []uint64, err error) {
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"logLength", "leafs"}, Required: 2}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			length = d.Uint(math.MaxUint64)
		case 1:
			for d.BeginArray(); d.Element(); {
				if len(leaves) == warg.MaxLeaves {
					d.Fail("more than %d leaves", warg.MaxLeaves)
				}
				leaves = append(leaves, d.Uint(math.MaxUint64))
			}
		}
	}
	if err := d.Err(); err != nil {
		return 0, nil, requestError(err)
	}
	return length, leaves, nil
}

// AppendInclusion appends the answer of OpInclusion.
func AppendInclusion(dst []byte, p warg.InclusionProof) []byte {
	dst = appendBytes(append(dst, `{"log":`...), p.Log)
	dst = appendBytes(append(dst, `,"map":`...), p.Map)
	return append(dst, '}')
}

// ParseInclusion reads the answer of OpInclusion. The bundles are not decoded.
func ParseInclusion(body []byte) (warg.InclusionProof, error) {
	var p warg.InclusionProof
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"log", "map"}, Required: 2}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			p.Log = readBytes(d)
		case 1:
			p.Map = readBytes(d)
		}
	}
	if err := d.Err(); err != nil {
		return warg.InclusionProof{}, err
	}
	return p, nil
}

// AppendConsistencyRequest appends the request of OpConsistency.
func AppendConsistencyRequest(dst []byte, from, to uint64) []byte {
	dst = strconv.AppendUint(append(dst, `{"from":`...), from, 10)
	dst = strconv.AppendUint(append(dst, `,"to":`...), to, 10)
	return append(dst, '}')
}

// ParseConsistencyRequest reads the request of OpConsistency. Errors:
// KindBadRequest if the body is not JSON, else KindUnprocessable.
func ParseConsistencyRequest(body []byte) (from, to uint64, err error) {
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"from", "to"}, Required: 2}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			from = d.Uint(math.MaxUint64)
		case 1:
			to = d.Uint(math.MaxUint64)
		}
	}
	if err := d.Err(); err != nil {
		return 0, 0, requestError(err)
	}
	return from, to, nil
}

// AppendConsistency appends the answer of OpConsistency, an encoded log proof
// bundle.
func AppendConsistency(dst, bundle []byte) []byte {
	return append(appendBytes(append(dst, `{"proof":`...), bundle), '}')
}

// ParseConsistency reads the answer of OpConsistency. The bundle is not decoded.
func ParseConsistency(body []byte) (bundle []byte, err error) {
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"proof"}, Required: 1}
	for d.BeginObject(); d.Field(&f); {
		bundle = readBytes(d)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return bundle, nil
}
