// Package durable is the only place below which this module touches files that
// must survive a crash. It offers the few operations that such files need behind
// the interface [FS], and the sequences that make them durable: a new file is
// written, synced, renamed, and its directory synced ([Replace]); a new directory
// is made and its parent synced ([MkdirAll]); a file that grows is written full of
// zeros before it is needed, so that syncing it later moves nothing but data
// ([Fill]).
//
// After an error from a sync the state of the file is unknown: the kernel may
// have dropped the pages and will report success the next time. Callers stop and
// decide from what they read at the next start; nothing here tries again.
//
// [OS] is the real file system. Two more implementations exist for tests and are
// part of the package because the tests of several packages need them: [Fault]
// lets the n-th call fail, with or without effect, or lets everything from there
// on fail as if the process had been killed; [Memory] is a file system that
// forgets at a crash whatever was not synced, directory entries included.
package durable
