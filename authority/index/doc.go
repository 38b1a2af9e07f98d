// Package index answers questions about a registry fast: where the records of a
// log stand, what became of a record, which content is published, what proves a
// leaf. Everything in it follows from the journal, the anchor's history and the
// log of submissions, and is made again from them when it is lost, damaged or
// behind; nothing that is acknowledged depends on it.
//
// It is a Badger database. Keys begin with a letter; numbers are big-endian:
//
//	H                    format 1, registry id, newest segment of submissions whose predecessors' rejections are in here
//	L log                8 number of records, package name (empty for the operator log)
//	P log place:4        8 registry index, 32 record id, 8 segment, 4 offset, 4 size: the place-th record of a log
//	R record             1 state, 32 log, 8 registry index and 4 place, or the reason of the rejection
//	R record log         the same, if a record of another log has the same bytes and came first
//	C digest             8 first registry index whose record releases that content
//	T …                  the trees and the ledger, see internal/tree
//
// Values are framed with a checksum that covers the key, see tree.Seal.
//
// Entries of a batch are written in as many transactions as they need; the last,
// small one moves the head of the trees. Readers that ask below a length, and the
// replay after a crash, ignore what stands at or beyond it, so entries without a
// head do no harm. Badger runs without syncing: after a power cut the index is
// merely behind.
//
// Badger's own goroutines can panic on damaged files, which nothing here can
// recover. So all tables are verified before Badger sees them (see kv.OpenDisk), and
// in case that is not enough the file "index.opening" beside the directory counts
// openings that did not end; at two the directory is moved aside and the index begun
// anew.
package index
