package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// both runs a test on the real file system and on the one of tests, which keeps
// the second honest.
func both(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, OS{}, t.TempDir()) })
	t.Run("memory", func(t *testing.T) {
		m := NewMemory()
		must(t, m.Mkdir("/dir"))
		test(t, m, "/dir")
	})
	t.Run("fault", func(t *testing.T) { test(t, NewFault(OS{}), t.TempDir()) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, fsys FS, name string) string {
	t.Helper()
	b, err := ReadFile(fsys, name, 1<<20)
	must(t, err)
	return string(b)
}

func TestFileSystem(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "a")
		f, err := fsys.Create(name)
		must(t, err)
		_, err = f.Write([]byte("hello "))
		must(t, err)
		_, err = f.Write([]byte("world"))
		must(t, err)
		_, err = f.WriteAt([]byte("W"), 6)
		must(t, err)
		must(t, f.Datasync())
		must(t, f.Sync())
		must(t, f.Truncate(9))
		must(t, f.Close())
		if got := content(t, fsys, name); got != "hello Wor" {
			t.Errorf("content is %q", got)
		}
		if _, err := fsys.Create(name); !errors.Is(err, fs.ErrExist) {
			t.Errorf("creating it again: %v", err)
		}
		if _, err := fsys.Open(filepath.Join(dir, "b")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opening what is not there: %v", err)
		}
		if _, err := fsys.OpenWrite(filepath.Join(dir, "b")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opening what is not there for writing: %v", err)
		}
		if _, err := ReadFile(fsys, name, 8); err == nil {
			t.Error("a file beyond the limit was read")
		}
		must(t, fsys.Rename(name, filepath.Join(dir, "b")))
		must(t, fsys.Mkdir(filepath.Join(dir, "sub")))
		must(t, fsys.SyncDir(dir))
		list, err := fsys.ReadDir(dir)
		must(t, err)
		if len(list) != 2 || list[0].Name() != "b" || list[0].IsDir() || !list[1].IsDir() {
			t.Errorf("directory is %v", list)
		}
		r, err := fsys.Open(filepath.Join(dir, "b"))
		must(t, err)
		at, err := r.Seek(-3, io.SeekEnd)
		must(t, err)
		tail, err := io.ReadAll(r)
		must(t, err)
		fi, err := r.Stat()
		must(t, err)
		if at != 6 || string(tail) != "Wor" || fi.Size() != 9 {
			t.Errorf("at %d: %q of %d", at, tail, fi.Size())
		}
		must(t, r.Close())
		must(t, fsys.Remove(filepath.Join(dir, "b")))
		if ok, err := Exists(fsys, filepath.Join(dir, "b")); ok || err != nil {
			t.Errorf("removed file exists: %v, %v", ok, err)
		}
		if s, err := fsys.Space(dir); err != nil || s.Free == 0 || s.Total < s.Free {
			t.Errorf("space is %v, %v", s, err)
		}
	})
}

func TestIdentityTellsCopies(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		must(t, fsys.Mkdir(a))
		must(t, fsys.Mkdir(b))
		ia, err := fsys.Identity(a)
		must(t, err)
		again, err := fsys.Identity(a)
		must(t, err)
		ib, err := fsys.Identity(b)
		must(t, err)
		if !ia.Same(again) || ia.Same(ib) {
			t.Errorf("identities %v %v %v", ia, again, ib)
		}
	})
	if !(Identity{Inode: 1, Birth: 2}).Same(Identity{Inode: 1}) {
		t.Error("an unknown birth time must not matter")
	}
	if (Identity{Inode: 1, Birth: 2}).Same(Identity{Inode: 1, Birth: 3}) {
		t.Error("another birth time must matter")
	}
}

func TestLockNamesTheHolder(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := fsys.Lock(name, "process 17")
		must(t, err)
		_, err = fsys.Lock(name, "process 18")
		var held *HeldError
		if !errors.As(err, &held) || held.Holder != "process 17" {
			t.Fatalf("second lock: %v", err)
		}
		must(t, l.Close())
		l, err = fsys.Lock(name, "process 18")
		must(t, err)
		must(t, l.Close())
	})
}

func TestMkdirAllReplaceFill(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		deep := filepath.Join(dir, "x", "y", "z")
		must(t, MkdirAll(fsys, deep))
		must(t, MkdirAll(fsys, deep))
		name := filepath.Join(deep, "f")
		must(t, Replace(fsys, name, []byte("one"), nil))
		must(t, Replace(fsys, name, []byte("two"), nil))
		if got := content(t, fsys, name); got != "two" {
			t.Errorf("content is %q", got)
		}
		f, err := fsys.OpenWrite(name)
		must(t, err)
		must(t, Fill(f, 3, 3<<20+5))
		fi, err := f.Stat()
		must(t, err)
		if fi.Size() != 3<<20+5 {
			t.Errorf("size is %d", fi.Size())
		}
		must(t, f.Close())
	})
}

