package warg

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

// checkpointJSON are the members of a checkpoint in JSON; the strict reading of
// bodies is api's.
type checkpointJSON struct {
	LogRoot   string
	LogLength uint64
	MapRoot   string
	Timestamp uint64
}

func (c checkpointJSON) claims(t *testing.T) CheckpointClaims {
	t.Helper()
	logRoot, err := ParseAnyHash(c.LogRoot)
	if err != nil {
		t.Fatal(err)
	}
	mapRoot, err := ParseAnyHash(c.MapRoot)
	if err != nil {
		t.Fatal(err)
	}
	return CheckpointClaims{c.LogLength, logRoot, mapRoot, c.Timestamp}
}

func TestVectorOddCheckpoint(t *testing.T) {
	c := ReadGroup[struct{ Hex, JSON string }](t, "oddCheckpoint")
	claims := DecodeTestdata[checkpointJSON](t, "checkpoint", []byte(c.JSON)).claims(t)
	if got := hex.EncodeToString(claims.EncodeUntimed()); got != c.Hex {
		t.Errorf("got %s, want %s", got, c.Hex)
	}
	// Short roots verify, for the signature is over what is claimed, but do not open.
	alice := MustKey(t, AliceText)
	signed := NewSignedCheckpoint(claims, alice.Public().ID(), alice.sign(signCheckpointPrefix, claims.Encode()))
	if _, err := signed.Open(alice.Public()); label(err) != "IncorrectLength" {
		t.Errorf("opening short roots: %v", err)
	}
}

func label(err error) string {
	var pe *ParseError
	if errors.As(err, &pe) {
		return pe.Label
	}
	return fmt.Sprintf("%T", err)
}

func TestVectorCheckpoints(t *testing.T) {
	type checkpointCase struct {
		LogLength, Timestamp                                         uint64
		LogRoot, MapRoot                                             string
		CheckpointHex, CheckpointHash, CheckpointJSON, TCHex, TCHash string
		Envelope                                                     string
	}
	type envelopeJSON struct {
		Contents         json.RawMessage
		KeyID, Signature string
	}
	alice := MustKey(t, AliceText)
	cases := ReadGroup[[]*checkpointCase](t, "checkpoints")
	ran := 0
	for _, c := range cases {
		if c == nil {
			continue
		}
		ran++
		t.Run(fmt.Sprint(c.LogLength), func(t *testing.T) {
			claims := checkpointJSON{c.LogRoot, c.LogLength, c.MapRoot, c.Timestamp}.claims(t)
			untimed, timed := claims.EncodeUntimed(), claims.Encode()
			if hex.EncodeToString(untimed) != c.CheckpointHex || Sum(untimed).String() != c.CheckpointHash {
				t.Errorf("encodes as %x", untimed)
			}
			if hex.EncodeToString(timed) != c.TCHex || Sum(timed).String() != c.TCHash {
				t.Errorf("encodes timed as %x", timed)
			}

			env := DecodeTestdata[envelopeJSON](t, "envelope", []byte(c.Envelope))
			fromJSON := DecodeTestdata[checkpointJSON](t, "contents", env.Contents)
			bare := DecodeTestdata[checkpointJSON](t, "checkpoint", []byte(c.CheckpointJSON))
			bare.Timestamp = c.Timestamp
			if fromJSON.claims(t) != claims || bare != fromJSON {
				t.Errorf("JSON says %+v", fromJSON)
			}
			sig, err := ParseSignature(env.Signature)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := NewSignedCheckpoint(claims, KeyID(env.KeyID), sig).Open(alice.Public())
			if err != nil {
				t.Fatal(err)
			}
			if opened.Claims() != claims || opened.Sign(alice).Signature() != sig || opened.Sign(alice).KeyID() != KeyID(env.KeyID) {
				t.Errorf("opened %+v, signs as %s", opened, opened.Sign(alice).Signature())
			}
		})
	}
	t.Logf("%d cases", ran)
	if ran == 0 {
		t.Error("no cases")
	}
}

// TestCheckpointTampered: whatever is changed, the checkpoint does not open.
func TestCheckpointTampered(t *testing.T) {
	alice, bob := MustKey(t, AliceText), MustKey(t, BobText)
	c := Checkpoint{LogLength: 7, LogRoot: Sum([]byte("log")), MapRoot: Sum([]byte("map")), Timestamp: 1700000000}
	good := c.Sign(alice)
	if got, err := good.Open(alice.Public()); err != nil || got != c {
		t.Fatalf("opened %+v, %v", got, err)
	}
	change := func(f func(*CheckpointClaims)) SignedCheckpoint {
		claims := c.Claims()
		f(&claims)
		return NewSignedCheckpoint(claims, good.KeyID(), good.Signature())
	}
	other := Sum([]byte("other")).AnyHash()
	for name, s := range map[string]SignedCheckpoint{
		"zero":         {},
		"length":       change(func(c *CheckpointClaims) { c.LogLength++ }),
		"log root":     change(func(c *CheckpointClaims) { c.LogRoot = other }),
		"map root":     change(func(c *CheckpointClaims) { c.MapRoot = other }),
		"roots":        change(func(c *CheckpointClaims) { c.LogRoot, c.MapRoot = c.MapRoot, c.LogRoot }),
		"timestamp":    change(func(c *CheckpointClaims) { c.Timestamp-- }),
		"no signature": NewSignedCheckpoint(c.Claims(), good.KeyID(), Signature{}),
		"other signer": NewSignedCheckpoint(c.Claims(), good.KeyID(), c.Sign(bob).Signature()),
		"other key id": NewSignedCheckpoint(c.Claims(), bob.Public().ID(), good.Signature()),
		"record":       NewSignedCheckpoint(c.Claims(), good.KeyID(), alice.SignPackageRecord(c.Claims().Encode())),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := s.Open(alice.Public()); err == nil || got != (Checkpoint{}) {
				t.Errorf("opened %+v, %v", got, err)
			}
		})
	}
	if _, err := good.Open(PublicKey{}); err == nil {
		t.Error("opened with no key")
	}
	if !(SignedCheckpoint{}).IsZero() || good.IsZero() || good.Unverified() != c.Claims() {
		t.Error("zero or claims wrong")
	}
}

func TestSameView(t *testing.T) {
	c := Checkpoint{LogLength: 1, LogRoot: Sum([]byte("a")), MapRoot: Sum([]byte("b")), Timestamp: 5}
	later, longer, otherLog, otherMap := c, c, c, c
	later.Timestamp++
	longer.LogLength++
	otherLog.LogRoot[31] ^= 1
	otherMap.MapRoot[0] ^= 1
	if !c.SameView(later) || c.SameView(longer) || c.SameView(otherLog) || c.SameView(otherMap) {
		t.Error("SameView is wrong")
	}
}
