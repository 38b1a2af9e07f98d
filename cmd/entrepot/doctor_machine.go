package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrepot/entrepot/internal/durable"
)

// This file is what doctor thinks of the machine: its file systems, descriptors, clock.

// slowSync is what a sync may take before a person should know: a publish waits for
// about eight.
const slowSync = 100 * time.Millisecond

// secretFiles returns the files that nobody else should read.
func (d *doctor) secretFiles() []string {
	files := []string{d.conf.KeyFile(), filepath.Join(d.conf.Data, capabilityFile)}
	for _, u := range d.conf.Upstreams {
		for _, file := range []string{u.TokenFile, u.PasswordFile} {
			if file != "" {
				files = append(files, file)
			}
		}
	}
	return files
}

// fileSystems tries out where the data is, and where the anchor is if that is elsewhere.
func (d *doctor) fileSystems() {
	d.fileSystem(d.conf.Data)
	if dir := filepath.Dir(d.o.AnchorFile); !within(d.conf.Data, dir) {
		d.fileSystem(dir)
	}
	if _, err := (durable.OS{}).Stat(d.conf.Data); err == nil {
		d.space()
	}
}

func (d *doctor) fileSystem(dir string) {
	const name = "file system"
	p, err := durable.Probe(dir)
	var failed *durable.ProbeError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.say(name, stateWarn, "nothing, if this is before the first start", "%v", err)
		return
	case errors.As(err, &failed):
		d.say(name, stateRefused, "put it on a local disk", "%s is on %s, which does not do what is needed: %v", dir, p.Kind, err)
		return
	case errors.Is(err, unix.EROFS):
		d.say(name, stateRefused, "mount it for writing", "%s is on %s, mounted for reading alone", dir, p.Kind)
		return
	case err != nil:
		d.say(name, stateWarn, "run this as the user of the server, and look at the disk", "%s is on %s, which could not be tried out: %v", dir, p.Kind, err)
		return
	}
	switch took := p.Sync.Round(10 * time.Microsecond); {
	case !p.Local:
		d.say(name, stateWarn, "put it on a local disk", "%s is on %s, which may lose what was synced, or locks, when another machine or the power fails", dir, p.Kind)
	case took > slowSync:
		d.say(name, stateWarn, "look at the disk: a publish waits for several syncs", "%s is on %s; a sync took %s", dir, p.Kind, took)
	default:
		d.say(name, stateOK, "", "%s is on %s; fsync, rename, flock and mmap do what they should, a sync took %s", dir, p.Kind, took)
	}
}

// descriptors compares how many files may be open with how many connections are wanted.
func (d *doctor) descriptors() {
	const reserve = 64 // for the stores, see limits.connections
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		return
	}
	wanted := uint64(d.conf.Limits.Connections) + reserve
	if most.Cur < wanted {
		d.say("descriptors", stateWarn, "raise the limit (LimitNOFILE), or lower limits.connections",
			"a process started like this one may open %d files, so %d connections at most are served, not %d", most.Cur, max(most.Cur, reserve)-reserve, d.conf.Limits.Connections)
		return
	}
	d.say("descriptors", stateOK, "", "a process started like this one may open %d files", most.Cur)
}

// kernelClock asks the kernel whether somebody keeps its clock right. Where that may not
// be asked, nothing is said.
func (d *doctor) kernelClock() {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return
	}
	const unsynced = 0x40 // STA_UNSYNC
	if t.Status&unsynced != 0 {
		d.say("time", stateWarn, "let NTP keep the clock: records and checkpoints carry its time", "nothing keeps the clock of this machine right")
		return
	}
	d.say("time", stateOK, "", "the clock is kept right, to %s", (time.Duration(t.Maxerror) * time.Microsecond).Round(time.Millisecond))
}

// tryFileSystems refuses to serve from a file system that does not do what is needed, and
// warns of one that may not keep its word.
func (s *site) tryFileSystems() error {
	dirs := []string{filepath.Join(s.conf.Data, runFolder, tempFolder)} // emptied at every start
	if anchors := filepath.Dir(authorityFiles(s.conf).AnchorFile); !within(s.conf.Data, anchors) {
		dirs = append(dirs, anchors)
	}
	for _, dir := range dirs {
		p, err := durable.Probe(dir)
		switch {
		case errors.Is(err, unix.EIO):
			return fmt.Errorf("trying out the file system of %s: %w", dir, err)
		case errors.As(err, new(*durable.ProbeError)) && !durable.IsNoSpace(err):
			return exitf(exitConfig, "trying out the file system of %s (%s): %w; put it on a local disk", dir, p.Kind, err)
		case err != nil:
			s.log.Warn("a file system could not be tried out", "dir", dir, "error", err)
		case !p.Local:
			s.log.Warn("a file system may lose what was synced, or locks", "dir", dir, "reason", fmt.Sprintf("it is %s, not a local disk", p.Kind))
		}
	}
	return nil
}
