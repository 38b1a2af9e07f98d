package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
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

// writeEvidence writes a new file and returns its name.
func writeEvidence(fsys durable.FS, dir, domain string, c *contradiction, now time.Time) (string, error) {
	e := evidence{
		Format: evidenceFormat, Registry: domain,
		Class: c.class.String(), Reason: c.reason, FoundAt: now.UTC(),
		Checkpoints: []json.RawMessage{api.AppendCheckpoint(nil, c.believed), api.AppendCheckpoint(nil, c.refused)},
		Consistency: c.consistency,
	}
	for _, s := range []warg.SignedCheckpoint{c.believed, c.refused} {
		if key, ok := c.op.state.Key(s.KeyID()); ok {
			e.PublicKeys = append(e.PublicKeys, key.String())
		}
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding evidence: %w", err)
	}
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return "", fmt.Errorf("making directory of evidence: %w", err)
	}
	id := warg.Sum(e.Checkpoints[0], e.Checkpoints[1]).Hex()[:16]
	name := filepath.Join(dir, fmt.Sprintf("%s-%s-%s.json", fileName(domain), e.Class, id))
	if _, err := fsys.Stat(name); err == nil {
		return name, nil // the same two statements, found again
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("writing evidence: %w", err)
	}
	if err := durable.Replace(fsys, name, append(text, '\n'), nil); err != nil {
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
