// Package cache is the store of what replicas verified: ledgers with both trees,
// records, names and content of other registries, in a Badger database and in
// files by digest. It can be deleted at any moment; what is needed is fetched and
// verified again. What must not be lost, the head of each registry, is not here.
//
// A [Cache] holds any number of registries; a [Registry] is the part of one of
// them and is what an upstream.Replica takes for its store. Registries never see
// each other's records, and content only if they were seen to have it themselves.
//
// # Keys
//
// Numbers are big endian. A registry's records live under a number that is drawn
// anew when it is reset, so that a reset is one small transaction and what was
// before is deleted afterwards.
//
//	D domain                 number:4 of the registry
//	# number:4               in use; without a D that points here it is garbage
//	R number:4 T …           the trees and the ledger, see package tree
//	R number:4 L log:32      how many leaves the log has:8, the length of the ledger when that was written:8,
//	                         and its first 64 leaves: registry index:8, record id:32
//	R number:4 S log:32 n:8  n-th leaf of the log, from the 65th on: registry index:8, record id:32
//	R number:4 F log:32 id   which leaf a record is, from the 65th on: n:8, registry index:8
//	R number:4 H log:32      how many records of the log are held, from its first on
//	R number:4 V log:32 n:8 part:1  n-th record, see record.go
//	R number:4 K log:32 sum:16      which record has the fetch token with that SHA-256: n:8
//	R number:4 N log:32      name
//	C sum:16 digest:32       the registry with that domain has the content; empty
//	B digest:32              content of at most 64 KiB
//	U digest:32              size:8 and time:8 of the last use of content, for eviction
//	P digest:32 sum:16 why:1 the registry with that domain has the content pinned, so it is never evicted;
//	                         why is i for an import, p for the plan of its mirror; empty
//
// # Values
//
// Every value is framed with its length and a checksum that covers the key, see
// package tree. A damaged value counts as missing where it can be fetched again.
//
// The keys L, S, F and V may be ahead of the trees after a crash, because the
// trees' head is committed last. So what they say is compared with the ledger
// whenever it is read, and the ledger is the truth.
package cache
