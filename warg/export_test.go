package warg

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The private keys of the known answers.
const (
	AliceText = "ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk="
	BobText   = "ecdsa-p256:2CV1EpLaSYEn4In4OAEDAj5O4Hzu8AFAxgHXuG310Ew="
)

// ReadTestdata decodes a file of known answers.
func ReadTestdata[T any](t testing.TB, file string) T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return DecodeTestdata[T](t, file, b)
}

// DecodeTestdata decodes a part of a file of known answers.
func DecodeTestdata[T any](t testing.TB, what string, b []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("decoding %s: %v", what, err)
	}
	return v
}

// ReadGroup decodes one group of the known answers.
func ReadGroup[T any](t testing.TB, group string) T {
	t.Helper()
	all := ReadTestdata[map[string]json.RawMessage](t, "vectors.json")
	if len(all[group]) == 0 {
		t.Fatalf("vectors.json has no group %s", group)
	}
	return DecodeTestdata[T](t, group, all[group])
}

// MustKey parses a private key.
func MustKey(t testing.TB, text string) PrivateKey {
	t.Helper()
	key, err := ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
