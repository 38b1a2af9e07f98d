package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
)

// process is what a command may use of the process that it runs in. Tests make
// their own.
type process struct {
	env            []string // "KEY=value"
	folder         string   // what relative paths are relative to; "" = that of the process
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
	command        string // which command runs, "namespace define"
}

func thisProcess() *process {
	return &process{env: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now}
}

// getenv returns a variable, or "" if it is not set.
func (p *process) getenv(name string) string {
	value := ""
	for _, line := range p.env {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			value = v
		}
	}
	return value
}

// path makes a path of the command line usable.
func (p *process) path(name string) string {
	if p.folder == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.folder, name)
}

// userFolder returns our folder below one of the folders of the XDG convention:
// that of the variable if it is an absolute path, else one below HOME.
func (p *process) userFolder(variable, fallback string) (string, error) {
	if folder := p.getenv(variable); filepath.IsAbs(folder) {
		return filepath.Join(folder, "entrepot"), nil
	}
	home := p.getenv("HOME")
	if home == "" {
		return "", errors.New("neither " + variable + " nor HOME is set")
	}
	return filepath.Join(home, fallback, "entrepot"), nil
}

func (p *process) configFolder() (string, error) {
	return p.userFolder("XDG_CONFIG_HOME", ".config")
}

func (p *process) stateFolder() (string, error) {
	return p.userFolder("XDG_STATE_HOME", filepath.Join(".local", "state"))
}

// terminal reports whether a person looks at standard error.
func (p *process) terminal() bool {
	f, ok := p.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether a person looks and has not asked for plain text.
func (p *process) colours() bool { return p.terminal() && p.getenv("NO_COLOR") == "" }
