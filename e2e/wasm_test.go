//go:build e2e

package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// bigSize is the size of the large component: several chunks of any client's upload, and
// far above every buffer between it and the disk.
const bigSize = 9_000_000

// writeWasm writes the fixtures of the scripts, made here byte by byte so that no tool and
// no binary file is needed:
//
//	leaf.wasm    the empty component, eight bytes
//	top.wasm     a component that depends on test:leaf, any version from 1.0.0
//	uptop.wasm   the same for up:leaf
//	socket.wasm  a component that imports the instance demo:shared/api
//	plug.wasm    one that exports it
//	big.wasm     a component with a custom section of nine megabytes
//	module.wasm  the empty core module
//	not.wasm     something else
func writeWasm(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	noise := make([]byte, bigSize)
	source := rand.NewChaCha8([32]byte{1: 'b', 2: 'i', 3: 'g'})
	_, _ = source.Read(noise)
	for name, content := range map[string][]byte{
		"leaf.wasm":   component(),
		"top.wasm":    component("unlocked-dep=<test:leaf@{>=1.0.0}>"),
		"uptop.wasm":  component("unlocked-dep=<up:leaf@{>=1.0.0}>"),
		"socket.wasm": component("demo:shared/api"),
		"plug.wasm":   exporter("demo:shared/api"),
		"big.wasm":    slices.Concat(component(), section(0, slices.Concat([]byte("\x03big"), noise))),
		"module.wasm": []byte("\x00asm\x01\x00\x00\x00"),
		"not.wasm":    []byte("#!/bin/sh\nexit 0\n"),
	} {
		if err := writeFile(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	return nil
}

// component is a component that imports an empty instance under each of the names.
func component(imports ...string) []byte {
	binary := []byte("\x00asm\x0d\x00\x01\x00")
	if len(imports) == 0 {
		return binary
	}
	types, names := leb(len(imports)), leb(len(imports))
	for index, name := range imports {
		types = append(types, 0x42, 0) // an instance type without declarations
		names = append(names, 0)       // a plain name follows
		names = append(names, leb(len(name))...)
		names = append(names, name...)
		names = append(names, 5) // an instance of type index
		names = append(names, leb(index)...)
	}
	return slices.Concat(binary, section(7, types), section(10, names))
}

// exporter is a component that exports an instance without exports under the name.
func exporter(name string) []byte {
	instance := section(5, []byte{1, 1, 0})                                              // one, made of inline exports, of which there are none
	export := slices.Concat([]byte{1, 0}, leb(len(name)), []byte(name), []byte{5, 0, 0}) // one plain name: instance 0, no type given
	return slices.Concat(component(), instance, section(11, export))
}

func section(id byte, body []byte) []byte {
	return slices.Concat([]byte{id}, leb(len(body)), body)
}

// leb is the unsigned variable-length integer of wasm and of the protocol.
func leb(n int) []byte {
	var out []byte
	for ; n > 0x7f; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

func writeFile(path string, content []byte) error { return os.WriteFile(path, content, 0o644) }
