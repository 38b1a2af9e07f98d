package durable

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"sync"
)

// Op names a call of [FS] or [File], for counting and for choosing where to fail.
type Op string

// The calls that [Fault] sees.
const (
	OpOpen      Op = "open"
	OpCreate    Op = "create"
	OpOpenWrite Op = "openWrite"
	OpMkdir     Op = "mkdir"
	OpRename    Op = "rename"
	OpRemove    Op = "remove"
	OpSyncDir   Op = "syncDir"
	OpReadDir   Op = "readDir"
	OpStat      Op = "stat"
	OpIdentity  Op = "identity"
	OpSpace     Op = "space"
	OpLock      Op = "lock"
	OpRead      Op = "read"
	OpWrite     Op = "write"
	OpTruncate  Op = "truncate"
	OpAllocate  Op = "allocate"
	OpSync      Op = "sync"
	OpDatasync  Op = "datasync"
	OpFstat     Op = "fstat"
)

// Outcome is what becomes of the call that is to fail.
type Outcome uint8

// The outcomes.
const (
	NotPersisted Outcome = iota // an error, and nothing happened
	Persisted                   // an error, but the effect is there all the same
	Killed                      // nothing happens from this call on: the process is gone
	Torn                        // an error, and of a write the first half is there
)

// ErrKilled is the error of every call after the kill.
var ErrKilled = errors.New("durable: process killed")

// Fault is a file system for tests that counts calls and lets one of them fail.
// It is safe for concurrent use.
type Fault struct {
	inner FS

	mu      sync.Mutex
	plan    Plan
	matched int // calls that matched the plan so far
	dead    bool
	counts  map[Op]int
	locks   []io.Closer // what a killed process would have let go
}

// Plan says which call fails, and how.
type Plan struct {
	At      int // the how manieth matching call fails, from 1; 0 = none
	Match   func(op Op, name string) bool
	Outcome Outcome
	Err     error
}

// NewFault wraps inner; nothing fails before [Fault.SetPlan].
func NewFault(inner FS) *Fault { return &Fault{inner: inner, counts: map[Op]int{}} }

// SetPlan replaces the plan and starts counting its matches anew.
func (f *Fault) SetPlan(p Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.matched = p, 0
}

// Reached reports whether the planned call was made.
func (f *Fault) Reached() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan.At > 0 && f.matched >= f.plan.At
}

// Counts returns how often each call was made.
func (f *Fault) Counts() map[Op]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// Kill makes every later call fail without effect and lets locks go, as the end
// of the process does.
func (f *Fault) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kill()
}

func (f *Fault) kill() {
	f.dead = true
	for _, l := range f.locks {
		l.Close()
	}
	f.locks = nil
}

// do runs a call unless it is the one that fails.
func (f *Fault) do(op Op, name string, call func() error) error {
	fail, dead := f.decide(op, name)
	switch {
	case dead:
		return ErrKilled
	case fail == nil:
		return call()
	case fail.Outcome == Persisted:
		if err := call(); err != nil {
			return err
		}
	}
	return &fs.PathError{Op: string(op), Path: name, Err: fail.Err}
}

func (f *Fault) decide(op Op, name string) (fail *Plan, dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return nil, true
	}
	f.counts[op]++
	if f.plan.At == 0 || f.plan.Match != nil && !f.plan.Match(op, name) {
		return nil, false
	}
	if f.matched++; f.matched != f.plan.At {
		return nil, false
	}
	if f.plan.Outcome == Killed {
		f.kill()
		return nil, true
	}
	p := f.plan
	return &p, false
}

// Open implements [FS].
func (f *Fault) Open(name string) (r Reader, err error) {
	err = f.do(OpOpen, name, func() error { r, err = f.inner.Open(name); return err })
	if err != nil {
		return nil, err
	}
	return &faultReader{f, name, r}, nil
}

// Create implements [FS].
func (f *Fault) Create(name string) (File, error) { return f.openFile(OpCreate, name, f.inner.Create) }

// OpenWrite implements [FS].
func (f *Fault) OpenWrite(name string) (File, error) {
	return f.openFile(OpOpenWrite, name, f.inner.OpenWrite)
}

