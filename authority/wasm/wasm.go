// Package wasm looks whether bytes are WebAssembly, a module or a component, while
// they stream by: the preamble, the numbers and lengths of the sections, and that
// the end of the last section is the end of the bytes. What is inside sections is
// not looked at, so nothing of the content is kept, and no input costs more than
// reading it.
package wasm

import "fmt"

const (
	preambleSize = 8
	modules      = 1       // version 1, layer 0
	components   = 0x1000d // version 13, layer 1
	lastModule   = 13      // section ids: custom to tag
	lastComp     = 12      // section ids: custom to value
	maxLEB       = 5       // bytes of a 32-bit LEB128
)

// Checker judges what is written to it. The zero Checker has seen nothing.
type Checker struct {
	offset  uint64 // bytes seen
	head    [preambleSize]byte
	last    byte // highest section id, 0 before the preamble is complete
	step    step
	size    uint64 // of the section, as far as it was read
	shift   uint   // of the next byte of size
	skip    uint64 // bytes of the section still to come
	invalid error
}

// step is what the next byte is.
type step uint8

const (
	inPreamble step = iota
	atSection       // a section id, or the end
	inSize          // a byte of a section's length
	inSection       // inside a section
)

// Write takes in the next bytes. It never fails; ask [Checker.Err] at the end.
func (c *Checker) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && c.invalid == nil; {
		if c.step != inSection {
			c.byte(rest[0])
			c.offset++
			rest = rest[1:]
			continue
		}
		n := min(c.skip, uint64(len(rest)))
		c.skip -= n
		c.offset += n
		rest = rest[n:]
		if c.skip == 0 {
			c.step = atSection
		}
	}
	return len(p), nil
}

func (c *Checker) byte(b byte) {
	switch c.step {
	case inPreamble:
		c.preamble(b)
	case atSection:
		if b > c.last {
			c.fail("malformed section id: %d", b)
		}
		c.step, c.size, c.shift = inSize, 0, 0
	case inSize:
		c.length(b)
	case inSection: // Write skips it
	}
}

func (c *Checker) preamble(b byte) {
	magic := [4]byte{0, 'a', 's', 'm'}
	c.head[c.offset] = b
	switch {
	case c.offset < 4 && b != magic[c.offset]:
		c.offset = 0
		c.fail("magic header not detected: bad magic number")
	case c.offset == preambleSize-1:
		c.version(uint32(c.head[4]) | uint32(c.head[5])<<8 | uint32(c.head[6])<<16 | uint32(c.head[7])<<24)
	}
}

func (c *Checker) version(v uint32) {
	switch v {
	case modules:
		c.last = lastModule
	case components:
		c.last = lastComp
	default:
		c.offset = 4
		c.fail("unknown binary version: %#x", v)
	}
	c.step = atSection
}

// length takes in a byte of an unsigned LEB128 number of at most 32 bits.
func (c *Checker) length(b byte) {
	const payload, more, topBits = 0x7f, 0x80, 0x0f
	last := c.shift == 7*(maxLEB-1)
	switch {
	case last && b&more != 0:
		c.fail("invalid var_u32: integer representation too long")
	case last && b > topBits:
		c.fail("invalid var_u32: integer too large")
	}
	c.size |= uint64(b&payload) << c.shift
	c.shift += 7
	if b&more != 0 {
		return
	}
	c.skip, c.step = c.size, inSection
	if c.skip == 0 {
		c.step = atSection
	}
}

func (c *Checker) fail(format string, args ...any) {
	if c.invalid == nil {
		c.invalid = fmt.Errorf("%s (at offset 0x%x)", fmt.Sprintf(format, args...), c.offset)
	}
}

// Err says what is wrong with everything written so far, taken as a whole; nil
// if it is WebAssembly.
func (c *Checker) Err() error {
	if c.invalid == nil && c.step != atSection {
		c.fail("unexpected end-of-file")
	}
	return c.invalid
}
