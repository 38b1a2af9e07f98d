package strictjson

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind tells text that is not JSON from JSON of the wrong shape.
type Kind uint8

// The kinds of error.
const (
	Syntax Kind = iota // not JSON: also invalid UTF-8, truncation, and nesting beyond MaxDepth
	Shape              // JSON, but not what was expected there
)

// Error says where and why reading stopped.
type Error struct {
	Kind   Kind
	Path   string // of the value, for example `packages[3].keyId`; "" for the top
	Offset int    // bytes before the place in the input
	Msg    string // a sentence without a period
	Err    error  // what refused a value, if that was not the decoder itself
}

// Error returns the path and the reason, or the reason and the offset where the
// text is not JSON.
func (e *Error) Error() string {
	switch {
	case e.Kind == Syntax:
		return fmt.Sprintf("%s at offset %d", e.Msg, e.Offset)
	case e.Path == "":
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

// Unwrap returns what refused a value.
func (e *Error) Unwrap() error { return e.Err }

// maxPathKey is how much of a member name an error repeats, in bytes; names come
// from the other side and may be as long as the body.
const maxPathKey = 80

// path renders the way from the top to the value that is being read.
func (d *Decoder) path() string {
	var b strings.Builder
	for _, f := range d.stack[:d.depth] {
		switch {
		case f.index >= 0:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(f.index))
			b.WriteByte(']')
		case f.name != "":
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(f.name)
		case f.keyed:
			b.WriteByte('[')
			b.WriteString(quoteKey(d.keys[f.keyStart:f.keyEnd]))
			b.WriteByte(']')
		}
	}
	return b.String()
}

func quoteKey(key []byte) string {
	if len(key) > maxPathKey {
		return strconv.Quote(string(key[:maxPathKey])) + "…"
	}
	return strconv.Quote(string(key))
}

func (d *Decoder) syntax(format string, args ...any) {
	if d.err == nil {
		d.err = &Error{Kind: Syntax, Path: d.path(), Offset: d.pos, Msg: fmt.Sprintf(format, args...)}
	}
}

// Fail records that the value just read, or the container just left, is not what
// it should be. An error before it stands.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = &Error{Kind: Shape, Path: d.path(), Offset: d.pos, Msg: fmt.Sprintf(format, args...)}
	}
}

// FailWith records err as the reason why the value just read is refused. A nil
// err changes nothing.
func (d *Decoder) FailWith(err error) {
	if err != nil && d.err == nil {
		d.err = &Error{Kind: Shape, Path: d.path(), Offset: d.pos, Msg: err.Error(), Err: err}
	}
}

// unexpected records that the next value is not what was wanted. A scalar is read
// to its end first: whether the text is JSON at all is the more basic fault.
func (d *Decoder) unexpected(want string) {
	found := d.peek()
	start := d.pos
	if found != "an object" && found != "an array" {
		d.skipValue(0)
	}
	if d.err == nil {
		d.pos = start
		d.Fail("expected %s; found %s", want, found)
	}
}
