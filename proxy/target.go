package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// inspectTarget checks the request target. In absolute form it must name the
// host that the Host field names, or a front end and we could mean different
// servers by one request.
func inspectTarget(h *fasthttp.RequestHeader) refusal {
	target := h.RequestURI()
	switch {
	case bytes.IndexByte(target, '#') >= 0:
		return refusedTarget // a fragment is never sent
	case target[0] == '/', string(target) == "*" && h.IsOptions():
		return accepted
	}
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !sameFold(scheme, "http") && !sameFold(scheme, "https") {
		return refusedTarget
	}
	authority := rest[:authorityLen(rest)]
	if !validHost(authority) {
		return refusedTarget
	}
	if !bytes.EqualFold(authority, h.Host()) {
		return refusedOtherHost
	}
	return accepted
}

// authorityLen returns how much of an absolute target's rest is the authority.
func authorityLen(rest []byte) int {
	if i := bytes.IndexAny(rest, "/?"); i >= 0 {
		return i
	}
	return len(rest)
}

// rawPath returns the path of a target that inspectTarget accepted, as it was
// sent: nothing is decoded, collapsed or resolved.
func rawPath(target []byte) []byte {
	if len(target) == 0 || target[0] != '/' {
		if _, rest, ok := bytes.Cut(target, []byte("://")); ok {
			target = rest[authorityLen(rest):]
		}
	}
	path, _, _ := bytes.Cut(target, []byte{'?'})
	return path
}

// validHost reports whether b is a host name, an IPv4 address or an IPv6
// address in brackets, with an optional port. Anything else in a Host field,
// user information above all, has no business here.
func validHost(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	rest := b
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !allIn(b[1:end], isAddrByte6) {
			return false
		}
		rest = b[end+1:]
	} else {
		end := bytes.IndexByte(b, ':')
		if end < 0 {
			end = len(b)
		}
		if !allIn(b[:end], isHostByte) {
			return false
		}
		rest = b[end:]
	}
	return len(rest) == 0 || rest[0] == ':' && validPort(rest[1:])
}

// maxPortDigits is the length of the largest port number.
const maxPortDigits = 5

func validPort(b []byte) bool {
	return len(b) <= maxPortDigits && (len(b) == 0 || allIn(b, func(c byte) bool { return c >= '0' && c <= '9' }))
}

// allIn reports whether b is not empty and has only bytes that are in the set.
func allIn(b []byte, in func(byte) bool) bool {
	for _, c := range b {
		if !in(c) {
			return false
		}
	}
	return len(b) > 0
}

func isHostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' || c == '_'
}

func isAddrByte6(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == ':' || c == '.'
}
