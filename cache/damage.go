package cache

import (
	"errors"

	"github.com/entrepot/entrepot/internal/tree"
)

// DamagedError says that the registry's part of the cache has lost, or cannot read,
// what it should hold: it must be reset and filled again.
type DamagedError struct{ Err error }

// Error describes the damage.
func (e *DamagedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// Damaged tells such errors from all others without naming this package.
func (e *DamagedError) Damaged() bool { return true }

// judge marks errors that mean damage.
func judge(err error) error {
	if errors.Is(err, tree.ErrIndexCorrupt) {
		return &DamagedError{err}
	}
	return err
}
