package observer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// Checkpoint is a signed checkpoint as it is sent.
type Checkpoint struct {
	Contents struct {
		LogRoot   string `json:"logRoot"`
		LogLength uint64 `json:"logLength"`
		MapRoot   string `json:"mapRoot"`
		Timestamp uint64 `json:"timestamp"` // seconds since 1970
	} `json:"contents"`
	KeyID     string `json:"keyId"`
	Signature string `json:"signature"`
}

const keyScheme = "ecdsa-p256:"

// signed is what the signature is over.
func (c Checkpoint) signed() []byte {
	b := []byte("WARG-CHECKPOINT-SIGNATURE-V0:WARG-TIMESTAMPED-CHECKPOINT-V0")
	b = binary.AppendUvarint(b, c.Contents.LogLength)
	b = append(append(b, str(c.Contents.LogRoot)...), str(c.Contents.MapRoot)...)
	return binary.AppendUvarint(b, c.Contents.Timestamp)
}

func (c Checkpoint) verify(key *ecdsa.PublicKey) error {
	der, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(c.Signature, keyScheme))
	if err != nil {
		return fmt.Errorf("the signature is not base64: %w", err)
	}
	digest := sha256.Sum256(c.signed())
	if !ecdsa.VerifyASN1(key, digest[:], der) {
		return errors.New("the signature does not hold")
	}
	return nil
}

var keyText = regexp.MustCompile(keyScheme + `[A-Za-z0-9+/]{44}`)

// keyOf finds the key of an id among the keys that stand in a record. The id is the
// hash of the key's text, so that nothing else of the record needs to be believed.
func keyOf(id string, record []byte) (*ecdsa.PublicKey, bool) {
	for _, found := range keyText.FindAll(record, -1) {
		if h := sum(found); text(h[:]) != id {
			continue
		}
		point, err := base64.StdEncoding.DecodeString(string(found[len(keyScheme):]))
		if err != nil {
			return nil, false
		}
		key, err := decompress(point)
		return key, err == nil
	}
	return nil, false
}

// decompress reads a compressed point: the parity of y, then x.
func decompress(point []byte) (*ecdsa.PublicKey, error) {
	if len(point) != 33 || point[0] != 2 && point[0] != 3 {
		return nil, errors.New("not a compressed point")
	}
	p := elliptic.P256().Params()
	x := new(big.Int).SetBytes(point[1:])
	y := new(big.Int).Exp(x, big.NewInt(3), p.P) // y² = x³ - 3x + b
	y.Sub(y, new(big.Int).Mul(big.NewInt(3), x)).Add(y, p.B).Mod(y, p.P)
	if y.ModSqrt(y, p.P) == nil {
		return nil, errors.New("not a point of the curve")
	}
	if y.Bit(0) != uint(point[0]&1) {
		y.Sub(p.P, y)
	}
	full := make([]byte, 65)
	full[0] = 4
	x.FillBytes(full[1:33])
	y.FillBytes(full[33:])
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), full)
}
