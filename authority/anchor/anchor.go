package anchor

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Anchor is the last issued checkpoint of a registry and what belongs to it.
type Anchor struct {
	Registry  warg.Digest // id of the registry
	Domain    string
	Previous  warg.Digest // SHA-256 of the anchor before this one
	Directory durable.Identity
	Frozen    bool       // no checkpoint will ever follow
	KeyID     warg.KeyID // of the key that signs
	Signed    warg.SignedCheckpoint
}

// IsGenesis reports whether nothing was ever signed.
func (a Anchor) IsGenesis() bool { return a.Signed.IsZero() }

// Length returns the number of leaves that were signed for.
func (a Anchor) Length() uint64 { return a.Signed.Unverified().LogLength }

// Time returns when the checkpoint was signed, in seconds since the Unix epoch.
func (a Anchor) Time() uint64 { return a.Signed.Unverified().Timestamp }

const (
	firstLine = "entrepot-anchor 1"
	sumWord   = "sum "
	frozen    = "frozen"
	noFlags   = "-"
)

// encode returns the file's content.
func (a Anchor) encode() []byte {
	var b strings.Builder
	line := func(word, format string, args ...any) {
		fmt.Fprintf(&b, "%s "+format+"\n", append([]any{word}, args...)...)
	}
	b.WriteString(firstLine + "\n")
	line("registry", "%s", a.Registry.Hex())
	line("domain", "%s", a.Domain)
	line("previous", "%s", a.Previous.Hex())
	line("directory", "%d %d", a.Directory.Inode, a.Directory.Birth)
	flags := noFlags
	if a.Frozen {
		flags = frozen
	}
	line("flags", "%s", flags)
	line("key", "%s", a.KeyID)
	c := a.Signed.Unverified()
	line("length", "%d", c.LogLength)
	if !a.IsGenesis() {
		line("log-root", "%s", c.LogRoot)
		line("map-root", "%s", c.MapRoot)
		line("time", "%d", c.Timestamp)
		line("signature", "%s", a.Signed.Signature())
	}
	line("sum", "%s", warg.Sum([]byte(b.String())).Hex())
	return []byte(b.String())
}

// errDamaged is part of every error that says the file is not what was written.
var errDamaged = errors.New("anchor is damaged")

// parse reads what encode wrote, and nothing else.
func parse(b []byte) (a Anchor, err error) {
	text := string(b)
	at := strings.LastIndex(text, "\n"+sumWord)
	if at < 0 || text[at+1+len(sumWord):] != warg.Sum(b[:at+1]).Hex()+"\n" {
		return a, fmt.Errorf("%w: wrong checksum", errDamaged)
	}
	lines := strings.Split(text[:at], "\n")
	if lines[0] != firstLine {
		return a, fmt.Errorf("anchor begins with %q, which this program does not know", lines[0])
	}
	words := map[string]string{}
	for _, l := range lines[1:] {
		word, value, _ := strings.Cut(l, " ")
		words[word] = value
	}
	a, err = fromWords(words)
	if err == nil && string(a.encode()) != text {
		err = errors.New("lines are missing, unknown or out of order")
	}
	if err != nil {
		return Anchor{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return a, nil
}

func fromWords(words map[string]string) (a Anchor, err error) {
	digest := func(d *warg.Digest, word string) {
		raw, e := hex.DecodeString(words[word])
		if e == nil && len(raw) != warg.DigestSize {
			e = fmt.Errorf("%s has %d bytes", word, len(raw))
		}
		copy(d[:], raw)
		err = errors.Join(err, e)
	}
	digest(&a.Registry, "registry")
	digest(&a.Previous, "previous")
	a.Domain, a.KeyID = words["domain"], warg.KeyID(words["key"])
	a.Frozen = words["flags"] == frozen
	if _, e := fmt.Sscanf(words["directory"], "%d %d", &a.Directory.Inode, &a.Directory.Birth); e != nil {
		err = errors.Join(err, e)
	}
	if _, signed := words["signature"]; signed {
		var e error
		a.Signed, e = signedFromWords(words, a.KeyID)
		err = errors.Join(err, e)
	}
	return a, err
}

func signedFromWords(words map[string]string, key warg.KeyID) (warg.SignedCheckpoint, error) {
	var c warg.CheckpointClaims
	var sig warg.Signature
	var errs [5]error
	c.LogLength, errs[0] = strconv.ParseUint(words["length"], 10, 64)
	c.LogRoot, errs[1] = warg.ParseAnyHash(words["log-root"])
	c.MapRoot, errs[2] = warg.ParseAnyHash(words["map-root"])
	c.Timestamp, errs[3] = strconv.ParseUint(words["time"], 10, 64)
	sig, errs[4] = warg.ParseSignature(words["signature"])
	return warg.NewSignedCheckpoint(c, key, sig), errors.Join(errs[:]...)
}
