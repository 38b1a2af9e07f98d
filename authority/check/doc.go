// Package check reads everything that a registry of our own has on disk and judges it
// by its own arithmetic: the chain of segments, every frame, both roots at every
// checkpoint that was ever issued, every signature, every log by its rules, content by
// digest, and the index against all that. It never writes and takes no lock, except that
// an index which is to be judged is opened as a server opens it.
//
// What it finds is either harmless, which means that the next start mends it by itself
// because a crash can leave it, or damage.
package check
