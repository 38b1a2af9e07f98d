package check

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Class says what a finding is about.
type Class string

// The classes.
const (
	Anchor   Class = "anchor"
	History  Class = "history" // of checkpoints
	Journal  Class = "journal"
	Roots    Class = "roots"     // journal and checkpoints contradict each other
	Signer   Class = "signature" // of a checkpoint
	Operator Class = "operator log"
	Package  Class = "package log"
	Pending  Class = "pending"
	Content  Class = "content"
	Index    Class = "index"
	Adopted  Class = "adopted"
)

// Finding is something that is not as it was written.
type Finding struct {
	Class    Class       `json:"class"`
	File     string      `json:"file"`
	Offset   int64       `json:"offset"` // in bytes
	Reason   string      `json:"reason"`
	Harmless bool        `json:"harmless,omitempty"` // a crash can leave it, and the next start mends it
	Digest   warg.Digest `json:"-"`                  // of Content
}

// Error describes the finding.
func (f Finding) Error() string {
	return fmt.Sprintf("%s: %s, byte %d: %s", f.Class, f.File, f.Offset, f.Reason)
}

// maxFindings bounds what is kept of one class: a file of zeros is one damage, and not
// a million.
const maxFindings = 100

// Report is what was read and found.
type Report struct {
	Domain      string      `json:"domain"`
	Length      uint64      `json:"length"` // of the anchor
	LogRoot     warg.Digest `json:"logRoot"`
	Frozen      bool        `json:"frozen,omitempty"`
	Segments    int         `json:"segments"`
	Records     uint64      `json:"records"`     // in the journal
	Tail        uint64      `json:"tail"`        // of those, above the anchor
	Logs        int         `json:"logs"`        // of packages
	Checkpoints uint64      `json:"checkpoints"` // that were recomputed and verified
	Pending     int         `json:"pending"`     // entries
	Contents    int         `json:"contents"`    // that were hashed
	Missing     int         `json:"missing"`     // contents of releases
	Bytes       int64       `json:"bytes"`       // that were read
	Findings    []Finding   `json:"findings"`

	counts map[Class]int
}

func (r *Report) add(f Finding) {
	if r.counts == nil {
		r.counts = map[Class]int{}
	}
	if r.counts[f.Class]++; r.counts[f.Class] <= maxFindings {
		r.Findings = append(r.Findings, f)
	}
}

// Damage returns the findings that no start mends.
func (r *Report) Damage() []Finding {
	var all []Finding
	for _, f := range r.Findings {
		if !f.Harmless {
			all = append(all, f)
		}
	}
	return all
}

// Has reports whether there is damage of a class.
func (r *Report) Has(c Class) bool {
	for _, f := range r.Findings {
		if f.Class == c && !f.Harmless {
			return true
		}
	}
	return false
}
