package kv

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/entrepot/entrepot/internal/durable"
)

// Disk is a database of Badger on a disk.
type Disk struct {
	*badger.DB
	room *room
}

// OpenDisk opens the database in a directory, or makes one. An error that is
// [ErrDamaged] means that it must be made anew; any other, see [AboutMachine], says
// nothing about the files.
//
// Badger reads tables in goroutines of its own, and a damaged one can end the process
// there. So tables are verified here first, and are not verified again while Badger opens
// them: it checks each block as it is read. What else it reads it reads in this
// goroutine, where a panic, or the fault of a read through memory, becomes an error.
func OpenDisk(o badger.Options) (d *Disk, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			d, err = nil, opening(o.Dir, p)
		}
	}()
	size, err := VerifyTables(o.Dir)
	if err != nil {
		return nil, err
	}
	if left, err := (durable.OS{}).Space(o.Dir); err == nil && left.Free < size+uint64((changeRoom+mergeRoom)*o.MemTableSize) {
		o = withoutMerging(o)
	}
	o.ChecksumVerificationMode = options.OnBlockRead
	db, err := badger.Open(o)
	switch {
	case err != nil && AboutMachine(err):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r, err := newRoom(o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Disk{db, r}, nil
}

// Store returns the database behind the seam.
func (d *Disk) Store() Store { return badgerStore{d.DB, d.room} }

// Reserve returns an error unless so many bytes, in so many entries, can be written now.
// It is for those who write past the seam.
func (d *Disk) Reserve(entries, bytes int) error {
	return d.room.reserve(int64(bytes) + int64(entries)*entryRoom)
}

// Close closes the database. On a disk without room, or one that is read-only, it is left as it is: closing would
// write a table, and the write-ahead files have everything.
func (d *Disk) Close() error {
	if !d.room.closable() {
		return nil
	}
	closed := make(chan error, 1)
	go func() { closed <- d.DB.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeWithin):
		return errors.New("the database does not close: its disk takes nothing")
	}
}

// closeWithin is how long closing may take: Badger tries for ever to write a table.
const closeWithin = time.Minute

// withoutMerging is for a disk that could not hold all tables twice: Badger begins to
// merge them, by itself and through memory, as soon as it is open.
func withoutMerging(o badger.Options) badger.Options {
	return o.WithNumCompactors(0).WithNumLevelZeroTables(noMerging).WithNumLevelZeroTablesStall(2 * noMerging)
}

// pageSize is what the smallest write through memory needs, in bytes.
const pageSize = 4096

// opening explains a panic: a fault on a full disk is a write that found no room.
func opening(dir string, p any) error {
	if fault, ok := p.(runtime.Error); ok && isFault(fault) {
		if left, err := (durable.OS{}).Space(dir); err == nil && left.Free < pageSize {
			return fmt.Errorf("writing through memory: %w", syscall.ENOSPC)
		}
	}
	return fmt.Errorf("%w: %v", ErrDamaged, p)
}

func isFault(err error) bool {
	var fault interface{ Addr() uintptr }
	return errors.As(err, &fault)
}

// AboutMachine reports whether an error says something about the machine rather than
// about files.
func AboutMachine(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) || err != nil && strings.Contains(err.Error(), e.Error()) { // Badger does not wrap all of them
			return true
		}
	}
	return false
}
