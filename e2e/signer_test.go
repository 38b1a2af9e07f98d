//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// keyScheme begins every key and signature of the protocol.
const keyScheme = "ecdsa-p256:"

// operatorKey is the private key of a reference registry here, made from its name: a
// registry that is started again has the same.
func operatorKey(name string) string {
	scalar := sha256.Sum256([]byte("entrepot tests: operator of " + name))
	scalar[0] &= 0x7f // below the order of the curve
	return keyScheme + base64.StdEncoding.EncodeToString(scalar[:])
}

// checkpoint is a signed checkpoint as it is sent.
type checkpoint struct {
	Contents struct {
		LogLength uint64 `json:"logLength"`
		LogRoot   string `json:"logRoot"`
		MapRoot   string `json:"mapRoot"`
		Timestamp uint64 `json:"timestamp"`
	} `json:"contents"`
	KeyID     string `json:"keyId"`
	Signature string `json:"signature"`
}

func parseCheckpoint(text []byte) (c checkpoint, err error) {
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("reading checkpoint %q: %w", text, err)
	}
	return c, nil
}

// sign signs the contents with a private key, as the operator would who has it.
func (c *checkpoint) sign(private string) error {
	scalar, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(private, keyScheme))
	if err != nil {
		return err
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return err
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return err
	}
	compressed := append([]byte{2 + point[64]&1}, point[1:33]...)
	id := sha256.Sum256([]byte(keyScheme + base64.StdEncoding.EncodeToString(compressed)))
	c.KeyID = "sha256:" + hex.EncodeToString(id[:])
	digest := sha256.Sum256(c.signedBytes())
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	c.Signature = keyScheme + base64.StdEncoding.EncodeToString(signature)
	return err
}

// signedBytes is what a checkpoint's signature is over.
func (c *checkpoint) signedBytes() []byte {
	text := func(s string) []byte { return slices.Concat(leb(len(s)), []byte(s)) }
	return slices.Concat(
		[]byte("WARG-CHECKPOINT-SIGNATURE-V0:WARG-TIMESTAMPED-CHECKPOINT-V0"),
		leb(int(c.Contents.LogLength)), text(c.Contents.LogRoot), text(c.Contents.MapRoot), leb(int(c.Contents.Timestamp)),
	)
}