// TestReplaceSurvivesPowerCuts cuts the power at every stage, in the strictest
// way and in random ones: the name has its old content or the new one, and the
// new one once Replace returned.
func TestReplaceSurvivesPowerCuts(t *testing.T) {
	for seed := range uint64(64) {
		for _, at := range []Stage{StageTmp, StageSynced, StageRenamed, StageDirSynced} {
			m := NewMemory()
			must(t, m.Mkdir("/d"))
			must(t, m.SyncDir("/"))
			must(t, Replace(m, "/d/f", []byte("old"), nil))
			var keep *rand.Rand
			if seed > 0 {
				keep = rand.New(rand.NewPCG(seed, 1))
			}
			var after *Memory
			must(t, Replace(m, "/d/f", []byte("new"), func(s Stage) error {
				if s == at {
					after = m.Crash(keep)
				}
				return nil
			}))
			got := content(t, after, "/d/f")
			if got != "new" && (got != "old" || at == StageDirSynced) {
				t.Errorf("seed %d, cut at %s: content is %q", seed, at, got)
			}
		}
	}
}

// TestMemoryForgets is the point of Memory: what was not synced is not there.
func TestMemoryForgets(t *testing.T) {
	m := NewMemory()
	must(t, MkdirAll(m, "/d"))
	f, err := m.Create("/d/named")
	must(t, err)
	must(t, m.SyncDir("/d"))
	_, err = f.Write([]byte("lost"))
	must(t, err)
	g, err := m.Create("/d/nameless")
	must(t, err)
	_, err = g.Write([]byte("kept, but nobody finds it"))
	must(t, err)
	must(t, g.Sync())
	after := m.Crash(nil)
	if got := content(t, after, "/d/named"); got != "" {
		t.Errorf("unsynced content survived: %q", got)
	}
	if ok, _ := Exists(after, "/d/nameless"); ok {
		t.Error("a name survived without a sync of its directory")
	}
	must(t, f.Sync())
	must(t, m.SyncDir("/d"))
	must(t, m.Remove("/d/nameless"))
	after = m.Crash(nil)
	if got := content(t, after, "/d/named"); got != "lost" {
		t.Errorf("synced content is %q", got)
	}
	if ok, _ := Exists(after, "/d/nameless"); !ok {
		t.Error("a removal survived without a sync of its directory")
	}
}

// A directory takes along what is in it, and after a power cut it has one of its two
// names, with all that was durable in it.
func TestDirectoriesAreRenamed(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		must(t, MkdirAll(fsys, filepath.Join(from, "sub")))
		must(t, Replace(fsys, filepath.Join(from, "sub", "file"), []byte("x"), nil))
		must(t, fsys.Rename(from, to))
		if got := content(t, fsys, filepath.Join(to, "sub", "file")); got != "x" {
			t.Errorf("content is %q", got)
		}
		if has, err := Exists(fsys, from); err != nil || has {
			t.Errorf("the old name: %v %v", has, err)
		}
		m, ok := fsys.(*Memory)
		if !ok {
			return
		}
		check := func(m *Memory, name, other string) {
			t.Helper()
			gone, err := Exists(m, filepath.Join(dir, other))
			if got := content(t, m, filepath.Join(dir, name, "sub", "file")); got != "x" || gone || err != nil {
				t.Errorf("content is %q; %s is there: %v %v", got, other, gone, err)
			}
		}
		check(m.Crash(nil), "from", "to")
		names := map[bool]int{}
		for seed := range uint64(20) {
			after := m.Crash(rand.New(rand.NewPCG(seed, 0)))
			moved, err := Exists(after, to)
			must(t, err)
			if names[moved]++; moved {
				check(after, "to", "from")
			} else {
				check(after, "from", "to")
			}
		}
		if len(names) != 2 {
			t.Errorf("power cuts leave %v", names)
		}
		must(t, m.SyncDir(dir))
		check(m.Crash(nil), "to", "from")
	})
}

func TestMemoryRunsFull(t *testing.T) {
	m := NewMemory()
	f, err := m.Create("/f")
	must(t, err)
	m.SetFree(10)
	if _, err := f.Write(make([]byte, 11)); !IsNoSpace(err) {
		t.Errorf("writing beyond the end: %v", err)
	}
	_, err = f.Write(make([]byte, 10))
	must(t, err)
	if _, err := m.Create("/g"); !IsNoSpace(err) {
		t.Errorf("creating: %v", err)
	}
	_, err = f.WriteAt(make([]byte, 10), 0)
	must(t, err) // overwriting needs no room
}

