package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Probed is what a file system was seen to do.
type Probed struct {
	Kind  string        // of file system, as mount names it, or a number
	Local bool          // it is one whose disk is in this machine, so that a sync and a lock mean something
	Sync  time.Duration // that syncing a small file took
}

// ProbeError says what a file system does not do that everything here relies on.
type ProbeError struct {
	Op  string // fsync, rename, flock, mmap, …
	Err error
}

func (e *ProbeError) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Err) }
func (e *ProbeError) Unwrap() error { return e.Err }

// Probe tries out, in a folder of its own below dir that it removes again, what the
// stores need of a file system: that files and directories can be synced, that renaming
// replaces, that a lock keeps a second one out, and that what is written through memory
// is read from the file. It writes a few kilobytes. An error is a [*ProbeError] if the
// file system fails; that it does all this does not prove that it keeps its word when
// the power goes.
func Probe(dir string) (p Probed, err error) {
	if p.Kind, p.Local, err = kindOf(dir); err != nil {
		return p, err
	}
	dir, err = os.MkdirTemp(dir, "probe-")
	if err != nil {
		return p, fmt.Errorf("probing: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, try := range []struct {
		op string
		do func(dir string) error
	}{
		{"fsync", func(dir string) (err error) { p.Sync, err = trySync(dir); return err }},
		{"rename", tryRename},
		{"flock", tryLock},
		{"mmap", tryMap},
	} {
		if err := try.do(dir); err != nil {
			return p, &ProbeError{try.op, err}
		}
	}
	return p, nil
}

// kindOf names the file system that a directory is on.
func kindOf(dir string) (kind string, local bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", false, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	for _, k := range []struct {
		magic int64
		name  string
		local bool
	}{
		{unix.EXT4_SUPER_MAGIC, "ext4", true}, // and ext2 and ext3
		{unix.XFS_SUPER_MAGIC, "xfs", true},
		{unix.BTRFS_SUPER_MAGIC, "btrfs", true},
		{unix.F2FS_SUPER_MAGIC, "f2fs", true},
		{0x2fc12fc1, "zfs", true},
		{0xca451a4e, "bcachefs", true},
		{unix.TMPFS_MAGIC, "tmpfs", false},
		{unix.RAMFS_MAGIC, "ramfs", false},
		{unix.OVERLAYFS_SUPER_MAGIC, "overlay", false},
		{unix.NFS_SUPER_MAGIC, "nfs", false},
		{unix.SMB2_SUPER_MAGIC, "smb", false},
		{unix.CIFS_SUPER_MAGIC, "cifs", false},
		{unix.FUSE_SUPER_MAGIC, "fuse", false},
		{unix.V9FS_MAGIC, "9p", false},
		{unix.CEPH_SUPER_MAGIC, "ceph", false},
		{unix.AFS_SUPER_MAGIC, "afs", false},
		{unix.ECRYPTFS_SUPER_MAGIC, "ecryptfs", false},
		{unix.MSDOS_SUPER_MAGIC, "vfat", false},
		{unix.EXFAT_SUPER_MAGIC, "exfat", false},
	} {
		if k.magic == st.Type {
			return k.name, k.local, nil
		}
	}
	return fmt.Sprintf("type %#x", st.Type), false, nil
}

func trySync(dir string) (took time.Duration, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "synced"), os.O_CREATE|os.O_EXCL|os.O_RDWR, FilePerm)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := f.Sync(); err != nil {
		return 0, err
	}
	took = time.Since(begin)
	if err := (osFile{f}).Datasync(); err != nil {
		return 0, err
	}
	return took, OS{}.SyncDir(dir)
}

func tryRename(dir string) error {
	from, to := filepath.Join(dir, "new"), filepath.Join(dir, "old")
	if err := os.WriteFile(to, []byte("old"), FilePerm); err != nil {
		return err
	}
	if err := os.WriteFile(from, []byte("new"), FilePerm); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	text, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	if string(text) != "new" {
		return fmt.Errorf("the old file is still in place, with %q", text)
	}
	switch _, err := os.Stat(from); {
	case err == nil:
		return errors.New("the new file is still there by its first name")
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

func tryLock(dir string) error {
	name := filepath.Join(dir, "lock")
	first, err := OS{}.Lock(name, "first")
	if err != nil {
		return err
	}
	second, err := OS{}.Lock(name, "second")
	if err == nil {
		return errors.Join(errors.New("two have the same lock"), second.Close(), first.Close())
	}
	if !errors.As(err, new(*HeldError)) {
		return errors.Join(err, first.Close())
	}
	if err := first.Close(); err != nil {
		return err
	}
	again, err := OS{}.Lock(name, "third")
	if err != nil {
		return fmt.Errorf("a lock that was given up is still held: %w", err)
	}
	return again.Close()
}

func tryMap(dir string) (err error) {
	const size = 4096
	f, err := os.OpenFile(filepath.Join(dir, "mapped"), os.O_CREATE|os.O_EXCL|os.O_RDWR, FilePerm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		return err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Munmap(memory)) }()
	written := []byte("written through memory")
	copy(memory, written)
	if err := unix.Msync(memory, unix.MS_SYNC); err != nil {
		return err
	}
	read := make([]byte, len(written))
	if _, err := f.ReadAt(read, 0); err != nil {
		return err
	}
	if !bytes.Equal(read, written) {
		return fmt.Errorf("the file has %q", read)
	}
	return nil
}
