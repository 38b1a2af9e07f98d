package uploads

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/entrepot/entrepot/internal/durable"
)

const (
	keySize = 32 // bytes
	maxKey  = 1 << 10
)

// KeyError says that the file of the secret holds none.
type KeyError struct{ File string }

// Error says what to do.
func (e *KeyError) Error() string {
	return fmt.Sprintf("%s does not hold a key of %d hexadecimal digits; remove it, a new one is made at the next start, and uploads under way begin again", e.File, 2*keySize)
}

// readKey reads the secret, or makes one.
func readKey(fsys durable.FS, file string) ([]byte, error) {
	text, err := durable.ReadFile(fsys, file, maxKey)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(fsys, file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of upload addresses: %w", err)
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != keySize {
		return nil, &KeyError{file}
	}
	return key, nil
}

func createKey(fsys durable.FS, file string) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	if err := durable.Replace(fsys, file, []byte(hex.EncodeToString(key)+"\n"), nil); err != nil {
		return nil, fmt.Errorf("making the key of upload addresses: %w", err)
	}
	return key, nil
}
