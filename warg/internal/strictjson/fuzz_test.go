package strictjson

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// readAny reads one value of any shape through the public methods, in the form
// that encoding/json gives it, except that numbers that are no unsigned integers
// are skipped and reported as nil.
func readAny(d *Decoder, depth int) any {
	if depth == 0 {
		d.Skip()
		return nil
	}
	switch d.peek() {
	case "an object":
		m := map[string]any{}
		for d.BeginObject(); d.Key(); {
			name := string(d.Name())
			if _, dup := m[name]; dup {
				d.Fail("duplicate member")
			}
			m[name] = readAny(d, depth-1)
		}
		return m
	case "an array":
		list := []any{}
		for d.BeginArray(); d.Element(); {
			list = append(list, readAny(d, depth-1))
		}
		return list
	case "a string":
		return d.String()
	case "a boolean":
		return d.Bool()
	case "a number":
		return d.Uint(math.MaxUint64)
	}
	if !d.Null() {
		d.Skip()
	}
	return nil
}

// same compares what we read with what encoding/json read; below the depth to
// which we read, anything goes.
func same(ours, std any, depth int) bool {
	if depth == 0 {
		return true
	}
	switch o := ours.(type) {
	case map[string]any:
		s, ok := std.(map[string]any)
		if !ok || len(s) != len(o) {
			return false
		}
		for k, v := range o {
			if w, ok := s[k]; !ok || !same(v, w, depth-1) {
				return false
			}
		}
		return true
	case []any:
		s, ok := std.([]any)
		if !ok || len(s) != len(o) {
			return false
		}
		for i := range o {
			if !same(o[i], s[i], depth-1) {
				return false
			}
		}
		return true
	case uint64:
		n, ok := std.(json.Number)
		if !ok {
			return false
		}
		var back uint64
		return json.Unmarshal([]byte(n), &back) == nil && back == o
	}
	return ours == std
}

// FuzzAgainstStandard checks that what we accept, encoding/json accepts with equal
// values, and that AppendString writes what both read back.
func FuzzAgainstStandard(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2,{"b":"c"}],"d":true,"e":null,"f":18446744073709551615}`, `"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"`,
		`[[[[[[[[]]]]]]]]`, ` 0 `, `-1.5e+3`, `{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`, `{"x":01}`, `tru`, `{"a":1,}`, `[1 2]`, `"12345678\n12345678é12345678"`, "\"\x00\"", `{"":{}}x`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const depth = 6
		d := NewDecoder(in)
		v := readAny(d, depth)
		if d.Err() != nil {
			return
		}
		read := in[:d.Offset()]
		std := json.NewDecoder(bytes.NewReader(read))
		std.UseNumber()
		var w any
		if err := std.Decode(&w); err != nil {
			t.Fatalf("accepted %q, the standard library says %v", read, err)
		}
		if !same(v, w, depth) {
			t.Fatalf("%q read as %v, the standard library says %v", read, v, w)
		}
	})
}

// FuzzSkip checks that Skip accepts what is JSON and nothing else, but for the
// depth, invalid UTF-8, and lone surrogates.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e-7,{"b":"c"}]}`, `[`, `"a`, `nul`, `1.`, `[[1],[2]`, "\"\t\"", `{"a" 1}`, `--1`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := NewDecoder(in)
		d.Skip()
		var raw json.RawMessage
		err := json.NewDecoder(bytes.NewReader(in)).Decode(&raw)
		ours := d.Err() == nil
		if ours && err != nil {
			t.Fatalf("skipped %q, the standard library says %v", in[:d.Offset()], err)
		}
		if ours && !bytes.Equal(bytes.TrimSpace(in[:d.Offset()]), raw) {
			t.Fatalf("skipped %q, the standard library %q", in[:d.Offset()], raw)
		}
		excused := !utf8.Valid(in) || bytes.Contains(in, []byte(`\u`)) || bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) > MaxDepth
		if !ours && json.Valid(in) && !excused {
			t.Fatalf("refused %q: %v", in, d.Err())
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c/", "\x00\x1f\x7f", "é😀\u2028", "\xff", "a\xe2\x82", strings.Repeat("x", 40) + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := AppendString([]byte("pre"), s)
		want := strings.ToValidUTF8(s, "\x00")
		if !utf8.ValidString(s) {
			var clean []rune // one U+FFFD for each byte, as the standard library does
			for _, r := range s {
				clean = append(clean, r)
			}
			want = string(clean)
		}
		d := NewDecoder(b[len("pre"):])
		if got := d.String(); d.Err() != nil || got != want || d.Offset() != len(b)-len("pre") {
			t.Fatalf("%q written as %s, read as %q, %v", s, b, got, d.Err())
		}
		var std string
		if err := json.Unmarshal(b[len("pre"):], &std); err != nil || std != want {
			t.Fatalf("%q written as %s, the standard library reads %q, %v", s, b, std, err)
		}
	})
}
