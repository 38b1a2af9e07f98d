package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

const (
	unixPrefix = "unix:"

	// maxSocketPath is how long the path of a unix socket may be on every system
	// that has them (104 bytes with the final zero on some, 108 on others).
	maxSocketPath = 103
)

// listenAdmin listens on "unix:PATH" or host:port. A socket can be used by the
// user of this process alone from the moment it has its name; one that a killed
// server left behind is replaced.
func listenAdmin(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, unixPrefix)
	if !unix {
		return net.Listen("tcp", address)
	}
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	short, done, err := shortPath(next)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.Listen("unix", short)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the name changes below
	if err := errors.Join(os.Chmod(next, 0o600), os.Rename(next, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return socketListener{l, path}, nil
}

// socketListener removes its socket when it is closed.
type socketListener struct {
	net.Listener
	path string
}

func (l socketListener) Close() error {
	err := l.Listener.Close()
	if gone := os.Remove(l.path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return errors.Join(err, gone)
	}
	return err
}

// dialAdmin connects to what listenAdmin listens on.
func dialAdmin(ctx context.Context, address string) (net.Conn, error) {
	path, unix := strings.CutPrefix(address, unixPrefix)
	if !unix {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	short, done, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return new(net.Dialer).DialContext(ctx, "unix", short)
}

// shortPath returns another name of a socket whose path is too long for the
// system: through the open descriptor of its folder. The function ends its use.
func shortPath(path string) (string, func(), error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil || len(short) > maxSocketPath {
		return "", nil, errors.Join(fmt.Errorf("the path of the admin socket is too long: %s; set admin = \"unix:…\" to a shorter one", path), folder.Close())
	}
	return short, func() { _ = folder.Close() }, nil
}
