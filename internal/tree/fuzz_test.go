package tree

import (
	"bytes"
	"testing"
)

// FuzzRecord: a head that is read is the one way to write what it says.
func FuzzRecord(f *testing.F) {
	f.Add(emptyRecord().encode())
	f.Add(make([]byte, recordSize-1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRecord(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x prints as %x", b, r.encode())
		}
	})
}
