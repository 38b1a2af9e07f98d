package upstream

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// evidenceFormat is the version of the evidence file's form.
const evidenceFormat = 1

// evidence is the proof that what a registry signed cannot all be true. Package
// monitor describes the file and checks it with nothing but the registry's public
// key, which is in the file only to be compared with the one the reader knows.
//
//	equivocation, same length   the checkpoints' roots differ
//	equivocation, other length  the consistency proof leads from another root than the
//	                            shorter checkpoint's to the log root of the longer one
//	equivocation, one alone     the ledger leads to the checkpoint's log root, and to
//	                            another map root
//	rewind                      the second is shorter and was signed later
//
// Where somebody else than the key that began the operator log has signed, that log
// is in the file as well.
type evidence struct {
	Format       int                 `json:"format"`
	Registry     string              `json:"registry"`
	Class        string              `json:"class"`
	Reason       string              `json:"reason"`
	FoundAt      time.Time           `json:"foundAt"`
	PublicKeys   []string            `json:"publicKeys"`
	Checkpoints  []json.RawMessage   `json:"checkpoints"`           // signed: the one believed, the one refused
	Consistency  []byte              `json:"consistency,omitempty"` // log proof bundle, base64
	OperatorLogs [][]json.RawMessage `json:"operatorLogs,omitempty"`
}

// maxEvidenceLeaves bounds the ledger in an evidence file, which takes 85 bytes of
// memory for a leaf while it is made. Who needs proof of a longer one asks a monitor.
const maxEvidenceLeaves = 1 << 21

// contradiction is what the judge found.
type contradiction struct {
	class       Class
	reason      string
	believed    warg.SignedCheckpoint // zero if the refused one contradicts itself
	refused     warg.SignedCheckpoint
	op          *operator // knows the keys of both
	key         string    // without op: the one key that signed both
	consistency []byte
	ledger      Store // if not nil, its leaves up to the refused length are the proof
}

// Error describes it.
func (c *contradiction) Error() string { return c.reason }

// signed returns what was signed.
func (c *contradiction) signed() []warg.SignedCheckpoint {
	if c.believed.IsZero() {
		return []warg.SignedCheckpoint{c.refused}
	}
	return []warg.SignedCheckpoint{c.believed, c.refused}
}

// encode returns the content of the evidence file.
func (c *contradiction) encode(domain string, now time.Time) ([]byte, error) {
	e := evidence{
		Format: evidenceFormat, Registry: domain,
		Class: c.class.String(), Reason: c.reason, FoundAt: now.UTC(), Consistency: c.consistency,
	}
	delegated := false
	if c.op == nil {
		e.PublicKeys = append(e.PublicKeys, c.key)
	}
	for _, s := range c.signed() {
		e.Checkpoints = append(e.Checkpoints, api.AppendCheckpoint(nil, s))
		if c.op == nil {
			continue
		}
		if key, ok := c.op.state.Key(s.KeyID()); ok && !slices.Contains(e.PublicKeys, key.String()) {
			e.PublicKeys = append(e.PublicKeys, key.String())
		}
		delegated = delegated || s.KeyID() != c.op.signer
	}
	if delegated {
		var log []json.RawMessage
		for _, r := range c.op.records {
			log = append(log, api.AppendRecord(nil, warg.Record{Envelope: r.Envelope, Index: r.Index}))
		}
		e.OperatorLogs = append(e.OperatorLogs, log)
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err == nil && c.ledger != nil {
		text, err = appendLedger(text, c.ledger, c.refused.Unverified().LogLength)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding evidence: %w", err)
	}
	return append(text, '\n'), nil
}

// appendLedger adds packed leaves, in base64, as the last member of a JSON object.
func appendLedger(object []byte, s Store, length uint64) ([]byte, error) {
	const around = 64
	text := bytes.NewBuffer(object[:len(object)-len("\n}")])
	text.Grow(base64.StdEncoding.EncodedLen(int(length*warg.LedgerEntrySize)) + around)
	text.WriteString(",\n  \"ledger\": \"")
	encoder := base64.NewEncoder(base64.StdEncoding, text)
	for at := uint64(0); at < length; {
		packed, err := s.Ledger(at, int(min(length-at, ledgerChunk)))
		if err == nil && len(packed) == 0 {
			err = fmt.Errorf("the store's ledger ends at leaf %d", at)
		}
		if err == nil {
			_, err = encoder.Write(packed)
		}
		if err != nil {
			return nil, err
		}
		at += uint64(len(packed) / warg.LedgerEntrySize)
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	text.WriteString("\"\n}")
	return text.Bytes(), nil
}

// refusal returns the error that a contradiction is for whoever asked, with the
// evidence.
func (c *contradiction) refusal(domain string, now time.Time) *warg.Error {
	text, err := c.encode(domain, now)
	r := &Refusal{Class: c.class, Err: errors.Join(fmt.Errorf("registry `%s` contradicts itself: %s", domain, c.reason), err), Evidence: text}
	return &warg.Error{Kind: warg.KindUpstreamInvalid, Message: r.Error(), Err: r}
}

// Fork is what somebody found who is no replica: two checkpoints of one registry that
// cannot both be true.
type Fork struct {
	Domain            string
	Believed, Refused warg.SignedCheckpoint
	Key               warg.PublicKey // signed both
	Consistency       []byte         // if the lengths differ: from another root than the shorter one's to that of the longer
	Reason            string
}

// WriteFork writes the evidence of a fork into a folder and returns its name. The same
// fork is written once.
func WriteFork(fsys durable.FS, dir string, f Fork, now time.Time) (string, error) {
	c := &contradiction{
		class: ClassEquivocation, reason: f.Reason, believed: f.Believed, refused: f.Refused,
		key: f.Key.String(), consistency: f.Consistency,
	}
	text, err := c.encode(f.Domain, now)
	if err != nil {
		return "", err
	}
	return writeEvidence(fsys, dir, f.Domain, c, text)
}

// writeEvidence writes a new file and returns its name.
func writeEvidence(fsys durable.FS, dir, domain string, c *contradiction, text []byte) (string, error) {
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return "", fmt.Errorf("making directory of evidence: %w", err)
	}
	var claims [][]byte
	for _, s := range c.signed() {
		claims = append(claims, s.Unverified().Encode())
	}
	id := warg.Sum(claims...).Hex()[:evidenceID]
	name := filepath.Join(dir, fmt.Sprintf("%s-%s-%s.json", fileName(domain), c.class, id))
	if _, err := fsys.Stat(name); err == nil {
		return name, nil // the same two statements, found again
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("writing evidence: %w", err)
	}
	if err := durable.Replace(fsys, name, text, nil); err != nil {
		return "", fmt.Errorf("writing evidence: %w", err)
	}
	return name, nil
}

// fileName makes a domain, which may hold a port and brackets, a plain file name.
func fileName(domain string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(":[]/\\", r) {
			return '_'
		}
		return r
	}, domain)
}
