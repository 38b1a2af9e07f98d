package durable

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// memoryEntry describes a node.
type memoryEntry struct {
	name string
	size int64
	dir  bool
	mod  time.Time
}

func (e memoryEntry) Name() string       { return e.name }
func (e memoryEntry) Size() int64        { return e.size }
func (e memoryEntry) ModTime() time.Time { return e.mod }
func (e memoryEntry) IsDir() bool        { return e.dir }
func (e memoryEntry) Sys() any           { return nil }

func (e memoryEntry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | DirPerm
	}
	return FilePerm
}

// memoryFile is an open node.
type memoryFile struct {
	m    *Memory
	n    *node
	name string
	pos  int64
}

func (f *memoryFile) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if off >= int64(len(f.n.seen)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.seen[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) Seek(off int64, whence int) (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	switch whence {
	case io.SeekStart:
		f.pos = off
	case io.SeekCurrent:
		f.pos += off
	case io.SeekEnd:
		f.pos = int64(len(f.n.seen)) + off
	}
	return f.pos, nil
}

func (f *memoryFile) Close() error { return nil }

func (f *memoryFile) Stat() (fs.FileInfo, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.m.describe(f.name, f.n), nil
}

func (f *memoryFile) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if grow := off + int64(len(p)) - int64(len(f.n.seen)); grow > 0 {
		if uint64(grow) > f.m.free {
			return 0, pathErr("write", f.name, syscall.ENOSPC)
		}
		f.m.free -= uint64(grow)
	}
	f.change(write{off: off, data: slices.Clone(p)})
	return len(p), nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.change(write{off: size, truncate: true})
	return nil
}

func (f *memoryFile) Allocate(size int64) error {
	if grow := size - f.size(); grow > 0 {
		_, err := f.WriteAt(make([]byte, grow), size-grow)
		return err
	}
	return nil
}

func (f *memoryFile) size() int64 {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.seen))
}

func (f *memoryFile) change(w write) {
	f.n.seen = w.apply(f.n.seen)
	f.n.pending = append(f.n.pending, w)
	f.m.clock++
	f.n.mod = f.m.clock
}

func (f *memoryFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	for _, w := range f.n.pending {
		f.n.kept = w.apply(f.n.kept)
	}
	f.n.pending = nil
	return nil
}

func (f *memoryFile) Datasync() error { return f.Sync() }

// Lock implements [FS].
func (m *Memory) Lock(name, holder string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if h, held := m.locks[name]; held {
		return nil, &HeldError{name, h}
	}
	if _, err := m.lookup("open", name); err != nil {
		if _, err := m.make("lock", name, false); err != nil {
			return nil, err
		}
	}
	m.locks[name] = holder
	return &memoryLock{m, name}, nil
}

type memoryLock struct {
	m    *Memory
	name string
}

func (l *memoryLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

func (m *Memory) describe(name string, n *node) memoryEntry {
	return memoryEntry{filepath.Base(name), int64(len(n.seen)), n.dir, time.Unix(0, n.mod)}
}
