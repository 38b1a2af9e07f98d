package space

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	mib  = 1 << 20
	gib  = 1 << 30
	path = "/ballast"
)

// disk is a file system in memory, of so much that the ballast has 2 MiB.
func disk(t *testing.T, free uint64) (*durable.Memory, *durable.Fault) {
	t.Helper()
	m := durable.NewMemory()
	m.SetTotal(200 * mib)
	m.SetFree(free)
	return m, durable.NewFault(m)
}

func watch(fsys durable.FS, mark uint64) *Watch {
	return New(Options{FS: fsys, Dirs: []string{"/"}, Mark: mark, Ballast: path})
}

func size(t *testing.T, fsys durable.FS) uint64 {
	t.Helper()
	n, err := BallastHeld(fsys, path)
	must(t, err)
	return n
}

func TestSizes(t *testing.T) {
	for _, c := range []struct{ total, mark, ballast uint64 }{
		{0, 0, 0},
		{99 * mib, 99 * mib / 20, 0},
		{192 * mib, 192 * mib / 20, 192 * mib / 100},
		{25 * gib, 25 * gib / 20, 25 * gib / 100},
		{1 << 40, 2 * gib, 256 * mib},
	} {
		if mark, ballast := Mark(c.total, 0), BallastSize(c.total); mark != c.mark || ballast != c.ballast {
			t.Errorf("%d: mark %d, ballast %d", c.total, mark, ballast)
		}
	}
	if Mark(1<<40, 7) != 7 {
		t.Error("what is configured does not count")
	}
}

// TestFullDisk goes through the life of a disk: with room the ballast is made, a start
// on the full disk gives it up and lets nothing in for that, and it comes back.
func TestFullDisk(t *testing.T) {
	const mark, ballast = 10 * mib, 2 * mib
	m, f := disk(t, mark+ballast)
	now := time.Unix(0, 0)
	w := watch(f, mark)
	if !w.Enough(now) {
		t.Error("too little with room for mark and ballast")
	}
	w.Tend(now)
	if size(t, f) != ballast {
		t.Fatalf("the ballast has %d bytes", size(t, f))
	}
	if left, err := m.Space("/"); err != nil || left.Free != mark {
		t.Errorf("%d bytes are left, %v", left.Free, err)
	}
	if !w.Enough(now.Add(time.Hour)) {
		t.Error("too little with the ballast made")
	}

	m.SetFree(mark - 1) // somebody fills the disk
	now = now.Add(time.Minute)
	if w.Enough(now) {
		t.Error("enough below the mark")
	}
	w.Tend(now)
	if size(t, f) != ballast {
		t.Error("the ballast is gone before anybody needs it")
	}

	w = watch(f, mark) // a start
	must(t, w.Relieve(now))
	if size(t, f) != 0 {
		t.Error("a start on the full disk keeps the ballast")
	}
	if w.Enough(now) || !w.Low() {
		t.Error("giving up the ballast lets something in")
	}
	w.Tend(now)
	if size(t, f) != 0 {
		t.Error("the ballast takes the room that it gave up")
	}

	m.SetFree(mark + ballast) // space returns
	now = now.Add(lookEvery)
	w.Tend(now)
	if size(t, f) != ballast || !w.Enough(now) {
		t.Errorf("with room again: ballast of %d bytes, enough %t", size(t, f), w.Enough(now))
	}
}

func TestStartWithRoomKeepsBallast(t *testing.T) {
	_, f := disk(t, 100*mib)
	w := watch(f, 0)
	w.Tend(time.Unix(0, 0))
	w = watch(f, 0)
	must(t, w.Relieve(time.Unix(0, 0)))
	if size(t, f) == 0 {
		t.Error("given up without need")
	}
}

