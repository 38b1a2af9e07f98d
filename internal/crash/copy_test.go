package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestCopyTree: a copy has the same bytes, whether they are holes, zeros or data.
func TestCopyTree(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"a", "b", "empty"} {
		b := make([]byte, map[string]int{"a": 1 << 20, "b": 300_001}[name])
		for range 5 {
			if at := random.IntN(len(b) + 1); at < len(b) {
				copy(b[at:], "some data")
			}
		}
		if err := os.WriteFile(filepath.Join(from, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyTree(from, to); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "empty"} {
		want, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d, or others; %v", name, len(got), len(want), err)
		}
	}
}
