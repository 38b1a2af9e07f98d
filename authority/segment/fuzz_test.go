package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// FuzzHeader: a header that is read is the one way to write what it says, but for a
// byte that is kept free.
func FuzzHeader(f *testing.F) {
	f.Add(header().encode())
	f.Add(Header{Kind: Pending, Number: 1 << 63}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != headerSize {
			return
		}
		b = bytes.Clone(b)
		binary.BigEndian.PutUint32(b[92:], crc32.Checksum(b[:92], castagnoli()))
		h, err := decodeHeader(b)
		if err != nil {
			return
		}
		again, err := decodeHeader(h.encode())
		if err != nil || again != h {
			t.Errorf("%+v is read back as %+v, %v", h, again, err)
		}
		if b[11] == 0 && !bytes.Equal(h.encode(), b) {
			t.Errorf("%x prints as %x", b, h.encode())
		}
	})
}

// FuzzFooter: a footer that is read is the one way to write what it says.
func FuzzFooter(f *testing.F) {
	for _, footer := range []Footer{{}, {Count: 9, Sum: warg.Sum(nil), Edge: []warg.Digest{{1}, {2}}}} {
		f.Add(footer.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if sum := len(b) - trailerSize; sum > 0 {
			binary.BigEndian.PutUint32(b[sum:], crc32.Checksum(b[:sum], castagnoli()))
		}
		footer, err := decodeFooter(b)
		if err != nil {
			return
		}
		if printed := footer.encode(); !bytes.Equal(printed, b) {
			t.Errorf("%x prints as %x", b, printed)
		}
		if again, err := decodeFooter(b); err != nil || !reflect.DeepEqual(again, footer) {
			t.Errorf("%+v is read back as %+v, %v", footer, again, err)
		}
	})
}

// FuzzName: the number of a segment's file is that of the one name it can have.
func FuzzName(f *testing.F) {
	for _, s := range []string{"00000001.seg", "1.seg", "+0000001.seg", "100000000.seg", "00000001.seg.tmp", "0000000x.seg"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if n, ok := parseName(name); ok && Name(n) != name {
			t.Errorf("%q is of segment %d, whose name is %q", name, n, Name(n))
		}
	})
}
