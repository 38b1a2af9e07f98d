package durable

import (
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Memory is a file system for tests that keeps two states: what a running
// process sees, and what a power cut leaves. Content moves from the first to the
// second by Sync or Datasync of the file, names by SyncDir of their directory.
// It is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	seen   map[string]*node // by cleaned path
	kept   map[string]*node
	locks  map[string]string
	inodes uint64
	clock  int64 // grows with every write, so that times differ
	free   uint64
	total  uint64
	files  uint64 // at most, directories included; 0 = no limit
}

// node is a file or a directory.
type node struct {
	inode   uint64
	dir     bool
	seen    []byte
	kept    []byte
	pending []write // since the last sync
	mod     int64
}

// write is a change of a file that is not synced yet.
type write struct {
	off      int64
	data     []byte
	truncate bool // to off
}

// memoryFree is the room a new Memory says it has, in bytes.
const memoryFree = 1 << 40

// NewMemory returns an empty file system with the root directory "/".
func NewMemory() *Memory {
	root := &node{inode: 1, dir: true}
	return &Memory{
		seen: map[string]*node{"/": root}, kept: map[string]*node{"/": root},
		locks: map[string]string{}, inodes: 1, free: memoryFree, total: memoryFree,
	}
}

// SetFree sets the room that is left; writes beyond the end of files use it up
// and fail with ENOSPC when there is none. Removing a file gives back what it took.
func (m *Memory) SetFree(bytes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = bytes
}

// SetFiles sets how many files and directories there may be; 0 = any number.
func (m *Memory) SetFiles(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = n
}

// SetTotal sets how large it says it is, in bytes.
func (m *Memory) SetTotal(bytes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total = bytes
}

// Crash returns the file system that a power cut now leaves. Without keep
// everything unsynced is lost; else keep decides for each unsynced write and name
// whether it reached the disk all the same.
func (m *Memory) Crash(keep *rand.Rand) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := NewMemory()
	out.inodes, out.clock, out.total, out.files = m.inodes, m.clock, m.total, m.files
	copies := map[*node]*node{}
	for name, n := range m.names(keep) {
		if copies[n] == nil {
			copies[n] = n.crashed(keep)
		}
		out.seen[name], out.kept[name] = copies[n], copies[n]
	}
	return out
}

