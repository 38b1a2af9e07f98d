package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// FuzzHeader: the header of a part that is read is the one way to write what it says.
func FuzzHeader(f *testing.F) {
	f.Add(header{0, warg.Digest{}}.encode())
	f.Add(header{7, warg.Sum([]byte("x"))}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != partHeader {
			return
		}
		b = bytes.Clone(b)
		binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[:crcAt], castagnoli()))
		if h, err := parseHeader("f", b); err == nil && !bytes.Equal(h.encode(), b) {
			t.Errorf("%x prints as %x", b, h.encode())
		}
	})
}
