package wasm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg/wargtest"
)

func judge(b []byte) string {
	var c Checker
	_, _ = c.Write(b)
	if err := c.Err(); err != nil {
		return err.Error()
	}
	return ""
}

const (
	module    = "\x00asm\x01\x00\x00\x00"
	component = "\x00asm\x0d\x00\x01\x00"
)

func TestJudgement(t *testing.T) {
	cases := []struct{ name, content, want string }{
		{"nothing", "", "unexpected end-of-file (at offset 0x0)"},
		{"empty module", module, ""},
		{"empty component", component, ""},
		{"text", "hello, world", "magic header not detected: bad magic number (at offset 0x0)"},
		{"half a magic number", "\x00as", "unexpected end-of-file (at offset 0x3)"},
		{"half a version", "\x00asm\x01\x00", "unexpected end-of-file (at offset 0x6)"},
		{"another version", "\x00asm\x02\x00\x00\x00", "unknown binary version: 0x2 (at offset 0x4)"},
		{"another layer", "\x00asm\x01\x00\x01\x00", "unknown binary version: 0x10001 (at offset 0x4)"},
		{"section", module + "\x01\x03abc", ""},
		{"empty section", module + "\x01\x00\x0a\x00", ""},
		{"last ids", module + "\x0d\x00" + "\x00\x00", ""},
		{"component ids", component + "\x0c\x00" + "\x00\x01x", ""},
		{"unknown section", module + "\x0e\x00", "malformed section id: 14 (at offset 0x8)"},
		{"unknown component section", component + "\x0d\x00", "malformed section id: 13 (at offset 0x8)"},
		{"cut in a section", module + "\x01\x03ab", "unexpected end-of-file (at offset 0xc)"},
		{"cut behind an id", module + "\x01", "unexpected end-of-file (at offset 0x9)"},
		{"cut in a length", module + "\x01\x80", "unexpected end-of-file (at offset 0xa)"},
		{"padded length", module + "\x01\x83\x80\x80\x80\x00abc", ""},
		{"length too long", module + "\x01\x80\x80\x80\x80\x80\x00", "invalid var_u32: integer representation too long (at offset 0xd)"},
		{"length too large", module + "\x01\x80\x80\x80\x80\x10", "invalid var_u32: integer too large (at offset 0xd)"},
		{"four gigabytes", module + "\x01\xff\xff\xff\xff\x0fabc", "unexpected end-of-file (at offset 0x11)"},
		{"text behind", module + "hello", "malformed section id: 104 (at offset 0x8)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := judge([]byte(c.content)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			var bytewise Checker
			for i := range len(c.content) {
				_, _ = bytewise.Write([]byte(c.content[i : i+1]))
			}
			if err := bytewise.Err(); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("byte by byte: got %v, want %q", err, c.want)
			}
		})
	}
	if got := judge(wargtest.Component(strings.Repeat("x", 100_000))); got != "" {
		t.Errorf("a large component: %s", got)
	}
}

// FuzzChecker: how the bytes are cut into writes makes no difference.
func FuzzChecker(f *testing.F) {
	f.Add([]byte(module+"\x01\x03abc"), 9)
	f.Add([]byte(component+"\x0b\x80\x01"), 10)
	f.Add(wargtest.Component("seed"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		at = min(max(at, 0), len(b))
		var c Checker
		for _, part := range [][]byte{b[:at], b[at:]} {
			if n, err := c.Write(part); n != len(part) || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		got := ""
		if err := c.Err(); err != nil {
			got = err.Error()
		}
		if want := judge(bytes.Clone(b)); got != want {
			t.Errorf("cut at %d: got %q, want %q", at, got, want)
		}
	})
}
