package api

import (
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// Segment percent-decodes one path segment as it stood in the request, once. A
// percent sign that begins no escape stands for itself. A router that matches
// before it decodes cannot be led astray by an encoded slash; what comes out of
// here may contain one, so it is parsed, never joined to a path.
func Segment(raw string) string {
	if !strings.Contains(raw, "%") {
		return raw
	}
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '%' && i+2 < len(raw) {
			high, okHigh := unhex(raw[i+1])
			low, okLow := unhex(raw[i+2])
			if okHigh && okLow {
				b = append(b, high<<4|low)
				i += 2
				continue
			}
		}
		b = append(b, raw[i])
	}
	return string(b)
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// invalidURL is the error for a path parameter that does not parse.
func invalidURL(format string, args ...any) error {
	return warg.Errorf(warg.KindBadRequest, "Invalid URL: "+format, args...)
}

// SegmentDigest reads a digest from a path segment as it stood in the request.
// The error is KindBadRequest; so it is for a digest of the wrong length.
func SegmentDigest(raw string) (warg.Digest, error) {
	d, err := warg.ParseDigest(Segment(raw))
	if err != nil {
		return warg.Digest{}, invalidURL("%w", err)
	}
	return d, nil
}

// SegmentLogID reads a log id from a path segment, like SegmentDigest.
func SegmentLogID(raw string) (warg.LogID, error) {
	d, err := SegmentDigest(raw)
	return warg.LogID(d), err
}

// SegmentRecordID reads a record id from a path segment, like SegmentDigest.
func SegmentRecordID(raw string) (warg.RecordID, error) {
	d, err := SegmentDigest(raw)
	return warg.RecordID(d), err
}

// SegmentStart reads the first index of a ledger page from a path segment. The
// error is KindBadRequest.
func SegmentStart(raw string) (uint64, error) {
	s := Segment(raw)
	n, ok := parseDecimal(s)
	if !ok {
		return 0, invalidURL("Cannot parse `%s` to a `u64`", quoteClipped(s))
	}
	return n, nil
}

// SegmentDomain reads a registry's domain from a path segment. The error is
// KindBadRequest.
func SegmentDomain(raw string) (string, error) {
	domain, err := ParseDomain(Segment(raw))
	if err != nil {
		return "", invalidURL("%w", err)
	}
	return domain, nil
}

// SegmentContent reads the digest from the last segment of a content path. It is
// not ok if the segment is not the name of any content.
func SegmentContent(raw string) (warg.Digest, bool) {
	digits, ok := strings.CutPrefix(Segment(raw), contentFilePrefix)
	if !ok {
		return warg.Digest{}, false
	}
	d, err := warg.ParseDigest("sha256:" + digits)
	return d, err == nil
}

// parseDecimal reads digits that fit 64 bits; unlike strconv it takes no sign.
func parseDecimal(s string) (n uint64, ok bool) {
	const largest = 1<<64 - 1
	for i := range len(s) {
		digit := uint64(s[i] - '0')
		if s[i] < '0' || s[i] > '9' || n > (largest-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, s != ""
}
