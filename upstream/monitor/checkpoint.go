package monitor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// checkpoint is a signed checkpoint with what it says. It is believed only after
// its signature was verified.
type checkpoint struct {
	length    uint64
	logRoot   hash
	mapRoot   hash
	timestamp uint64 // seconds since the Unix epoch
	signed    warg.SignedCheckpoint
}

// readCheckpoint takes the values out of a signed checkpoint.
func readCheckpoint(s warg.SignedCheckpoint) (checkpoint, error) {
	claims := s.Unverified()
	c := checkpoint{length: claims.LogLength, timestamp: claims.Timestamp, signed: s}
	var logErr, mapErr error
	c.logRoot, logErr = claims.LogRoot.Digest()
	c.mapRoot, mapErr = claims.MapRoot.Digest()
	if err := errors.Join(logErr, mapErr); err != nil {
		return c, fmt.Errorf("reading the roots of a checkpoint: %w", err)
	}
	if c.length == 0 || c.length > warg.MaxRegistryLength {
		return c, fmt.Errorf("a checkpoint claims the length %d, which no registry has", c.length)
	}
	return c, nil
}

// sameView reports whether two checkpoints say the same, apart from when.
func (c checkpoint) sameView(o checkpoint) bool {
	return c.length == o.length && c.logRoot == o.logRoot && c.mapRoot == o.mapRoot
}

// signedBy verifies the signature.
func (c checkpoint) signedBy(k publicKey) bool {
	return k.id == c.signed.KeyID() && k.verifies(signedText(c), c.signed.Signature())
}

// publicKey is a key with its fingerprint.
type publicKey struct {
	id   warg.KeyID
	text string
	key  *ecdsa.PublicKey
}

const keyPrefix = "ecdsa-p256:"

// readKey takes a key over. The fingerprint is that of the text of the compressed
// point, whatever spelling the key came in; warg.PublicKey prints that.
func readKey(k warg.PublicKey) (publicKey, error) {
	printed := k.String()
	point, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(printed, keyPrefix))
	if err != nil {
		return publicKey{}, fmt.Errorf("reading key %s: %w", printed, err)
	}
	curve := elliptic.P256()
	x, y := elliptic.UnmarshalCompressed(curve, point)
	if x == nil {
		return publicKey{}, fmt.Errorf("reading key %s: it is not a point of the curve", printed)
	}
	const coordinate = 32
	var uncompressed [1 + 2*coordinate]byte
	uncompressed[0] = 4
	x.FillBytes(uncompressed[1 : 1+coordinate])
	y.FillBytes(uncompressed[1+coordinate:])
	key, err := ecdsa.ParseUncompressedPublicKey(curve, uncompressed[:])
	if err != nil {
		return publicKey{}, fmt.Errorf("reading key %s: %w", printed, err)
	}
	id := sha256.Sum256([]byte(printed))
	return publicKey{warg.KeyID(text(id)), printed, key}, nil
}

// verifies reports whether a signature over the signed bytes is of the key.
func (k publicKey) verifies(signed []byte, s warg.Signature) bool {
	der, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.String(), keyPrefix))
	digest := sha256.Sum256(signed)
	return err == nil && k.key != nil && ecdsa.VerifyASN1(k.key, digest[:], der)
}