func TestNoSpaceFromASyncIsFinal(t *testing.T) {
	f := NewFault(NewMemory())
	for op, want := range map[Op]bool{OpCreate: true, OpWrite: true, OpRename: true, OpSync: false, OpSyncDir: false} {
		f.SetPlan(Plan{At: 1, Match: func(o Op, _ string) bool { return o == op }, Err: syscall.ENOSPC})
		err := Replace(f, "/f", []byte("x"), nil)
		if err == nil || IsNoSpace(err) != want {
			t.Errorf("%s: %v may be taken back: %v", op, err, IsNoSpace(err))
		}
	}
	if IsNoSpace(syscall.EIO) || IsNoSpace(nil) {
		t.Error("not every error is a lack of space")
	}
}

// TestEveryCallCanFail fails each call of Replace in turn and in each way.
func TestEveryCallCanFail(t *testing.T) {
	for outcome, want := range map[Outcome]error{NotPersisted: syscall.EIO, Persisted: syscall.EIO, Killed: ErrKilled} {
		calls := 0
		for at := 1; ; at++ {
			m := NewMemory()
			must(t, Replace(m, "/f", []byte("old"), nil))
			_, err := m.Create("/f" + tempSuffix) // a crash left it
			must(t, err)
			f := NewFault(m)
			f.SetPlan(Plan{At: at, Outcome: outcome, Err: syscall.EIO})
			err = Replace(f, "/f", []byte("new"), nil)
			if !f.Reached() {
				must(t, err)
				break
			}
			calls++
			if !errors.Is(err, want) {
				t.Errorf("outcome %d, call %d: %v", outcome, at, err)
			}
			if got := content(t, m.Crash(nil), "/f"); got != "old" && got != "new" {
				t.Errorf("outcome %d, call %d: content is %q", outcome, at, got)
			}
		}
		if calls != 6 { // remove, create, write, sync, rename, syncDir
			t.Errorf("outcome %d: %d calls", outcome, calls)
		}
	}
}

func TestFaultCountsAndMatches(t *testing.T) {
	f := NewFault(NewMemory())
	f.SetPlan(Plan{At: 2, Match: func(op Op, name string) bool { return op == OpSync && name == "/b.tmp" }, Err: syscall.EIO})
	must(t, Replace(f, "/b", nil, nil))
	must(t, Replace(f, "/a", nil, nil))
	if err := Replace(f, "/b", nil, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("second sync of b: %v", err)
	}
	must(t, Replace(f, "/b", nil, nil))
	if n := f.Counts()[OpSync]; n != 4 {
		t.Errorf("%d syncs", n)
	}
}

func TestKilledProcessLetsLocksGo(t *testing.T) {
	m := NewMemory()
	f := NewFault(m)
	_, err := f.Lock("/lock", "first")
	must(t, err)
	f.Kill()
	if _, err := f.Stat("/lock"); !errors.Is(err, ErrKilled) {
		t.Errorf("call after the kill: %v", err)
	}
	l, err := NewFault(m).Lock("/lock", "second")
	must(t, err)
	must(t, l.Close())
}

func TestFingerprintSeesChanges(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(name, []byte("same size"), 0o600))
	look := func() Fingerprint {
		fi, err := OS{}.Stat(name)
		must(t, err)
		return FingerprintOf(fi)
	}
	first := look()
	if look() != first {
		t.Error("fingerprint is not stable")
	}
	must(t, os.WriteFile(name+"2", []byte("size same"), 0o600))
	must(t, os.Rename(name+"2", name))
	if look() == first {
		t.Error("a replaced file has the same fingerprint")
	}
}

func ExampleReplace() {
	m := NewMemory()
	if err := Replace(m, "/anchor", []byte("length 7"), nil); err != nil {
		fmt.Println(err)
		return
	}
	b, err := ReadFile(m.Crash(nil), "/anchor", 100)
	fmt.Println(string(b), err)
	// Output: length 7 <nil>
}

// TestMkdirAllSurvivesPowerCuts: a directory that was made is there after a power cut,
// and so is one that a killed process had made.
func TestMkdirAllSurvivesPowerCuts(t *testing.T) {
	m := NewMemory()
	if err := MkdirAll(m, "/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := m.Mkdir("/a/left"); err != nil { // by a process that was killed
		t.Fatal(err)
	}
	if err := MkdirAll(m, "/a/left"); err != nil {
		t.Fatal(err)
	}
	m = m.Crash(nil)
	for _, name := range []string{"/a/b/c", "/a/left"} {
		if ok, err := Exists(m, name); !ok || err != nil {
			t.Errorf("%s is gone (%v)", name, err)
		}
	}
}

// TestProbe: a file system on which tests run does what is needed, and nothing is left.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	p, err := Probe(dir)
	if err != nil || p.Kind == "" || p.Sync <= 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := Probe(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where nothing is: %v", err)
	}
	// What each part calls a failure: here they meet what is there already.
	for op, try := range map[string]func(string) error{
		"synced": func(dir string) error { _, err := trySync(dir); return err }, "mapped": tryMap, "lock": tryLock, "old": tryRename,
	} {
		if err := os.Mkdir(filepath.Join(dir, op), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := try(dir); err == nil {
			t.Errorf("%s is in the way, and nothing fails", op)
		}
	}
}
