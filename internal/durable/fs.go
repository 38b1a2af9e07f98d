package durable

import (
	"io"
	"io/fs"
	"os"
)

// Permissions of what this module creates: nobody but its own user may look.
const (
	DirPerm  fs.FileMode = 0o700
	FilePerm fs.FileMode = 0o600
)

// Reader is a file opened for reading. An *os.File is one, and [OS] returns
// nothing else, so that a server can hand it to sendfile.
type Reader interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	io.Closer
	Stat() (fs.FileInfo, error)
}

// File is a file opened for writing.
type File interface {
	Reader
	io.Writer
	io.WriterAt
	Truncate(size int64) error
	// Allocate makes sure that writes below a size find room. The file is at least so
	// long afterwards, and what is in it stays. A file system that cannot do that says
	// errors.ErrUnsupported.
	Allocate(size int64) error
	// Sync makes content and size durable, not the name.
	Sync() error
	// Datasync is Sync without the times. On a file that does not change its
	// size it costs one flush.
	Datasync() error
}

// Identity tells a directory from its copies: a copy has another inode or
// another birth time.
type Identity struct {
	Inode uint64
	Birth int64 // nanoseconds since the Unix epoch, 0 where the file system does not keep it
}

// Same reports whether both can be the identity of one directory.
func (i Identity) Same(o Identity) bool {
	return i.Inode == o.Inode && (i.Birth == o.Birth || i.Birth == 0 || o.Birth == 0)
}

// Space is what a file system has room for.
type Space struct {
	Free  uint64 // bytes for us, without what is reserved for root
	Total uint64 // bytes

	FreeFiles  uint64 // files, if there is a limit
	TotalFiles uint64 // files, 0 = there is no limit
}

// FS is a file system. All names are paths as the operating system takes them.
// Errors are those of package os, or wrap them.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (Reader, error)
	// Create makes a file that must not exist yet and opens it for writing.
	Create(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(name string) (File, error)
	// Mkdir makes one directory.
	Mkdir(name string) error
	// Rename replaces newname by oldname, which must be in the same file system.
	Rename(oldname, newname string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// ReadDir lists a directory by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file.
	Stat(name string) (fs.FileInfo, error)
	// Identity returns the identity of a directory.
	Identity(name string) (Identity, error)
	// Space returns the room on the file system that holds name.
	Space(name string) (Space, error)
	// Lock takes the exclusive lock of a lock file, made if it does not exist, and
	// writes the holder's description into it. It does not wait: a lock held by
	// somebody else is a [HeldError]. Closing releases it.
	Lock(name, holder string) (io.Closer, error)
}

// ReadFile reads a file of at most limit bytes; a longer one is an error.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errTooLong}
	}
	return b, nil
}

// Exists reports whether a file of that name exists.
func Exists(fsys FS, name string) (bool, error) {
	_, err := fsys.Stat(name)
	switch {
	case err == nil:
		return true, nil
	case os.IsNotExist(err):
		return false, nil
	}
	return false, err
}
