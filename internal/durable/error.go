package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

var errTooLong = errors.New("file is longer than it can be")

// HeldError says that somebody else holds a lock.
type HeldError struct {
	Path   string // the lock file
	Holder string // what the holder wrote about itself
}

// Error names the holder.
func (e *HeldError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return fmt.Sprintf("%s is held by %s", e.Path, holder)
}

// IsNoSpace reports whether err says that the file system is full and comes from
// a call that can be taken back. The same from a sync is as final as any other
// error: what was synced before and what was not is unknown after it.
func IsNoSpace(err error) bool {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return false
	}
	var p *fs.PathError
	return !errors.As(err, &p) || !strings.Contains(strings.ToLower(p.Op), "sync")
}
