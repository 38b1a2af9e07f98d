package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

// maxMemoryFile bounds the file of a memory, in bytes. It holds one checkpoint.
const maxMemoryFile = 64 << 10

// How long a program waits for another one that is replacing the same memory. It
// takes a few milliseconds.
const (
	lockPatience = 10 * time.Second
	lockInterval = 20 * time.Millisecond
)

// FileMemory returns a memory in a file, whose directory is made if it does not
// exist. Beside it lies a lock file, by which programs take turns.
func FileMemory(name string) Memory { return fileMemory(name) }

type fileMemory string

// MemoryFile returns a plain file name for the memory of a registry, named by its
// domain or base URL.
func MemoryFile(registry string) string { return fileName(registry) + ".json" }

// Load implements [Memory]. A file whose checksum is wrong is an error: believing
// nothing would be taking whatever the registry says now for the truth.
func (m fileMemory) Load() ([]byte, error) {
	b, err := durable.ReadFile(durable.OS{}, string(m), maxMemoryFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := cutChecksum(bytes.TrimSuffix(b, []byte("\n")))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; delete it to trust the registry anew", string(m), err)
	}
	return text, nil
}

// Replace implements [Memory].
func (m fileMemory) Replace(change func(old []byte) ([]byte, error)) error {
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(string(m))); err != nil {
		return err
	}
	lock, err := m.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	old, err := m.Load()
	if err != nil {
		return err
	}
	text, err := change(old)
	if err != nil || text == nil {
		return err
	}
	text = append(append(bytes.Clone(text), ' '), checksum(text)...)
	return durable.Replace(durable.OS{}, string(m), append(text, '\n'), nil)
}

// lock takes the lock file, waiting for whoever has it.
func (m fileMemory) lock() (io.Closer, error) {
	deadline := time.Now().Add(lockPatience)
	for {
		lock, err := (durable.OS{}).Lock(string(m)+".lock", fmt.Sprintf("process %d", os.Getpid()))
		if !errors.As(err, new(*durable.HeldError)) || time.Now().After(deadline) {
			return lock, err
		}
		time.Sleep(lockInterval)
	}
}
