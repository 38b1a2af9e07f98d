//go:build unix

package proxy

import (
	"math"
	"net"
	"syscall"
)

// openFileLimit returns how many descriptors the process may have open.
func openFileLimit() (int, bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return int(min(r.Cur, math.MaxInt32)), true
}

// descriptorOf returns the number of the connection's descriptor. The kernel
// always hands out the lowest free one, so a number close to the limit means
// that hardly any are left.
func descriptorOf(c net.Conn) (fd int, ok bool) {
	sc, isSyscall := c.(syscall.Conn)
	if !isSyscall {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(n uintptr) { fd = int(n) })
	return fd, err == nil
}
