package anchor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// StampPath returns the name of the file beside a key that says which registry
// the key was first used for. It tells an empty data directory from one that is
// not mounted.
func StampPath(keyFile string) string { return keyFile + ".registry" }

const stampFormat = "entrepot-registry 1\nregistry %s\ndomain %s\n"

// WriteStamp writes the stamp of a registry beside its key.
func WriteStamp(fsys durable.FS, keyFile string, registry warg.Digest, domain string) error {
	text := fmt.Sprintf(stampFormat, registry.Hex(), domain)
	if err := durable.Replace(fsys, StampPath(keyFile), []byte(text), nil); err != nil {
		return fmt.Errorf("writing stamp of registry: %w", err)
	}
	return nil
}

// Stamp is what a stamp says.
type Stamp struct {
	Registry string // hexadecimal
	Domain   string
}

// ReadStamp reads the stamp beside a key; ok is false if there is none. A stamp
// that cannot be understood counts as one of an unknown registry.
func ReadStamp(fsys durable.FS, keyFile string) (s Stamp, ok bool, err error) {
	b, err := durable.ReadFile(fsys, StampPath(keyFile), maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, false, nil
	case err != nil:
		return s, false, fmt.Errorf("reading stamp of registry: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "registry":
			s.Registry = value
		case "domain":
			s.Domain = value
		}
	}
	return s, true, nil
}
