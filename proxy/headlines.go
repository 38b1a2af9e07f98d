package proxy

import (
	"bytes"
	"errors"
)

// errManyLines ends a head that has more lines than any that the gate lets pass.
var errManyLines = errors.New("too many lines in a request head")

// headLines counts the lines of a request's head as they arrive. The HTTP library parses
// whatever it has read before anybody can refuse it, and allocates for each field: a
// buffer full of tiny fields costs fifteen times its size. So a head that has too many
// lines already is ended here. It is the gate that decides about heads; this only ever
// stops what the gate would refuse, and may miss some.
type headLines struct {
	begun bool // a head is being read
	full  bool // it has too many lines
	lines int
	last  int // bytes of the line that is not complete yet
}

// begin says that what arrives next is a head.
func (h *headLines) begin() { h.begun, h.lines, h.last = true, 0, 0 }

// see counts the lines in p, and returns how many of its bytes may be used.
func (h *headLines) see(p []byte) int {
	if !h.begun {
		return len(p)
	}
	for at := 0; ; {
		n := bytes.IndexByte(p[at:], '\n')
		if n < 0 {
			h.last += len(p) - at
			return len(p)
		}
		blank := h.last+n == 0 || h.last+n == 1 && (n == 0 || p[at] == '\r')
		at += n + 1
		h.last = 0
		switch {
		case !blank:
			h.lines++
		case h.lines > 0: // the end of the head; blank lines before it are allowed
			h.begun = false
			return len(p)
		}
		if h.lines > maxFields+1 { // and the request line
			h.full = true
			return at
		}
	}
}
