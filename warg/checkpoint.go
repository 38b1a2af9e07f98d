package warg

import (
	"encoding/binary"
)

// Checkpoint is the verified state of a registry at one length of its log.
type Checkpoint struct {
	LogLength uint64 // number of leaves
	LogRoot   Digest // root of the verifiable log
	MapRoot   Digest // root of the verifiable map
	Timestamp uint64 // when it was signed, whole seconds since the Unix epoch
}

// SameView reports whether both describe the same length and roots; when they
// were signed does not matter.
func (c Checkpoint) SameView(o Checkpoint) bool {
	return c.LogLength == o.LogLength && c.LogRoot == o.LogRoot && c.MapRoot == o.MapRoot
}

// CheckpointClaims are the four values of a signed checkpoint as it states them,
// before anything was verified. Roots may have any length here.
type CheckpointClaims struct {
	LogLength uint64
	LogRoot   AnyHash
	MapRoot   AnyHash
	Timestamp uint64
}

// Claims returns c as unverified claims.
func (c Checkpoint) Claims() CheckpointClaims {
	return CheckpointClaims{c.LogLength, c.LogRoot.AnyHash(), c.MapRoot.AnyHash(), c.Timestamp}
}

// EncodeUntimed returns the encoding without the timestamp, whose SHA-256 is the
// checkpoint's id.
func (c CheckpointClaims) EncodeUntimed() []byte { return c.appendTo([]byte(tagCheckpoint)) }

// Encode returns the timestamped encoding, over which the signature stands.
func (c CheckpointClaims) Encode() []byte {
	b := c.appendTo([]byte(tagTimedCheckpoint))
	return binary.AppendUvarint(b, c.Timestamp)
}

func (c CheckpointClaims) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, c.LogLength)
	b = appendStr(b, c.LogRoot.String())
	return appendStr(b, c.MapRoot.String())
}

// SignedCheckpoint is a checkpoint with its signature, not yet verified. Open
// verifies it.
type SignedCheckpoint struct {
	claims    CheckpointClaims
	keyID     KeyID
	signature Signature
}

// NewSignedCheckpoint assembles a signed checkpoint from its parts, as a decoder does.
func NewSignedCheckpoint(claims CheckpointClaims, keyID KeyID, sig Signature) SignedCheckpoint {
	return SignedCheckpoint{claims, keyID, sig}
}

// Sign signs the checkpoint.
func (c Checkpoint) Sign(key PrivateKey) SignedCheckpoint {
	claims := c.Claims()
	return SignedCheckpoint{claims, key.Public().ID(), key.sign(signCheckpointPrefix, claims.Encode())}
}

// IsZero reports whether s is the zero value, which is no checkpoint.
func (s SignedCheckpoint) IsZero() bool { return s.keyID == "" && s.signature.IsZero() }

// KeyID returns the id of the key that is said to have signed.
func (s SignedCheckpoint) KeyID() KeyID { return s.keyID }

// Signature returns the signature.
func (s SignedCheckpoint) Signature() Signature { return s.signature }

// Unverified returns what the checkpoint claims. Use it to decide what to fetch
// or to print, never as a fact.
func (s SignedCheckpoint) Unverified() CheckpointClaims { return s.claims }

// Open verifies the signature with key and that both roots are SHA-256 digests of
// full length. Whether that key was allowed to sign at this length is for the
// operator log to say.
func (s SignedCheckpoint) Open(key PublicKey) (Checkpoint, error) {
	if key.IsZero() || key.ID() != s.keyID {
		return Checkpoint{}, parseErr("KeyIDNotRecognized", "checkpoint was signed by key `%s`", s.keyID)
	}
	if err := key.verify(signCheckpointPrefix, s.claims.Encode(), s.signature); err != nil {
		return Checkpoint{}, err
	}
	logRoot, err := s.claims.LogRoot.Digest()
	if err != nil {
		return Checkpoint{}, err
	}
	mapRoot, err := s.claims.MapRoot.Digest()
	if err != nil {
		return Checkpoint{}, err
	}
	return Checkpoint{s.claims.LogLength, logRoot, mapRoot, s.claims.Timestamp}, nil
}
