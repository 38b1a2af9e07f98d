// Package tree keeps the two authenticated trees of one registry, the verifiable
// log and the verifiable map, and its ledger, in a Badger database. It can prove
// everything about every head the registry ever had. It is an index: everything in
// it can be made again from the list of leaves and the lengths of the heads.
//
// # Use
//
// One goroutine writes. It calls [Tree.Prepare] with new leaves, checks and signs
// what comes out, puts [Update.Write] into as many transactions as it likes and
// [Update.WriteHead] into a last one, and calls [Update.Publish]. Until then
// nothing has changed for readers, in memory or, after a crash, on disk.
//
// Readers are any number of other goroutines. They see the head published last
// and take no lock but those of the caches.
//
// # Keys
//
// All keys begin with the tree's prefix and a letter. Numbers in keys are big
// endian.
//
//	h                     the head
//	c length:8            the head that had this length
//	l page:8              ledger page: 256 leaves of 64 bytes, raw log id and raw record id
//	t level:1 tile:8      log tile: 256 hashes of the nodes of height 8·level
//	m length:8 part:4     part of the map patch of the head with this length: nodes of 96 bytes
//
// The last ledger page and the last tile of each level may be incomplete. They
// are written again under the same key when they grow, and may be longer than
// the head needs, if a crash came before its head record. A tile of level 0 is
// written only when it is complete: until then its hashes are those of the leaves
// in the last page. What lies between the levels of tiles is hashed when a tile is
// read.
//
// # Map patches
//
// Each head has one patch: the map nodes that its update made. A node is named by
// the length of its head, its number in the patch, and whether it is a fork or a
// single leaf, packed into 64 bits as length·2³² + number·2 + single. Nodes have
// 96 bytes:
//
//	fork    left name 8, right name 8, left hash 32, right hash 32, zero 16
//	single  path 32, leaf hash 32, base hash 32
//
// Names are big endian; the name of an empty subtree is 0. A part holds 16 nodes,
// the last one of a patch fewer: a path needs only a few of each. See package vmap
// for what the hashes mean.
//
// # Values
//
// Every value is framed, see [Seal]: a value that was cut, damaged, or belongs to
// another key is noticed when it is read, and is [ErrIndexCorrupt].
package tree
