package proxy

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// section is the part of some content that is to be sent.
type section struct {
	first, length int64
	partial       bool
}

var (
	//lint:ignore ST1005 the reference's text
	errSeveralRanges = errors.New("Cannot serve multipart range requests") //nolint:staticcheck // as above
	errBadRange      = errors.New("the range is malformed or beyond the end")
)

// outcome evaluates the conditions of a request about content with the given
// entity tag, in the order of RFC 9110 section 13.2.2. It returns 200, 304 or 412.
func outcome(h *fasthttp.RequestHeader, tag string, modified time.Time) int {
	if v := string(h.Peek("If-Match")); v != "" {
		if !listsTag(v, tag, false) {
			return http.StatusPreconditionFailed
		}
	} else if t, ok := httpTime(h, "If-Unmodified-Since", modified); ok && modified.After(t) {
		return http.StatusPreconditionFailed
	}
	if v := string(h.Peek("If-None-Match")); v != "" {
		if listsTag(v, tag, true) {
			return http.StatusNotModified
		}
	} else if t, ok := httpTime(h, "If-Modified-Since", modified); ok && !modified.After(t) {
		return http.StatusNotModified
	}
	return http.StatusOK
}

// listsTag reports whether a list of entity tags has ours, or is the star that
// stands for any. A weak tag counts only where weak is set.
func listsTag(list, tag string, weak bool) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if rest, isWeak := strings.CutPrefix(one, "W/"); isWeak && weak {
			one = rest
		}
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

// httpTime reads a date from a field. It is not ok if there is none, it is
// malformed, or our content has no date. Dates have whole seconds, so modified
// is compared as such.
func httpTime(h *fasthttp.RequestHeader, field string, modified time.Time) (time.Time, bool) {
	v := h.Peek(field)
	if len(v) == 0 || modified.IsZero() {
		return time.Time{}, false
	}
	t, err := http.ParseTime(string(v))
	return t.Add(time.Second - 1), err == nil
}

// rangeOf returns the part that a request asks for: one range, or everything.
// If-Range drops the range when the client has other bytes, which with a digest in
// the URL it never has.
func rangeOf(h *fasthttp.RequestHeader, size int64, tag string, modified time.Time) (section, error) {
	all := section{0, size, false}
	v := string(h.Peek("Range"))
	if v == "" || !ifRange(h, tag, modified) {
		return all, nil
	}
	spec, ok := strings.CutPrefix(v, "bytes=")
	if !ok {
		return all, errBadRange
	}
	if strings.Contains(spec, ",") {
		return all, errSeveralRanges
	}
	from, to, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return all, errBadRange
	}
	if from == "" {
		return suffix(to, size)
	}
	first, ok := rangeNumber(from)
	last := size - 1
	if ok && to != "" {
		last, ok = rangeNumber(to)
	}
	if !ok || first > last || first >= size {
		return all, errBadRange
	}
	return section{first, min(last, size-1) - first + 1, true}, nil
}

// suffix returns the last n bytes.
func suffix(n string, size int64) (section, error) {
	length, ok := rangeNumber(n)
	if !ok || length == 0 || size == 0 {
		return section{}, errBadRange
	}
	length = min(length, size)
	return section{size - length, length, true}, nil
}

// maxRangeDigits keeps range numbers below 2^63; nothing here is larger.
const maxRangeDigits = 18

// rangeNumber reads a number of digits and nothing else.
func rangeNumber(s string) (n int64, ok bool) {
	if s == "" || len(s) > maxRangeDigits {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// ifRange reports whether the Range field applies.
func ifRange(h *fasthttp.RequestHeader, tag string, modified time.Time) bool {
	v := strings.TrimSpace(string(h.Peek("If-Range")))
	if v == "" {
		return true
	}
	if strings.HasPrefix(v, `"`) || strings.HasPrefix(v, "W/") {
		return v == tag
	}
	t, err := http.ParseTime(v)
	return err == nil && !modified.IsZero() && t.Equal(modified.Truncate(time.Second))
}