func (f *Fault) openFile(op Op, name string, open func(string) (File, error)) (w File, err error) {
	err = f.do(op, name, func() error { w, err = open(name); return err })
	if err != nil {
		return nil, err
	}
	return &faultFile{faultReader{f, name, w}, w}, nil
}

// Mkdir implements [FS].
func (f *Fault) Mkdir(name string) error {
	return f.do(OpMkdir, name, func() error { return f.inner.Mkdir(name) })
}

// Rename implements [FS]; plans match on the new name.
func (f *Fault) Rename(oldname, newname string) error {
	return f.do(OpRename, newname, func() error { return f.inner.Rename(oldname, newname) })
}

// Remove implements [FS].
func (f *Fault) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.inner.Remove(name) })
}

// SyncDir implements [FS].
func (f *Fault) SyncDir(name string) error {
	return f.do(OpSyncDir, name, func() error { return f.inner.SyncDir(name) })
}

// ReadDir implements [FS].
func (f *Fault) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = f.do(OpReadDir, name, func() error { list, err = f.inner.ReadDir(name); return err })
	return list, err
}

// Stat implements [FS].
func (f *Fault) Stat(name string) (fi fs.FileInfo, err error) {
	err = f.do(OpStat, name, func() error { fi, err = f.inner.Stat(name); return err })
	return fi, err
}

// Identity implements [FS].
func (f *Fault) Identity(name string) (id Identity, err error) {
	err = f.do(OpIdentity, name, func() error { id, err = f.inner.Identity(name); return err })
	return id, err
}

// Space implements [FS].
func (f *Fault) Space(name string) (s Space, err error) {
	err = f.do(OpSpace, name, func() error { s, err = f.inner.Space(name); return err })
	return s, err
}

// Lock implements [FS].
func (f *Fault) Lock(name, holder string) (l io.Closer, err error) {
	err = f.do(OpLock, name, func() error {
		if l, err = f.inner.Lock(name, holder); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.locks = append(f.locks, l) // also if the caller is told that it failed
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// faultReader passes reads through the plan.
type faultReader struct {
	f    *Fault
	name string
	r    Reader
}

func (r *faultReader) Read(p []byte) (n int, err error) {
	err = r.f.do(OpRead, r.name, func() error { n, err = r.r.Read(p); return err })
	return n, err
}

func (r *faultReader) ReadAt(p []byte, off int64) (n int, err error) {
	err = r.f.do(OpRead, r.name, func() error { n, err = r.r.ReadAt(p, off); return err })
	return n, err
}

func (r *faultReader) Seek(off int64, whence int) (int64, error) { return r.r.Seek(off, whence) }
func (r *faultReader) Close() error                              { return r.r.Close() }

func (r *faultReader) Stat() (fi fs.FileInfo, err error) {
	err = r.f.do(OpFstat, r.name, func() error { fi, err = r.r.Stat(); return err })
	return fi, err
}

// faultFile passes writes through the plan.
type faultFile struct {
	faultReader
	w File
}

func (w *faultFile) Write(p []byte) (int, error) { return w.write(p, w.w.Write) }

func (w *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return w.write(p, func(p []byte) (int, error) { return w.w.WriteAt(p, off) })
}

// write passes on a write, or the half of it that a torn one leaves.
func (w *faultFile) write(p []byte, call func([]byte) (int, error)) (int, error) {
	fail, dead := w.f.decide(OpWrite, w.name)
	switch {
	case dead:
		return 0, ErrKilled
	case fail == nil:
		return call(p)
	}
	n := 0
	var err error
	switch fail.Outcome {
	case Persisted:
		n, err = call(p)
	case Torn:
		n, err = call(p[:len(p)/2])
	case NotPersisted, Killed:
	}
	if err != nil {
		return n, err
	}
	return n, &fs.PathError{Op: string(OpWrite), Path: w.name, Err: fail.Err}
}

func (w *faultFile) Truncate(size int64) error {
	return w.f.do(OpTruncate, w.name, func() error { return w.w.Truncate(size) })
}

func (w *faultFile) Allocate(size int64) error {
	return w.f.do(OpAllocate, w.name, func() error { return w.w.Allocate(size) })
}

func (w *faultFile) Sync() error { return w.f.do(OpSync, w.name, w.w.Sync) }

func (w *faultFile) Datasync() error { return w.f.do(OpDatasync, w.name, w.w.Datasync) }
