//go:build failpoints

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrepot/entrepot/authority"
)

// failpointVariable says where this build fails, as NAME:N:ACTION. NAME is one of
// [authority.Steps], or "any"; N counts the steps of that name from 1, from the start
// of the process on.
const failpointVariable = "ENTREPOT_FAILPOINT"

// failpointSleep is how long the action sleep holds the step up.
const failpointSleep = time.Second

// failpointError is the error of a step, in the form in which the kernel's come.
func failpointError(step string) error {
	return &fs.PathError{Op: "failpoint", Path: step, Err: unix.EIO}
}

// failpoints returns what the authority of a data folder calls at its steps. The sequencer is bound to a thread of its own, so that the system calls of one
// batch can be counted from outside.
func failpoints(data string) (func(step string) error, error) {
	bind := func(step string) {
		if step == "batchTaken" {
			runtime.LockOSThread()
		}
	}
	text := os.Getenv(failpointVariable)
	if text == "" {
		return func(step string) error { bind(step); return nil }, nil
	}
	fields := strings.Split(text, ":")
	if len(fields) != 3 || fields[0] != "any" && !slices.Contains(authority.Steps(), fields[0]) {
		return nil, exitf(exitUsage, "%s is %q; want NAME:N:ACTION with a name of %s, or any", failpointVariable, text, strings.Join(authority.Steps(), ", "))
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || at < 1 {
		return nil, exitf(exitUsage, "%s is %q; %q counts no steps", failpointVariable, text, fields[1])
	}
	act, ok := failpointActions(data)[fields[2]]
	if !ok {
		return nil, exitf(exitUsage, "%s is %q; there is no action %q", failpointVariable, text, fields[2])
	}
	var seen atomic.Int64
	return func(step string) error {
		bind(step)
		if fields[0] != "any" && fields[0] != step || seen.Add(1) != at {
			return nil
		}
		return act(step)
	}, nil
}

// failpointActions returns what can happen at a step.
func failpointActions(data string) map[string]func(step string) error {
	return map[string]func(string) error{
		"kill": func(string) error {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {} // the signal is on its way
		},
		"sleep": func(string) error { time.Sleep(failpointSleep); return nil },
		"error": failpointError,
		// The caller hears of an error, and all that it wrote is on disk.
		"error-but-persisted": func(step string) error {
			persist(data)
			return failpointError(step)
		},
		"panic": func(step string) error { panic("failpoint " + step) },
	}
}

// persist makes durable what was written below a folder. What goes away meanwhile, or
// cannot be synced, is no matter: the caller is about to report an error.
func persist(folder string) {
	_ = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if f, opened := os.Open(path); err == nil && opened == nil {
			_ = f.Sync()
			_ = f.Close()
		}
		return nil
	})
}