// TestBallastFails fails each call of making the ballast: nothing half is left, nothing
// else is disturbed, and it is made later.
func TestBallastFails(t *testing.T) {
	for at := 1; ; at++ {
		_, f := disk(t, 100*mib)
		w := watch(f, 0)
		f.SetPlan(durable.Plan{At: at, Err: syscall.ENOSPC, Match: func(op durable.Op, name string) bool {
			return name == path && op != durable.OpRemove && op != durable.OpStat
		}})
		now := time.Unix(0, 0)
		w.Tend(now)
		if !f.Reached() {
			if at == 1 {
				t.Error("no call fails")
			}
			return
		}
		if size(t, f) != 0 {
			t.Errorf("call %d: %d bytes are left", at, size(t, f))
		}
		w.Tend(now.Add(makeEvery - 1))
		if size(t, f) != 0 {
			t.Errorf("call %d: tried again at once", at)
		}
		if w.Tend(now.Add(makeEvery)); size(t, f) != 2*mib {
			t.Errorf("call %d: not made later", at)
		}
	}
}

// TestWithoutAllocation: a file system that cannot allocate gets bytes that none can
// make smaller.
func TestWithoutAllocation(t *testing.T) {
	m, f := disk(t, 100*mib)
	f.SetPlan(durable.Plan{At: 1, Err: errors.ErrUnsupported, Match: func(op durable.Op, _ string) bool { return op == durable.OpAllocate }})
	b := ballast{f, path}
	must(t, b.make(3*mib/2))
	if text := m.Tree("/")[path]; len(text) != 3*mib/2 || text[:mib/2] == text[mib:] {
		t.Errorf("%d bytes, all alike", len(text))
	}
}

func TestUnknownSpaceCountsAsEnough(t *testing.T) {
	_, f := disk(t, 0)
	f.SetPlan(durable.Plan{At: 1, Err: syscall.EIO, Match: func(op durable.Op, _ string) bool { return op == durable.OpSpace }})
	if w := watch(f, 0); !w.Enough(time.Unix(0, 0)) {
		t.Error("too little")
	}
}

func TestAnswersAreOneSecondOld(t *testing.T) {
	m, f := disk(t, 100*mib)
	w, now := watch(f, 0), time.Unix(0, 0)
	for range 3 {
		w.Enough(now)
	}
	if n := f.Counts()[durable.OpSpace]; n != 1 {
		t.Errorf("the file system was asked %d times", n)
	}
	m.SetFree(0)
	if !w.Enough(now.Add(lookEvery-1)) || w.Enough(now.Add(lookEvery)) {
		t.Error("not looked at after a second")
	}
}

// TestRealAllocation: the ballast really takes room, holes of a copy included.
func TestRealAllocation(t *testing.T) {
	b := ballast{durable.OS{}, filepath.Join(t.TempDir(), "ballast")}
	must(t, os.WriteFile(b.path, nil, 0o600))
	must(t, os.Truncate(b.path, 2*mib)) // a hole
	must(t, b.make(2*mib))
	fi, err := os.Stat(b.path)
	must(t, err)
	const block = 512
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || st.Blocks*block < 2*mib {
		t.Errorf("%v", fi.Sys())
	}
	must(t, b.free())
	if _, err := os.Stat(b.path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	must(t, b.free())
}

// TestOutOfFiles: what holds for bytes holds for files.
func TestOutOfFiles(t *testing.T) {
	m, f := disk(t, 100*mib)
	m.SetFiles(400)
	now := time.Unix(0, 0)
	w := watch(f, mib)
	w.Tend(now)
	b := ballast{f, path}
	spares := func() uint64 {
		n, err := b.spares()
		must(t, err)
		return n
	}
	if spares() != 20 || !w.Enough(now) || !w.Room(1) {
		t.Errorf("%d empty files", spares())
	}
	fill := 0
	for ; ; fill++ {
		if _, err := f.Create(fmt.Sprintf("/%d", fill)); err != nil {
			break
		}
	}
	now = now.Add(time.Minute)
	if w.Enough(now) || w.Room(1) {
		t.Error("enough without files")
	}
	w = watch(f, mib)
	must(t, w.Relieve(now))
	if spares() != 0 || w.Enough(now) {
		t.Errorf("after a start: %d empty files, enough %t", spares(), w.Enough(now))
	}
	if _, err := f.Create("/new"); err != nil {
		t.Error(err)
	}
	for i := range fill {
		must(t, f.Remove(fmt.Sprintf("/%d", i)))
	}
	now = now.Add(makeEvery)
	if w.Tend(now); spares() != 20 || !w.Enough(now) {
		t.Errorf("with room again: %d empty files, enough %t", spares(), w.Enough(now))
	}
}
