package proxy

import (
	"bytes"
	"net/http"

	"github.com/valyala/fasthttp"
)

// maxFields is the most header fields of one request; real clients send ten.
const maxFields = 100

// refusal says why a request is turned away before routing. Everything that two
// HTTP implementations could frame or route differently is refused and the
// connection closed, so that no byte of it can be taken for another request.
type refusal uint8

// The refusals. Their texts, status codes and metric labels stand in refusals.
const (
	accepted refusal = iota
	refusedVersion
	refusedFields
	refusedHead
	refusedFold
	refusedLine
	refusedName
	refusedHostTwice
	refusedLengthTwice
	refusedTypeTwice
	refusedAuthorizationTwice
	refusedRegistryTwice
	refusedEncodingTwice
	refusedBoth
	refusedEncoding
	refusedHost
	refusedTarget
	refusedOtherHost
	refusedExpectation
	refusedSlow
	refusedSyntax
	refusalCount
)

var refusals = [refusalCount]struct {
	label   string // in metrics
	status  int
	message string
}{
	accepted:                  {"", 0, ""},
	refusedVersion:            {"version", http.StatusHTTPVersionNotSupported, "only HTTP/1.0 and HTTP/1.1 are supported"},
	refusedFields:             {"fields", http.StatusRequestHeaderFieldsTooLarge, "too many header fields"},
	refusedHead:               {"head", http.StatusRequestHeaderFieldsTooLarge, "request head too large"},
	refusedFold:               {"fold", http.StatusBadRequest, "folded header line"},
	refusedLine:               {"line", http.StatusBadRequest, "malformed header line"},
	refusedName:               {"name", http.StatusBadRequest, "malformed header name"},
	refusedHostTwice:          {"duplicate", http.StatusBadRequest, "duplicate header Host"},
	refusedLengthTwice:        {"duplicate", http.StatusBadRequest, "duplicate header Content-Length"},
	refusedTypeTwice:          {"duplicate", http.StatusBadRequest, "duplicate header Content-Type"},
	refusedAuthorizationTwice: {"duplicate", http.StatusBadRequest, "duplicate header Authorization"},
	refusedRegistryTwice:      {"duplicate", http.StatusBadRequest, "duplicate header Warg-Registry"},
	refusedEncodingTwice:      {"duplicate", http.StatusBadRequest, "duplicate header Transfer-Encoding"},
	refusedBoth:               {"framing", http.StatusBadRequest, "both Content-Length and Transfer-Encoding"},
	refusedEncoding:           {"framing", http.StatusBadRequest, "unsupported Transfer-Encoding"},
	refusedHost:               {"host", http.StatusBadRequest, "malformed Host"},
	refusedTarget:             {"target", http.StatusBadRequest, "malformed request target"},
	refusedOtherHost:          {"target", http.StatusBadRequest, "the request target names another host than Host"},
	refusedExpectation:        {"expectation", http.StatusExpectationFailed, "unsupported expectation"},
	refusedSlow:               {"slow", http.StatusRequestTimeout, "the request took too long to arrive"},
	refusedSyntax:             {"syntax", http.StatusBadRequest, "malformed request"},
}

// String returns the reason in metrics; several refusals share one.
func (r refusal) String() string { return refusals[r].label }

// inspect judges the head of a request by the bytes that arrived, not by what
// the HTTP library made of them. It returns which single fields stand in it.
func inspect(h *fasthttp.RequestHeader) (fields, refusal) {
	if p := h.Protocol(); string(p) != "HTTP/1.1" && string(p) != "HTTP/1.0" {
		return 0, refusedVersion
	}
	seen, why := inspectFields(h.RawHeaders())
	switch {
	case why != accepted:
		return seen, why
	case seen.has(fieldLength) && seen.has(fieldEncoding):
		return seen, refusedBoth
	case seen.has(fieldEncoding) && h.ContentLength() != chunked:
		return seen, refusedEncoding // identity: no body at all, or one of Content-Length
	case seen.has(fieldHost) && !validHost(h.Host()):
		return seen, refusedHost
	}
	return seen, inspectTarget(h)
}

// fields is the set of header fields that may stand in a request once.
type fields uint8

const (
	fieldHost fields = 1 << iota
	fieldLength
	fieldType
	fieldAuthorization
	fieldRegistry
	fieldEncoding
)

func (f fields) has(one fields) bool { return f&one != 0 }

// inspectFields checks the header lines and returns which single fields stand in them.
func inspectFields(raw []byte) (seen fields, why refusal) {
	for count := 0; len(raw) > 0; count++ {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return seen, refusedLine
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			break
		}
		if count == maxFields {
			return seen, refusedFields
		}
		if line[0] == ' ' || line[0] == '\t' {
			return seen, refusedFold
		}
		name, _, ok := bytes.Cut(line, []byte{':'})
		if !ok || !isToken(name) {
			return seen, refusedName
		}
		one, twice := single(name)
		if one != 0 && seen.has(one) {
			return seen, twice
		}
		seen |= one
	}
	return seen, accepted
}

// single returns the field that name stands for if it may occur only once.
func single(name []byte) (fields, refusal) {
	switch {
	case len(name) == 4 && sameFold(name, "host"):
		return fieldHost, refusedHostTwice
	case len(name) == 12 && sameFold(name, "content-type"):
		return fieldType, refusedTypeTwice
	case len(name) == 13 && sameFold(name, "authorization"):
		return fieldAuthorization, refusedAuthorizationTwice
	case len(name) == 13 && sameFold(name, "warg-registry"):
		return fieldRegistry, refusedRegistryTwice
	case len(name) == 14 && sameFold(name, "content-length"):
		return fieldLength, refusedLengthTwice
	case len(name) == 17 && sameFold(name, "transfer-encoding"):
		return fieldEncoding, refusedEncodingTwice
	}
	return 0, accepted
}

// sameFold reports whether b is lower in any ASCII case.
func sameFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// isToken reports whether b may be the name of a header field.
func isToken(b []byte) bool {
	return allIn(b, func(c byte) bool {
		switch c {
		case '-', '!', '#', '$', '%', '&', '\'', '*', '+', '.', '^', '_', '`', '|', '~':
			return true
		}
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	})
}
