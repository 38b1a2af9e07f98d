package warg

import (
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// signRaw signs a message as it is, without the prefix of a kind of message.
func signRaw(t *testing.T, k PrivateKey, msg []byte) Signature {
	t.Helper()
	h := Sum(msg)
	der, err := k.key.Sign(nil, h[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return Signature{string(der)}
}

func TestVectorSignatures(t *testing.T) {
	alice := MustKey(t, AliceText)
	cases := ReadGroup[[]*struct{ Msg, Sig string }](t, "signatures")
	ran := 0
	for _, c := range cases {
		if c == nil {
			continue
		}
		ran++
		msg, err := hex.DecodeString(c.Msg)
		if err != nil {
			t.Fatal(err)
		}
		if got := signRaw(t, alice, msg); got.String() != c.Sig {
			t.Errorf("%q: %s, want %s", msg, got, c.Sig)
		}
	}
	t.Logf("%d cases", ran)
	if ran == 0 {
		t.Error("no cases")
	}
	if want := ReadGroup[string](t, "sigRawDer"); hex.EncodeToString([]byte(signRaw(t, alice, []byte("warg")).der)) != want {
		t.Error("DER differs")
	}
}

// TestVectorRFC6979 uses the key of RFC 6979, A.2.5. One of its signatures has
// the larger of the two possible s; both are accepted.
func TestVectorRFC6979(t *testing.T) {
	c := ReadGroup[struct{ Pub, Sample, Test string }](t, "rfc6979")
	scalar, err := hex.DecodeString("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
	if err != nil {
		t.Fatal(err)
	}
	key := MustKey(t, "ecdsa-p256:"+base64.StdEncoding.EncodeToString(scalar))
	if key.Public().String() != c.Pub {
		t.Errorf("public key %s, want %s", key.Public(), c.Pub)
	}
	for msg, want := range map[string]string{"sample": c.Sample, "test": c.Test} {
		if got := signRaw(t, key, []byte(msg)); got.String() != want {
			t.Errorf("%s: %s, want %s", msg, got, want)
		}
	}
}

// TestSignVerify: a signature holds for its message, kind of message and key alone.
func TestSignVerify(t *testing.T) {
	alice, bob := MustKey(t, AliceText), MustKey(t, BobText)
	msg := []byte("content")
	pkg, op := alice.SignPackageRecord(msg), alice.SignOperatorRecord(msg)
	if err := alice.Public().VerifyPackageRecord(msg, pkg); err != nil {
		t.Error(err)
	}
	if err := alice.Public().VerifyOperatorRecord(msg, op); err != nil {
		t.Error(err)
	}
	if pkg != alice.SignPackageRecord(msg) {
		t.Error("signing is not deterministic")
	}
	for name, err := range map[string]error{
		"other message":  alice.Public().VerifyPackageRecord([]byte("Content"), pkg),
		"other kind":     alice.Public().VerifyPackageRecord(msg, op),
		"kind reversed":  alice.Public().VerifyOperatorRecord(msg, pkg),
		"other key":      bob.Public().VerifyPackageRecord(msg, pkg),
		"no signature":   alice.Public().VerifyPackageRecord(msg, Signature{}),
		"no key":         PublicKey{}.VerifyPackageRecord(msg, pkg),
		"flipped signer": alice.Public().VerifyPackageRecord(msg, bob.SignPackageRecord(msg)),
	} {
		if label(err) != "SignatureError" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSignatureBits: no bit of a signature can be changed.
func TestSignatureBits(t *testing.T) {
	alice := MustKey(t, AliceText)
	msg := []byte("content")
	der := []byte(alice.SignPackageRecord(msg).der)
	for i := range len(der) * 8 {
		changed := append([]byte{}, der...)
		changed[i/8] ^= 1 << (i % 8)
		s, err := ParseSignature(encodeAlgorithmText(changed))
		if err == nil && alice.Public().VerifyPackageRecord(msg, s) == nil {
			t.Errorf("bit %d makes no difference", i)
		}
	}
}

func TestGenerateKey(t *testing.T) {
	a, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if a.Text() == b.Text() {
		t.Error("two generated keys are equal")
	}
	if again := MustKey(t, a.Text()); again.Public().ID() != a.Public().ID() {
		t.Error("a printed key reads as another")
	}
}

// TestKeySecrecy: nothing that prints a private key by accident shows it.
func TestKeySecrecy(t *testing.T) {
	alice := MustKey(t, AliceText)
	secret := strings.TrimPrefix(AliceText, "ecdsa-p256:")
	for _, format := range []string{"%v", "%+v", "%s", "%#v", "%q"} {
		got := fmt.Sprintf(format, alice)
		if strings.Contains(got, secret) || !strings.Contains(got, string(alice.Public().ID())) {
			t.Errorf("%s prints %s", format, got)
		}
	}
	if (PrivateKey{}).String() != "no key" || !(PrivateKey{}).IsZero() {
		t.Error("the zero key prints as a key")
	}
}
