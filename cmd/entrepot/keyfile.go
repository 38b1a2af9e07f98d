package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// maxKeyFile is far beyond any key; a larger file is something else.
const maxKeyFile = 4 << 10

// readKeyText returns the text of a key file without the blanks around it.
func readKeyText(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("reading key file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return "", fmt.Errorf("reading key file: %w", err)
	}
	if len(text) > maxKeyFile {
		return "", fmt.Errorf("reading key file %s: it is larger than any key", file)
	}
	return strings.TrimSpace(string(text)), nil
}

// readPrivateKey reads a private key that nobody but its owner can read. Below the
// folder of a service manager's credentials the manager sees to that.
func (p *process) readPrivateKey(file string) (warg.PrivateKey, error) {
	text, err := p.readSecret(file)
	if err != nil {
		return warg.PrivateKey{}, err
	}
	key, err := warg.ParsePrivateKey(text)
	if err != nil {
		return warg.PrivateKey{}, fmt.Errorf("reading key file %s: %w", file, err)
	}
	return key, nil
}

// readSecret returns the text of a file that nobody but its owner can read.
func (p *process) readSecret(file string) (string, error) {
	if err := p.checkSecret(file, groupAndOthers); err != nil {
		return "", err
	}
	return readKeyText(file)
}

// Who must not be able to do anything with a file.
const (
	groupAndOthers fs.FileMode = 0o077
	others         fs.FileMode = 0o007 // some systems give a group of their own to keys of certificates
)

func (p *process) checkSecret(file string, whom fs.FileMode) error {
	s, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("reading key file: %w", err)
	}
	credentials := p.getenv("CREDENTIALS_DIRECTORY")
	if credentials != "" && strings.HasPrefix(filepath.Clean(file), filepath.Clean(credentials)+string(filepath.Separator)) {
		return nil
	}
	if s.Mode().Perm()&whom != 0 {
		return exitf(exitConfig, "secret file %s can be read by others; make it yours alone with `chmod 600 %s`", file, file)
	}
	return nil
}
