package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/entrepot/entrepot/internal/durable"
)

const testMem = 8 << 20 // the least that Badger takes with values of a useful size

func diskOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).WithLogger(nil).WithMemTableSize(testMem).WithValueThreshold(256 << 10).
		WithValueLogFileSize(1 << 20).WithDetectConflicts(false).WithMetricsEnabled(false).WithCompression(options.None)
}

func openDisk(t *testing.T, dir string) *Disk {
	t.Helper()
	d, err := OpenDisk(diskOptions(dir))
	must(t, err)
	return d
}

func put100(t *testing.T, s Store, n int) {
	t.Helper()
	must(t, Write(s, func(set func(key, value []byte) error) error {
		for i := range n {
			if err := set(fmt.Appendf(nil, "key %04d", i), make([]byte, 100)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// writeTable makes a database with one table and returns its file.
func writeTable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	d := openDisk(t, dir)
	put100(t, d.Store(), 100)
	must(t, d.Close())
	names, err := tables(dir)
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("tables: %v", names)
	}
	return names[0]
}

// TestEveryFlipOfATable: each flipped bit of a table, each cut, and bytes too many are
// damage, and none is a panic. Badger itself would end the process over some of them.
func TestEveryFlipOfATable(t *testing.T) {
	name := writeTable(t)
	good, err := os.ReadFile(name)
	must(t, err)
	if n, err := VerifyTable(name); err != nil || n != len(good) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	check := func(what string, b []byte) {
		t.Helper()
		if verifyTable(b) == nil {
			t.Errorf("%s: not noticed", what)
		}
	}
	for at := range good {
		bad := append([]byte{}, good...)
		bad[at] ^= 1 << (at % 8)
		check(fmt.Sprintf("bit of byte %d of %d", at, len(good)), bad)
	}
	for n := 0; n < len(good); n += 97 {
		check(fmt.Sprintf("cut at %d", n), good[:n])
	}
	check("more", append(append([]byte{}, good...), 0, 0, 0, 0))
	check("zeros", make([]byte, len(good)))
	huge := append([]byte{}, good...)
	binary.BigEndian.PutUint32(huge[len(huge)-4:], 1<<31)
	check("a length of two gigabytes", huge)
}

// TestOpeningDamage: whatever is damaged, opening says so or opens, and never panics.
func TestOpeningDamage(t *testing.T) {
	for _, what := range []string{"table", "table gone", "table empty", "list gone", badger.ManifestFilename, "KEYREGISTRY"} {
		name := writeTable(t)
		dir := filepath.Dir(name)
		switch what {
		case "table":
			b, err := os.ReadFile(name)
			must(t, err)
			b[len(b)/2] ^= 1
			must(t, os.WriteFile(name, b, 0o600))
		case "table gone":
			must(t, os.Remove(name))
		case "list gone":
			must(t, os.Remove(filepath.Join(dir, badger.ManifestFilename)))
		case "table empty":
			must(t, os.Truncate(name, 0))
		default:
			must(t, os.WriteFile(filepath.Join(dir, what), []byte("something else altogether, and long enough"), 0o600))
		}
		d, err := OpenDisk(diskOptions(dir))
		if !errors.Is(err, ErrDamaged) || AboutMachine(err) {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			must(t, d.Close())
		}
	}
}

// TestLeftoverOfAFlushIsNotDamage: a table that a killed process had not finished is not
// named by the list of tables.
func TestLeftoverOfAFlushIsNotDamage(t *testing.T) {
	dir := filepath.Dir(writeTable(t))
	must(t, os.WriteFile(filepath.Join(dir, "000099.sst"), make([]byte, 1000), 0o600))
	must(t, openDisk(t, dir).Close())
}

// TestOpeningAndTheMachine: what says nothing about the files does not condemn them.
func TestOpeningAndTheMachine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for err, want := range map[error]bool{
		fmt.Errorf("x: %w", syscall.ENOSPC): true, errors.New("x: " + syscall.ENOSPC.Error()): true, syscall.EMFILE: true, syscall.EROFS: true, syscall.EIO: false, ErrDamaged: false,
	} {
		if AboutMachine(err) != want {
			t.Errorf("%v: %t", err, !want)
		}
	}
	if err := opening(t.TempDir(), "anything"); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// fullDisk is a disk of which nothing is left beside what is allocated.
type fullDisk struct {
	durable.FS
	free uint64
}

func (f fullDisk) Space(string) (durable.Space, error) {
	return durable.Space{Free: f.free, Total: 1 << 40}, nil
}

func allocatedBytes(t *testing.T, name string) int64 {
	t.Helper()
	fi, err := os.Stat(name)
	must(t, err)
	const block = 512
	return fi.Sys().(*syscall.Stat_t).Blocks * block
}

// TestWritesGoWhereThereIsRoom: the write-ahead file is allocated from the beginning, so
// that a full disk stops nobody who writes there; what would need more is refused.
func TestWritesGoWhereThereIsRoom(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir)
	if n := allocatedBytes(t, d.room.path(d.room.number)); n < 2*testMem {
		t.Errorf("%d bytes of the write-ahead file are allocated", n)
	}
	s := d.Store()
	d.room.fs = fullDisk{durable.OS{}, 0}
	put100(t, s, 1000)
	must(t, s.Room())
	full := false
	for range 10 * testMem / (1000 * (100 + entryRoom)) {
		if err := s.Room(); err != nil {
			full = true
			break
		}
		put100(t, s, 1000)
	}
	if !full {
		t.Fatal("a full disk takes everything")
	}
	txn := s.Begin()
	for range 4000 {
		must(t, txn.Set([]byte("too much"), make([]byte, 200)))
	}
	d.room.written = testMem
	if err := txn.Commit(); !errors.Is(err, syscall.ENOSPC) || !AboutMachine(err) {
		t.Errorf("committing: %v", err)
	}
	if d.room.closable() {
		t.Error("closing would write a table")
	}
	d.room.fs = fullDisk{durable.OS{}, (changeRoom + mergeRoom) * testMem}
	must(t, s.Room())
	must(t, s.Close())
	must(t, openDisk(t, dir).Close())
}

// TestNextWriteAheadFileIsAllocated: Badger begins another file by itself.
func TestNextWriteAheadFileIsAllocated(t *testing.T) {
	d := openDisk(t, t.TempDir())
	s := d.Store()
	first := d.room.number
	for range 60 {
		put100(t, s, 1000)
		if must(t, s.Room()); d.room.number > first {
			break
		}
	}
	if d.room.number == first {
		t.Fatal("no other file was begun")
	}
	if n := allocatedBytes(t, d.room.path(d.room.number)); n < 2*testMem || d.room.allocated != 2*testMem {
		t.Errorf("%d bytes of the next write-ahead file are allocated", n)
	}
	must(t, s.Close())
}

// TestReservedPastTheSeam: who writes past the seam asks for room himself.
func TestReservedPastTheSeam(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.room.fs = fullDisk{durable.OS{}, 0}
	must(t, d.Reserve(1, 1<<20))
	if err := d.Reserve(1, 2*testMem); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if d.room.closable() {
		t.Error("closing is said to have room")
	}
	d.room.fs = durable.OS{}
	must(t, d.Close())
}

// readOnly is a disk that has turned read-only.
type readOnly struct{ durable.FS }

func (readOnly) Create(name string) (durable.File, error) {
	return nil, &os.PathError{Op: "create", Path: name, Err: syscall.EROFS}
}

// TestClosesOnAReadOnlyDisk: Badger would try for ever to write its table.
func TestClosesOnAReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir)
	put100(t, d.Store(), 10)
	d.room.fs = readOnly{durable.OS{}}
	must(t, d.Close())
	if names, err := tables(dir); err != nil || len(names) != 0 {
		t.Errorf("a table was written: %v, %v", names, err)
	}
	d.room.fs = durable.OS{}
	must(t, d.Close())
	if names, err := tables(dir); err != nil || len(names) != 1 {
		t.Errorf("nothing was written: %v, %v", names, err)
	}
}
