package anchor

import (
	"bytes"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// FuzzBlock: a block of the history that is read is the one way to write what it says.
func FuzzBlock(f *testing.F) {
	for _, n := range []uint64{1, 3, 1 << 40} {
		b, err := encodeBlock(signed(f, n, 1_700_000_000))
		must(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != blockSize {
			return
		}
		b = seal(bytes.Clone(b))
		c, err := decodeBlock(b)
		if err != nil {
			return
		}
		again, err := encodeBlock(c)
		if err != nil {
			t.Fatalf("%x reads as %+v, which cannot be written: %v", b, c, err)
		}
		if back, err := decodeBlock(again); err != nil || back != c {
			t.Errorf("%+v is read back as %+v, %v", c, back, err)
		}
	})
}

// FuzzHistory: whatever stands in the file of the history, what is read of it can be
// read again, and what is appended is there.
func FuzzHistory(f *testing.F) {
	for _, n := range []int{0, 1, 3} {
		m := durable.NewMemory()
		h, err := CreateHistory(m, "/anchor.log", registry())
		must(f, err)
		for i := range n {
			must(f, h.Append(signed(f, uint64(i+1), uint64(i)), nil))
		}
		must(f, h.Close())
		text := m.Tree("/")["/anchor.log"]
		f.Add([]byte(text[:min(len(text), 8*blockSize)]))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		m := durable.NewMemory()
		must(t, durable.Replace(m, "/anchor.log", file, nil))
		h, err := OpenHistory(m, "/anchor.log", registry())
		if err != nil {
			return
		}
		defer h.Close()
		n := h.Len()
		if n > uint64(len(file)/blockSize) {
			t.Fatalf("%d checkpoints in %d bytes", n, len(file))
		}
		next := signed(t, 1<<50, 1)
		must(t, h.Append(next, nil))
		if last, ok, err := h.Last(); !ok || err != nil || last != next || h.Len() != n+1 {
			t.Errorf("the last of %d is %+v, %v", h.Len(), last, err)
		}
	})
}

// FuzzReadStamp: a stamp that says what is written prints as it.
func FuzzReadStamp(f *testing.F) {
	f.Add([]byte("entrepot-registry 1\nregistry " + registry().Hex() + "\ndomain pkg.example.com\n"))
	f.Add([]byte("registry\ndomain x y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := durable.NewMemory()
		must(t, durable.Replace(m, StampPath("/key"), text, nil))
		s, ok, err := ReadStamp(m, "/key")
		if err != nil {
			return
		}
		if !ok {
			t.Fatal("a stamp that is there is not")
		}
		raw, err := warg.ParseDigest("sha256:" + s.Registry)
		if err != nil || s.Domain == "" {
			return
		}
		must(t, WriteStamp(m, "/key", raw, s.Domain))
		if again, ok, err := ReadStamp(m, "/key"); !ok || err != nil || again != s {
			t.Errorf("%+v is read back as %+v, %v", s, again, err)
		}
	})
}
