package strictjson

import (
	"bytes"
	"math"
)

// String reads a string.
func (d *Decoder) String() string { return string(d.Text()) }

// StringLike reads a string; if it equals prev, prev is returned and nothing is
// allocated. Lists whose elements repeat a value are read so.
func (d *Decoder) StringLike(prev string) string {
	if b := d.Text(); string(b) != prev {
		return string(b)
	}
	return prev
}

// Text reads a string without copying it where it has no escapes: the result may
// alias the input and is valid until the next call.
func (d *Decoder) Text() []byte {
	if d.err != nil {
		return nil
	}
	if d.next() != '"' {
		d.unexpected("a string")
		return nil
	}
	return d.str()
}

// Bool reads true or false.
func (d *Decoder) Bool() bool {
	if d.err != nil {
		return false
	}
	switch d.next() {
	case 't':
		d.literal("true")
		return d.err == nil
	case 'f':
		d.literal("false")
		return false
	}
	d.unexpected("a boolean")
	return false
}

// Null reads null if that is what comes next, and reports whether it was.
func (d *Decoder) Null() bool {
	if d.err != nil || d.next() != 'n' {
		return false
	}
	d.literal("null")
	return d.err == nil
}

// Uint reads an integer in 0..limit, written without sign, fraction or exponent.
func (d *Decoder) Uint(limit uint64) uint64 {
	if d.err != nil {
		return 0
	}
	if c := d.next(); (c < '0' || c > '9') && c != '-' {
		d.unexpected("an unsigned integer")
		return 0
	}
	text := d.number()
	if d.err != nil {
		return 0
	}
	n, ok := parseUint(text)
	switch {
	case !ok:
		d.Fail("expected an unsigned integer; found %s", clip(text))
	case n > limit:
		d.Fail("%d is more than %d", n, limit)
	default:
		return n
	}
	return 0
}

// parseUint converts digits that are a valid JSON number.
func parseUint(text []byte) (n uint64, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		digit := uint64(c - '0')
		if n > (math.MaxUint64-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, true
}

// clip shortens a number for an error message.
func clip(text []byte) string {
	const enough = 32
	if len(text) > enough {
		return string(text[:enough]) + "…"
	}
	return string(text)
}

// number reads a number token, which must have JSON's form.
func (d *Decoder) number() []byte {
	start := d.pos
	if d.at('-') {
		d.pos++
	}
	switch {
	case d.at('0'):
		d.pos++
	case !d.digits():
		d.syntax("invalid number")
		return nil
	}
	if d.pos < len(d.in) && d.in[d.pos] >= '0' && d.in[d.pos] <= '9' {
		d.syntax("number with a leading zero")
		return nil
	}
	if d.at('.') {
		d.pos++
		if !d.digits() {
			d.syntax("invalid number")
			return nil
		}
	}
	if d.at('e') || d.at('E') {
		d.pos++
		if d.at('+') || d.at('-') {
			d.pos++
		}
		if !d.digits() {
			d.syntax("invalid number")
			return nil
		}
	}
	return d.in[start:d.pos]
}

func (d *Decoder) at(c byte) bool { return d.pos < len(d.in) && d.in[d.pos] == c }

// digits skips digits and reports whether there was one.
func (d *Decoder) digits() bool {
	start := d.pos
	for d.pos < len(d.in) && d.in[d.pos] >= '0' && d.in[d.pos] <= '9' {
		d.pos++
	}
	return d.pos > start
}

func (d *Decoder) literal(word string) {
	if !bytes.HasPrefix(d.in[d.pos:], []byte(word)) {
		d.syntax("invalid literal")
		return
	}
	d.pos += len(word)
}

// peek names the kind of the next value, or fails if none begins here.
func (d *Decoder) peek() string {
	switch c := d.next(); {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	case d.pos >= len(d.in):
		d.syntax("unexpected end")
	default:
		d.syntax("expected a value")
	}
	return "nothing"
}

// Skip reads any value and drops it. What it holds must be JSON, but may repeat
// member names.
func (d *Decoder) Skip() {
	if d.err == nil {
		d.skipValue(d.depth)
	}
}

func (d *Decoder) skipValue(depth int) {
	switch d.next() {
	case '{':
		d.skipContainer(depth+1, '}')
	case '[':
		d.skipContainer(depth+1, ']')
	case '"':
		d.str()
	case 't':
		d.literal("true")
	case 'f':
		d.literal("false")
	case 'n':
		d.literal("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		d.number()
	default:
		d.peek() // says that no value begins here
	}
}

func (d *Decoder) skipContainer(depth int, closing byte) {
	if depth > MaxDepth {
		d.syntax("nested deeper than %d", MaxDepth)
		return
	}
	d.pos++
	if d.next() == closing {
		d.pos++
		return
	}
	for d.err == nil {
		if closing == '}' {
			d.skipName()
		}
		if d.err == nil {
			d.skipValue(depth)
		}
		if d.err != nil {
			return
		}
		switch c := d.next(); c {
		case ',':
			d.pos++
		case closing:
			d.pos++
			return
		default:
			d.syntax("expected a comma or the end of the container")
		}
	}
}

func (d *Decoder) skipName() {
	if d.next() != '"' {
		d.syntax("expected a member name")
		return
	}
	d.str()
	d.colon()
}

// AtNumber reports whether a number comes next. Where a member may have values of
// two kinds, it decides which of the reading methods to call.
func (d *Decoder) AtNumber() bool {
	c := d.next()
	return d.err == nil && (c == '-' || c >= '0' && c <= '9')
}
