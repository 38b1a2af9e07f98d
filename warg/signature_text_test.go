package warg

import (
	"math/big"
	"testing"
)

// FuzzParseSignatureText: both ways to read a signature agree in all respects.
func FuzzParseSignatureText(f *testing.F) {
	key, err := GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	good := key.SignPackageRecord(nil).String()
	for _, s := range []string{good, "", "ecdsa-p256:", "ecdsa-p256:AAAA", "x" + good, good + "\n", good[:30] + "\n" + good[30:], good + "=", good + good, "ecdsa-p256:MAYCAQECAQE=", "ecdsa-p256:MAYCAQECAQF="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseSignatureText(text)
		want, wantErr := ParseSignature(string(text))
		if got != want || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("%q: got %v, %v; want %v, %v", text, got, err, want, wantErr)
		}
		if err == nil && got.String() != string(text) {
			t.Fatalf("%q prints as %q", text, got)
		}
	})
}

func TestParseSignatureTextAllocatesOnlyTheResult(t *testing.T) {
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(key.SignPackageRecord(nil).String())
	if n := testing.AllocsPerRun(10, func() { _, _ = ParseSignatureText(text) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestBelowOrder(t *testing.T) {
	order := new(big.Int).SetBytes(orderP256)
	for _, tt := range []struct {
		offset int64
		want   bool
	}{{-1, true}, {0, false}, {1, false}} {
		v := new(big.Int).Add(order, big.NewInt(tt.offset)).Bytes()
		if belowOrder(v) != tt.want || belowOrder(append([]byte{0}, v...)) != tt.want {
			t.Errorf("order%+d: want %v", tt.offset, tt.want)
		}
	}
	if !belowOrder([]byte{1}) || belowOrder(append([]byte{1}, make([]byte, 32)...)) {
		t.Error("lengths are not told apart")
	}
}
