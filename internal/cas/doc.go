// Package cas keeps content in files named by their SHA-256 digest.
//
// The file of a digest whose hexadecimal form is "abcdef…" is "ab/cdef…" below
// the store's directory. It appears under that name only after its bytes were
// hashed, compared with the digest, and synced; [Store.Put] returns only after
// the name is durable as well. Everything below "tmp" is unfinished and removed
// when the store is opened.
//
// A file is hashed again at the first [Store.Open] of a process and whenever its
// inode, size or times are not those that were seen when it was last hashed, so
// that a byte which changed on disk while nobody looked is noticed before it is
// handed out. A file that fails is moved to "bad", never served, and may be put
// again.
package cas
