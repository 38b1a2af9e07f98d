package durable

import (
	"errors"
	"fmt"
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

// IsNoSpace reports whether err says that the file system is full. Only from a
// call that is not a sync may it be taken back and answered; after a sync it is
// as final as any other error.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
