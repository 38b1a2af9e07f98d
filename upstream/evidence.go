package upstream

import (
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

// evidence is the proof that a registry signed two checkpoints that cannot both be
// true. It can be checked with nothing but the registry's public key, which is in
// the file only to be compared with the one the reader knows.
//
//	equivocation, same length   the checkpoints' roots differ
//	equivocation, other length  the consistency proof leads from another root than the
//	                            shorter checkpoint's to the log root of the longer one
//	rewind                      the second is shorter and was signed later
type evidence struct {
	Format      int               `json:"format"`
	Registry    string            `json:"registry"`
	Class       string            `json:"class"`
	Reason      string            `json:"reason"`
	FoundAt     time.Time         `json:"foundAt"`
	PublicKeys  []string          `json:"publicKeys"`
	Checkpoints []json.RawMessage `json:"checkpoints"`           // signed: the one believed, the one refused
	Consistency []byte            `json:"consistency,omitempty"` // log proof bundle, base64
}

// contradiction is what the judge found.
type contradiction struct {
	class       Class
	reason      string
	believed    warg.SignedCheckpoint
	refused     warg.SignedCheckpoint
	op          *operator // knows the keys of both
	consistency []byte
}

// Error describes it.
func (c *contradiction) Error() string { return c.reason }

// encode returns the content of the evidence file.
func (c *contradiction) encode(domain string, now time.Time) ([]byte, error) {
	e := evidence{
		Format: evidenceFormat, Registry: domain,
		Class: c.class.String(), Reason: c.reason, FoundAt: now.UTC(),
		Checkpoints: []json.RawMessage{api.AppendCheckpoint(nil, c.believed), api.AppendCheckpoint(nil, c.refused)},
		Consistency: c.consistency,
	}
	for _, s := range []warg.SignedCheckpoint{c.believed, c.refused} {
		if key, ok := c.op.state.Key(s.KeyID()); ok && !slices.Contains(e.PublicKeys, key.String()) {
			e.PublicKeys = append(e.PublicKeys, key.String())
		}
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding evidence: %w", err)
	}
	return append(text, '\n'), nil
}

// refusal returns the error that a contradiction is for whoever asked, with the
// evidence.
func (c *contradiction) refusal(domain string, now time.Time) *warg.Error {
	text, err := c.encode(domain, now)
	r := &Refusal{Class: c.class, Err: errors.Join(fmt.Errorf("registry `%s` contradicts itself: %s", domain, c.reason), err), Evidence: text}
	return &warg.Error{Kind: warg.KindUpstreamInvalid, Message: r.Error(), Err: r}
}

// writeEvidence writes a new file and returns its name.
func writeEvidence(fsys durable.FS, dir, domain string, c *contradiction, text []byte) (string, error) {
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return "", fmt.Errorf("making directory of evidence: %w", err)
	}
	id := warg.Sum(c.believed.Unverified().Encode(), c.refused.Unverified().Encode()).Hex()[:16]
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
