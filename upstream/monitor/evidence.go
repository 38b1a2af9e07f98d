package monitor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Classes of what evidence proves.
const (
	ClassEquivocation = "equivocation" // two statements about one log that cannot both be true
	ClassRewind       = "rewind"       // a shorter checkpoint signed later than a longer one
)

const evidenceFormat = 1

// evidenceFile is an evidence file; see the package's comment.
type evidenceFile struct {
	Format       int                 `json:"format"`
	Registry     string              `json:"registry"`
	Class        string              `json:"class"`
	Reason       string              `json:"reason"`
	FoundAt      time.Time           `json:"foundAt"`
	PublicKeys   []string            `json:"publicKeys"`
	Checkpoints  []json.RawMessage   `json:"checkpoints"`
	Consistency  []byte              `json:"consistency,omitempty"`
	OperatorLogs [][]json.RawMessage `json:"operatorLogs,omitempty"`
	Ledger       []byte              `json:"ledger,omitempty"`
}

// contradiction is what a registry is convicted by.
type contradiction struct {
	class       string
	reason      string
	believed    *checkpoint // nil if the other contradicts itself
	refused     checkpoint
	operators   []*operator // the logs by which the signers count
	consistency []byte
	ledger      uint64 // leaves of our ledger that belong to the proof, 0 = none
}

// Error describes the contradiction.
func (c *contradiction) Error() string { return c.reason }

// checkpoints lists what was signed: what was believed before, if anything, first.
func (c *contradiction) checkpoints() []checkpoint {
	if c.believed == nil {
		return []checkpoint{c.refused}
	}
	return []checkpoint{*c.believed, c.refused}
}

// id is the same for every pair of signed statements that say the same.
func (c *contradiction) id() string {
	b := []byte(c.class)
	for _, s := range c.checkpoints() {
		b = fmt.Appendf(b, " %d %s %s", s.length, text(s.logRoot), text(s.mapRoot))
	}
	return warg.Sum(b).Hex()[:16]
}

// file returns the evidence without the ledger.
func (c *contradiction) file(registry string, now time.Time) evidenceFile {
	e := evidenceFile{
		Format: evidenceFormat, Registry: registry, Class: c.class, Reason: c.reason, FoundAt: now.UTC(),
		Consistency: c.consistency, PublicKeys: []string{}, Checkpoints: []json.RawMessage{},
	}
	for _, s := range c.checkpoints() {
		e.Checkpoints = append(e.Checkpoints, api.AppendCheckpoint(nil, s.signed))
	}
	for _, op := range c.operators {
		needed := false
		for _, s := range c.checkpoints() {
			key, ok := op.keys[s.signed.KeyID()]
			if ok && !slices.Contains(e.PublicKeys, key.text) {
				e.PublicKeys = append(e.PublicKeys, key.text)
			}
			needed = needed || ok && key.id != op.beganBy
		}
		if needed { // else who trusts the key that began the log needs no more
			e.OperatorLogs = append(e.OperatorLogs, op.published())
		}
	}
	return e
}

// published returns the records of an operator log as the API has them.
func (op *operator) published() []json.RawMessage {
	list := make([]json.RawMessage, 0, len(op.records))
	for _, r := range op.records {
		list = append(list, publishedRecord(r))
	}
	return list
}

// publishedRecord returns a record as the API has it, without the fetch token, which
// may be of any size and has no meaning later.
func publishedRecord(r warg.Record) []byte {
	return api.AppendRecord(nil, warg.Record{Envelope: r.Envelope, Index: r.Index})
}

// writeEvidence writes a new file and returns its name. Ledger is where the leaves
// come from, if the proof needs them.
func writeEvidence(fsys durable.FS, dir string, c *contradiction, e evidenceFile, ledger io.ReaderAt) (string, error) {
	content, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding evidence: %w", err)
	}
	if c.ledger > 0 {
		content, err = appendLedger(content, io.NewSectionReader(ledger, 0, int64(c.ledger*leafSize)))
		if err != nil {
			return "", fmt.Errorf("adding the ledger to evidence: %w", err)
		}
	}
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return "", fmt.Errorf("making the folder of evidence: %w", err)
	}
	name := filepath.Join(dir, c.class+"-"+c.id()+".json")
	if _, err := fsys.Stat(name); err == nil {
		return name, nil // written before a crash
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("writing evidence: %w", err)
	}
	if err := durable.Replace(fsys, name, append(content, '\n'), nil); err != nil {
		return "", fmt.Errorf("writing evidence: %w", err)
	}
	return name, nil
}

// appendLedger adds the last member to a JSON object. It can be of hundreds of
// megabytes, so it is encoded in place.
func appendLedger(object []byte, leaves *io.SectionReader) ([]byte, error) {
	const around = 64
	out := bytes.NewBuffer(object[:len(object)-len("\n}")])
	out.Grow(base64.StdEncoding.EncodedLen(int(leaves.Size())) + around)
	out.WriteString(",\n  \"ledger\": \"")
	encoder := base64.NewEncoder(base64.StdEncoding, out)
	_, err := io.Copy(encoder, leaves)
	if err = errors.Join(err, encoder.Close()); err != nil {
		return nil, err
	}
	out.WriteString("\"\n}")
	return out.Bytes(), nil
}
