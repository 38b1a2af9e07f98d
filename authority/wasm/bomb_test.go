package wasm

import (
	"bytes"
	"strings"
	"testing"
)

// nested returns a component within a component within a component …, as deep as the
// sizes can be written.
func nested(depth int) []byte {
	inner := []byte(component)
	for range depth {
		var size []byte
		for n := len(inner); ; n >>= 7 {
			if n < 0x80 {
				size = append(size, byte(n))
				break
			}
			size = append(size, byte(n)|0x80)
		}
		inner = append(append(append([]byte(component), 4), size...), inner...)
	}
	return inner
}

// TestC16Bombs: whatever is uploaded costs reading it once and no memory.
func TestC16Bombs(t *testing.T) {
	cases := []struct {
		name  string
		bytes []byte
		valid bool
	}{
		{"a million empty sections", append([]byte(module), bytes.Repeat([]byte{1, 0}, 1_000_000)...), true},
		{"a million custom sections of a component", append([]byte(component), bytes.Repeat([]byte{0, 1, 'x'}, 1_000_000)...), true},
		{"sizes in as many bytes as there may be", append([]byte(module), bytes.Repeat([]byte{0, 0x81, 0x80, 0x80, 0x80, 0, 'x'}, 200_000)...), true},
		{"a size that never ends", append([]byte(module+"\x00"), bytes.Repeat([]byte{0x80}, 1_000_000)...), false},
		{"four gigabytes announced", append([]byte(module+"\x00\xff\xff\xff\xff\x0f"), make([]byte, 1_000_000)...), false},
		{"components in components", nested(2000), true},
		{"a component that ends in the middle of its nest", nested(2000)[:10_000], false},
		{"a megabyte of beginnings", []byte(strings.Repeat(component, 100_000)), false},
		{"a megabyte of nothing", make([]byte, 1_000_000), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(c.bytes); (got == "") != c.valid {
				t.Errorf("judged %q", got)
			}
			allocated := testing.AllocsPerRun(1, func() {
				var checker Checker
				for part := range bytesOf(c.bytes, 4096) {
					_, _ = checker.Write(part)
				}
				_ = checker.Err()
			})
			if allocated > 10 { // the error
				t.Errorf("%v allocations", allocated)
			}
		})
	}
}

// bytesOf yields b in parts of n.
func bytesOf(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			part := b[:min(n, len(b))]
			b = b[len(part):]
			if !yield(part) {
				return
			}
		}
	}
}
