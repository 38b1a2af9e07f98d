package durable

import (
	"io/fs"
	"syscall"
)

// Fingerprint is what changes when somebody writes to a file or replaces it. It
// says nothing about the content.
type Fingerprint struct {
	Inode       uint64
	Size        int64
	Mod, Change int64 // modification and status change, nanoseconds since the Unix epoch
}

// FingerprintOf takes the fingerprint from a file's description.
func FingerprintOf(fi fs.FileInfo) Fingerprint {
	p := Fingerprint{Size: fi.Size(), Mod: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		p.Inode, p.Change = st.Ino, st.Ctim.Nano()
	}
	return p
}
