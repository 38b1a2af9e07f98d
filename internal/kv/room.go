package kv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/durable"
)

// Badger writes through memory into files with holes. Where such a write finds no room
// on the disk the kernel ends the process, and nobody can catch that. So room is made
// sure of before: what a transaction writes goes into a write-ahead file that is
// allocated, and nothing is written that could make Badger begin another one, and a table
// of the last, unless there is room for these.

const (
	memSuffix = ".mem" // of write-ahead files; the one with the highest number is in use

	// changeRoom is the room for a change of write-ahead files, in sizes at which one is
	// full: two for the new one, two for the table that the old one becomes; mergeRoom is
	// for what such tables are merged into.
	changeRoom = 4
	mergeRoom  = 8

	// noMerging is so many tables that they are never merged.
	noMerging = 1 << 20

	// batchRoom is what a batch needs at most, in bytes.
	batchRoom = 4 << 20

	// entryRoom is more than what an entry needs beside key and value, in memory or on
	// disk, in bytes.
	entryRoom = 160

	// leastAllocated is the smallest part of a write-ahead file that is worth having.
	leastAllocated = 256 << 10
)

// room watches how much may be written to a database.
type room struct {
	dir string
	mem int64 // size at which a write-ahead file is full, in bytes
	way int64 // room for another one and what follows
	fs  durable.FS

	mu        sync.Mutex
	number    int   // under mu: of the write-ahead file in use
	allocated int64 // under mu: so much of it has room
	written   int64 // under mu: at most so much is in it
}

// newRoom returns the room of a database that was just opened. The write-ahead file in
// use is empty then.
func newRoom(o badger.Options) (*room, error) {
	r := &room{dir: o.Dir, mem: o.MemTableSize, way: changeRoom * o.MemTableSize, fs: durable.OS{}}
	if o.NumLevelZeroTables < noMerging {
		r.way += mergeRoom * o.MemTableSize
	}
	files, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if digits, ok := strings.CutSuffix(f.Name(), memSuffix); ok {
			n, _ := strconv.Atoi(digits) // another name is not one of Badger's
			r.number = max(r.number, n)
		}
	}
	r.allocate()
	return r, nil
}

func (r *room) path(number int) string {
	return filepath.Join(r.dir, fmt.Sprintf("%05d%s", number, memSuffix))
}

// allocate makes room for as much of the write-ahead file in use as it can. The caller
// holds mu, or nobody else has r.
func (r *room) allocate() {
	r.allocated = 0
	f, err := r.fs.OpenWrite(r.path(r.number))
	if err != nil {
		return
	}
	defer f.Close()
	for size := 2 * r.mem; size >= leastAllocated; size /= 2 { // its size from the beginning
		if f.Allocate(size) == nil {
			r.allocated = size
			return
		}
	}
}

// follow notices that Badger has begun another write-ahead file. The caller holds mu.
func (r *room) follow() {
	for {
		if _, err := r.fs.Stat(r.path(r.number + 1)); err != nil {
			return
		}
		r.number++
		r.written = batchRoom // whoever made it begin has written to it
		r.allocate()
	}
}

// reserve returns an error unless so many bytes can be written, and counts them.
func (r *room) reserve(bytes int64) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.lacks(bytes)
	if err == nil {
		r.written += bytes
	}
	return err
}

// batch returns an error if there may be no room for another batch.
func (r *room) batch() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lacks(batchRoom)
}

// lacks returns an error unless there is room for so many bytes. The caller holds mu.
func (r *room) lacks(bytes int64) error {
	r.follow()
	if r.written < r.mem && r.written+bytes <= r.allocated {
		return nil
	}
	left, err := r.fs.Space(r.dir)
	if err != nil {
		return err
	}
	if want := uint64(r.way); left.Free < want {
		return fmt.Errorf("the database needs %d MiB of room, and there are %d: %w", want>>20, left.Free>>20, syscall.ENOSPC)
	}
	return nil
}

// sync makes all write-ahead files durable. Tables are, from the beginning. Badger itself
// syncs only the file in use, and forgets those that are about to become tables.
func (r *room) sync() error {
	if r == nil {
		return nil
	}
	files, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) != memSuffix {
			continue
		}
		if err := r.syncFile(filepath.Join(r.dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (r *room) syncFile(name string) error {
	f, err := r.fs.OpenWrite(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has become a table
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Datasync(), f.Close())
}

// closable reports whether there is room for the table that closing writes, and whether
// one can be made at all: on a file system that has turned read-only Badger would try for
// ever.
func (r *room) closable() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	left, err := r.fs.Space(r.dir)
	if err == nil && left.Free < uint64(2*r.written+leastAllocated) {
		return false
	}
	probe := filepath.Join(r.dir, "closing.tmp")
	f, err := r.fs.Create(probe)
	if errors.Is(err, fs.ErrExist) {
		return true
	}
	if err != nil {
		return false
	}
	return errors.Join(f.Close(), r.fs.Remove(probe)) == nil
}
