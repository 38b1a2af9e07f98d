package tree

import (
	"bytes"
	"errors"
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

// TestValueOfAnotherKey: a value that stands under another key than it was stored under
// is damage, whatever the key.
func TestValueOfAnotherKey(t *testing.T) {
	value := Seal([]byte("key a"), []byte("payload"))
	if got, err := Unseal([]byte("key a"), value); err != nil || string(got) != "payload" {
		t.Errorf("%q, %v", got, err)
	}
	for _, key := range []string{"key b", "", "key a ", "key"} {
		if _, err := Unseal([]byte(key), value); !errors.Is(err, ErrIndexCorrupt) {
			t.Errorf("read under %q: %v", key, err)
		}
	}
}
