// Package warg holds the values of the Warg package-registry protocol and their
// verification: digests, names, versions, identifiers, keys, record envelopes,
// checkpoints, and the [Registry] interface that every registry in this module
// implements, whether it is an authority, a replica of another registry, or a
// remote one reached over HTTP.
//
// The package performs no I/O, reads no clock, writes no log, and starts no
// goroutine that outlives a call. It can be imported by programs that have
// nothing else to do with this module.
//
// Two rules run through all of it.
//
// Signed bytes are never re-encoded. An [Envelope] keeps the content bytes that
// were signed; what is decoded from them is for looking, not for sending.
//
// Unverified and verified values are different types. A [SignedCheckpoint]
// shows what it claims only under names that say so; [SignedCheckpoint.Open]
// checks the signature and yields a [Checkpoint].
//
// Sub-packages: pkglog and oplog replay package and operator logs, vlog and
// vmap are the two authenticated trees of a registry, api is the HTTP surface
// shared by servers and clients, and wargtest is a conformance suite for
// implementations of [Registry].
package warg
