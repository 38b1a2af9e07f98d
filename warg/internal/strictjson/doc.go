// Package strictjson reads JSON from a byte slice by pulling values out of it,
// without reflection, and refuses everything that a lax decoder lets through.
//
// Member names are case-sensitive, a known member may stand only once, a
// required member may be neither missing nor null, strings must be valid UTF-8
// without lone surrogates, numbers must be exact unsigned integers, and
// containers nest at most [MaxDepth] deep. Unknown members are skipped, unless
// they are to be refused; bytes after the value are ignored.
//
// A [Decoder] keeps the first error. Once there is one, every further call
// returns a zero value and every loop ends, so that callers check [Decoder.Err]
// once, at the end:
//
//	d := strictjson.NewDecoder(body)
//	f := strictjson.Fields{Names: []string{"from", "to"}, Required: 2}
//	for d.BeginObject(); d.Field(&f); {
//		switch f.Index {
//		case 0:
//			from = d.Uint(math.MaxUint64)
//		case 1:
//			to = d.Uint(math.MaxUint64)
//		}
//	}
//	return d.Err()
//
// After each of Field, Key and Element exactly one value is to be read or skipped.
package strictjson
