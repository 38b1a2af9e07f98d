package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// volume is a mounted image or tmpfs.
type volume struct{ path string }

// mountImage mounts a file as a disk.
func mountImage(image, path, options string) (volume, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return volume{}, err
	}
	all := "loop"
	if options != "" {
		all += "," + options
	}
	return volume{path}, tool("mount", "-o", all, image, path)
}

// newImage makes an empty file of a size and a file system in it.
func newImage(image string, size int64, mkfs ...string) error {
	f, err := os.OpenFile(image, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	return tool(mkfs[0], append(mkfs[1:], image)...)
}

// tool runs a program; what it says is part of the error.
func tool(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// unmount unmounts, and lets go of the loop device with it. Who used the volume may be
// about to end.
func (v volume) unmount() error {
	const tries = 100
	for range tries {
		if tool("umount", v.path) == nil {
			return nil
		}
		time.Sleep(unmountPoll)
	}
	return tool("umount", v.path)
}

const unmountPoll = 50 * time.Millisecond

// clear is for the end, however it comes: nothing stays mounted.
func (v volume) clear() { _ = unix.Unmount(v.path, unix.MNT_DETACH) }
