package strictjson

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// str reads the string whose opening quote is next. The result may alias the
// input or the scratch buffer.
func (d *Decoder) str() []byte {
	d.pos++
	start := d.pos
	ascii := d.plain()
	if d.at('"') {
		text := d.in[start:d.pos]
		if !ascii && !utf8.Valid(text) {
			d.syntax("invalid UTF-8 in a string")
			return nil
		}
		d.pos++
		return text
	}
	d.scratch = append(d.scratch[:0], d.in[start:d.pos]...)
	return d.escaped(ascii)
}

// escaped goes on where a string has its first escape; what came before it is in
// the scratch buffer.
func (d *Decoder) escaped(ascii bool) []byte {
	for d.err == nil {
		switch {
		case d.pos >= len(d.in):
			d.syntax("unterminated string")
		case d.at('"'):
			if !ascii && !utf8.Valid(d.scratch) {
				d.syntax("invalid UTF-8 in a string")
				return nil
			}
			d.pos++
			return d.scratch
		case d.at('\\'):
			d.pos++
			if r := d.escape(); d.err == nil {
				// What an escape stands for is valid, so it cannot hide raw bytes
				// that are not: those are seen when the whole is checked.
				d.scratch = utf8.AppendRune(d.scratch, r)
			}
		default:
			d.syntax("control character in a string")
		}
		start := d.pos
		ascii = d.plain() && ascii
		d.scratch = append(d.scratch, d.in[start:d.pos]...)
	}
	return nil
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// plain skips bytes that stand for themselves in a string and reports whether
// all of them were ASCII. Eight bytes are looked at in one step while they are
// plain ASCII, which is nearly always.
func (d *Decoder) plain() (ascii bool) {
	in, i := d.in, d.pos
	for i+8 <= len(in) {
		w := binary.LittleEndian.Uint64(in[i:])
		quote, slash := w^(lowBits*'"'), w^(lowBits*'\\')
		// A byte sets its high bit here if it is below 0x20, a quote, a backslash,
		// or not ASCII. Borrows may set more, only above one that is set rightly.
		special := (w - lowBits*0x20) | (quote - lowBits) | (slash - lowBits) | w
		if special&highBits != 0 {
			break
		}
		i += 8
	}
	ascii = true
	for ; i < len(in) && in[i] != '"' && in[i] != '\\' && in[i] >= 0x20; i++ {
		if in[i] >= utf8.RuneSelf {
			ascii = false
		}
	}
	d.pos = i
	return ascii
}

// escape reads what follows a backslash.
func (d *Decoder) escape() rune {
	if d.pos >= len(d.in) {
		d.syntax("unterminated string")
		return 0
	}
	c := d.in[d.pos]
	d.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c)
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'u':
		return d.unicodeEscape()
	}
	d.pos--
	d.syntax("invalid escape")
	return 0
}

// unicodeEscape reads the four digits of \u and, where they are the first half of
// a surrogate pair, the second \u as well. Half a pair alone is an error.
func (d *Decoder) unicodeEscape() rune {
	r := d.hex4()
	if !utf16.IsSurrogate(r) {
		return r
	}
	if d.err == nil && d.at('\\') && d.pos+1 < len(d.in) && d.in[d.pos+1] == 'u' {
		d.pos += 2
		if pair := utf16.DecodeRune(r, d.hex4()); pair != utf8.RuneError {
			return pair
		}
	}
	d.syntax("lone surrogate in a string")
	return 0
}

func (d *Decoder) hex4() rune {
	const digits = 4
	if d.pos+digits > len(d.in) {
		d.syntax("unterminated string")
		return 0
	}
	var r rune
	for _, c := range d.in[d.pos : d.pos+digits] {
		v, ok := hexValue(c)
		if !ok {
			d.syntax("invalid unicode escape")
			return 0
		}
		r = r<<4 | v
	}
	d.pos += digits
	return r
}

func hexValue(c byte) (rune, bool) {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0'), true
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10, true
	}
	return 0, false
}
