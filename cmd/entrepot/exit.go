package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// Exit codes. Above 64 they are those of sysexits.h, so that scripts and service
// managers know them.
const (
	exitOK           = 0
	exitFailed       = 1  // the operation failed
	exitUsage        = 2  // the command line is wrong
	exitVerification = 65 // what a registry or an archive said is not true
	exitIO           = 74 // a file or disk
	exitTemporary    = 75 // network, 429, 5xx, directory held: try again
	exitConfig       = 78 // configuration, or the authority is fenced
)

// exitError is an error whose exit code is decided where it happens.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitf returns an error with an exit code.
func exitf(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// exitCode returns the exit code of an error. The nearest decision wins: what a
// command said, then what kind of error a package of ours returned, then what the
// operating system said.
func exitCode(err error) int {
	var (
		said     *exitError
		settings *config.Error
		refused  *authority.ConfigError
		answer   *warg.Error
		network  net.Error
		dial     *net.OpError
		path     *fs.PathError
		link     *os.LinkError
		system   *os.SyscallError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &said):
		return said.code
	case errors.As(err, &settings), errors.As(err, &refused):
		return exitConfig
	case errors.As(err, &answer):
		return answerCode(answer)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.As(err, &dial):
		return exitTemporary
	case errors.As(err, &path), errors.As(err, &link), errors.As(err, &system):
		return exitIO // before the next: an errno has the methods of a net.Error
	case errors.As(err, &network):
		return exitTemporary
	}
	return exitFailed
}

// answerCode returns the exit code of what a registry answered, or of why its answer
// was not believed.
func answerCode(answer *warg.Error) int {
	switch answer.Kind {
	case warg.KindUpstreamInvalid:
		return refusalCode(upstream.ClassOf(answer))
	case warg.KindInternal, warg.KindTooMany, warg.KindUnavailable, warg.KindUpstreamTimeout, warg.KindNoSpace:
		return exitTemporary
	}
	return exitFailed
}

// refusalCode tells lies from answers that are no answers at all: a login page, an
// address that must not be connected to, a line that is too slow.
func refusalCode(class upstream.Class) int {
	switch class {
	case upstream.ClassAnswer, upstream.ClassAddress:
		return exitFailed
	case upstream.ClassSlow:
		return exitTemporary
	}
	return exitVerification
}
