package upstream

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// evidenceID is how many hexadecimal digits the name of an evidence file ends in.
const evidenceID = 16

// Evidence returns the evidence files about the registry, sorted by name.
func (r *Replica) Evidence() ([]string, error) {
	entries, err := r.o.FS.ReadDir(r.o.EvidenceDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing evidence: %w", err)
	}
	var files []string
	for _, e := range entries {
		if isEvidenceOf(e.Name(), r.o.Domain) {
			files = append(files, filepath.Join(r.o.EvidenceDir, e.Name()))
		}
	}
	return files, nil
}

// isEvidenceOf reports whether a file has the name that writeEvidence gives to
// evidence about a registry. One domain may begin with another.
func isEvidenceOf(name, domain string) bool {
	rest, ours := strings.CutPrefix(name, fileName(domain)+"-")
	class, id, two := strings.Cut(rest, "-")
	id, json := strings.CutSuffix(id, ".json")
	if !ours || !two || !json || len(id) != evidenceID || strings.Trim(id, "0123456789abcdef") != "" {
		return false
	}
	for _, c := range Classes() {
		if c.String() == class {
			return true
		}
	}
	return false
}
