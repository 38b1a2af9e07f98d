package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
)

// Names below DATA that several commands use.
const (
	runFolder    = "run"        // made anew at every start
	holderFile   = "holder"     // locked by the process that uses the directory
	listenFile   = "listen"     // the address in use, host:port
	adminSocket  = "admin.sock" // unless configured
	tempFolder   = "tmp"        // ledgers and uploads while they are verified
	authorityDir = "authority"
	contentDir   = "content"
	scrubFile    = "scrub.json" // how far scrubbing is
	ballastFile  = "ballast"    // room that a start may take, see internal/space
	upstreamsDir = "upstreams"
	cacheDir     = "cache"
	evidenceDir  = "evidence"

	auditFile      = "audit.log"      // what was decided
	capabilityFile = "capability.key" // signs upload addresses
	uploadsFile    = "uploads.log"    // what they stand for
)

// adminAddress returns where the server of a configuration takes admin calls.
func adminAddress(c *config.Config) string {
	if c.Admin != "" {
		return c.Admin
	}
	return unixPrefix + filepath.Join(c.Data, runFolder, adminSocket)
}

// holdFolder makes the data directory if need be and takes its lock, so that no
// two processes ever write to it. The error names the holder.
func holdFolder(c *config.Config, command string, now time.Time) (io.Closer, error) {
	run := filepath.Join(c.Data, runFolder)
	if err := durable.MkdirAll(durable.OS{}, run); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	text := fmt.Sprintf("entrepot %s, process %d, since %s", command, os.Getpid(), now.UTC().Format(time.RFC3339))
	lock, err := durable.OS{}.Lock(filepath.Join(run, holderFile), text)
	if err != nil {
		return nil, fmt.Errorf("taking the data directory: %w", err)
	}
	if err := clearFolder(filepath.Join(run, tempFolder)); err != nil {
		return nil, errors.Join(fmt.Errorf("making a folder for temporary files: %w", err), lock.Close())
	}
	return lock, nil
}

// clearFolder makes a folder or empties it: a killed process left there what it was at.
// One that is there is kept, since on a full disk there may be no room for another.
func clearFolder(folder string) error {
	if err := os.Mkdir(folder, durable.DirPerm); !errors.Is(err, fs.ErrExist) {
		return err
	}
	left, err := os.ReadDir(folder)
	for _, e := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, e.Name())))
	}
	return err
}

// held returns the holder of the data directory if err says that there is one.
func held(err error) (string, bool) {
	var h *durable.HeldError
	if !errors.As(err, &h) {
		return "", false
	}
	return h.Holder, true
}