// names returns the directory entries that a power cut leaves.
func (m *Memory) names(keep *rand.Rand) map[string]*node {
	names := maps.Clone(m.kept)
	if keep == nil {
		return names
	}
	seen := maps.Clone(m.seen)
	for from, to := range m.renamedDirs() { // happens as a whole, or not at all
		if keep.IntN(2) == 0 {
			moveTree(names, from, to)
		} else {
			moveTree(seen, to, from)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		if names[name] != seen[name] && keep.IntN(2) == 0 {
			names[name] = seen[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if seen[name] == nil && keep.IntN(2) == 0 && !onlyNameOf(names[name], name, seen, names) {
			delete(names, name)
		}
	}
	for name := range names { // a name below a directory that is not there
		if names[filepath.Dir(name)] == nil {
			delete(names, name)
		}
	}
	return names
}

// onlyNameOf reports whether a node that got another name would have none without this
// one: a renamed file may be found under its old name, its new one, or both, but it is
// never gone.
func onlyNameOf(n *node, name string, seen, names map[string]*node) bool {
	moved, found := false, false
	for other, at := range seen {
		moved = moved || at == n && other != name
	}
	for other, at := range names {
		found = found || at == n && other != name
	}
	return moved && !found
}

// renamedDirs returns directories whose new name is not durable, by ascending old name.
func (m *Memory) renamedDirs() iter.Seq2[string, string] {
	return func(yield func(from, to string) bool) {
		for _, from := range slices.Sorted(maps.Keys(m.kept)) {
			n := m.kept[from]
			if n == nil || !n.dir || m.seen[from] == n {
				continue
			}
			for to, other := range m.seen {
				in, was := filepath.Dir(to), filepath.Dir(from)
				switch {
				case other != n:
				case in == was:
					if !yield(from, to) {
						return
					}
				case m.seen[in] != m.kept[was]: // else it moved only along with its directory
					panic("durable: Memory moves directories only within their directory")
				}
			}
		}
	}
}

// moveTree gives a directory, and all below it, another name.
func moveTree(names map[string]*node, from, to string) {
	for name, n := range names {
		if below, ok := strings.CutPrefix(name, from+"/"); ok {
			delete(names, name)
			names[to+"/"+below] = n
		}
	}
	names[to] = names[from]
	delete(names, from)
}

func (n *node) crashed(keep *rand.Rand) *node {
	content := slices.Clone(n.kept)
	if keep != nil {
		for _, w := range n.pending {
			content = w.torn(keep).apply(content)
		}
	}
	return &node{inode: n.inode, dir: n.dir, seen: content, kept: slices.Clone(content), mod: n.mod}
}

// torn returns the part of a write that reached the disk: all, nothing, or a piece.
func (w write) torn(keep *rand.Rand) write {
	switch keep.IntN(4) {
	case 0, 1:
		return w
	case 2:
		if !w.truncate {
			w.data = w.data[:keep.IntN(len(w.data)+1)]
			return w
		}
	}
	return write{}
}

func (w write) apply(b []byte) []byte {
	end := w.off
	if !w.truncate {
		end += int64(len(w.data))
	}
	if grow := end - int64(len(b)); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	if w.truncate {
		return b[:w.off]
	}
	copy(b[w.off:], w.data)
	return b
}

func pathErr(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// lookup finds an existing node. The caller holds mu.
func (m *Memory) lookup(op, name string) (*node, error) {
	n := m.seen[filepath.Clean(name)]
	if n == nil {
		return nil, pathErr(op, name, fs.ErrNotExist)
	}
	return n, nil
}

// make adds a new node. The caller holds mu.
func (m *Memory) make(op, name string, dir bool) (*node, error) {
	name = filepath.Clean(name)
	if m.seen[name] != nil {
		return nil, pathErr(op, name, fs.ErrExist)
	}
	if parent := m.seen[filepath.Dir(name)]; parent == nil || !parent.dir {
		return nil, pathErr(op, name, fs.ErrNotExist)
	}
	if m.free == 0 || m.files > 0 && uint64(len(m.seen)) >= m.files {
		return nil, pathErr(op, name, syscall.ENOSPC)
	}
	m.inodes++
	n := &node{inode: m.inodes, dir: dir}
	m.seen[name] = n
	return n, nil
}

// Open implements [FS].
func (m *Memory) Open(name string) (Reader, error) { return m.OpenWrite(name) }

// OpenWrite implements [FS].
func (m *Memory) OpenWrite(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("open", name)
	if err != nil {
		return nil, err
	}
	return &memoryFile{m: m, n: n, name: name}, nil
}

// Create implements [FS].
func (m *Memory) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.make("create", name, false)
	if err != nil {
		return nil, err
	}
	return &memoryFile{m: m, n: n, name: name}, nil
}

// Mkdir implements [FS].
func (m *Memory) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.make("mkdir", name, true)
	return err
}

// Rename implements [FS].
func (m *Memory) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("rename", oldname)
	if err != nil {
		return err
	}
	if m.seen[filepath.Dir(filepath.Clean(newname))] == nil {
		return pathErr("rename", newname, fs.ErrNotExist)
	}
	to := filepath.Clean(newname)
	switch other := m.seen[to]; {
	case n.dir && other != nil:
		return pathErr("rename", newname, fs.ErrExist)
	case n.dir:
		moveTree(m.seen, filepath.Clean(oldname), to)
	default:
		m.seen[to] = n
		delete(m.seen, filepath.Clean(oldname))
	}
	return nil
}

// Remove implements [FS].
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("remove", name)
	if err != nil {
		return err
	}
	m.free += uint64(len(n.seen))
	delete(m.seen, filepath.Clean(name))
	return nil
}

// SyncDir implements [FS].
func (m *Memory) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if _, err := m.lookup("sync", name); err != nil {
		return err
	}
	for from, to := range m.renamedDirs() {
		if filepath.Dir(from) == name {
			moveTree(m.kept, from, to) // with what was durable in it
		}
	}
	maps.DeleteFunc(m.kept, func(p string, _ *node) bool {
		return p != "/" && filepath.Dir(p) == name && m.seen[p] == nil
	})
	for p, n := range m.seen {
		if filepath.Dir(p) == name {
			m.kept[p] = n
		}
	}
	return nil
}

// ReadDir implements [FS].
func (m *Memory) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.lookup("readdir", name); err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	for _, p := range slices.Sorted(maps.Keys(m.seen)) {
		if p != "/" && filepath.Dir(p) == filepath.Clean(name) {
			list = append(list, fs.FileInfoToDirEntry(m.describe(p, m.seen[p])))
		}
	}
	return list, nil
}

// Stat implements [FS].
func (m *Memory) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return m.describe(name, n), nil
}

// Identity implements [FS].
func (m *Memory) Identity(name string) (Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("statx", name)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Inode: n.inode, Birth: int64(n.inode)}, nil
}

// Space implements [FS].
func (m *Memory) Space(string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Space{Free: m.free, Total: m.total, TotalFiles: m.files}
	if n := uint64(len(m.seen)); n < m.files {
		s.FreeFiles = m.files - n
	}
	return s, nil
}

// Tree returns the content of all files below dir as a process sees them, by path.
func (m *Memory) Tree(dir string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := map[string]string{}
	for name, n := range m.seen {
		if !n.dir && strings.HasPrefix(name, filepath.Clean(dir)) {
			files[name] = string(n.seen)
		}
	}
	return files
}
