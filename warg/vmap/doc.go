// Package vmap is the verifiable map of a registry: a sparse Merkle tree that maps
// each log to its latest record, with proofs that an entry is in the map. This
// comment is the format.
//
// # Shape
//
// The map is a complete binary tree of depth 256. The path of a key is SHA-256 of
// the key's bytes, read from its most significant bit, from the root down: 0 is
// left, 1 is right. Depth counts from the root, height from the leaves; the root
// has depth 0 and height 256.
//
// # Hashes
//
//	occupied leaf            SHA-256(0x00 ‖ value)
//	branch                   SHA-256(0x01 ‖ left ‖ right)
//	empty leaf               E[0] = SHA-256(0x00)
//	empty subtree, height h  E[h] = SHA-256(0x01 ‖ E[h−1] ‖ E[h−1])
//
// So the root of the empty map is E[256], see [Empty]. A key is not hashed into
// its leaf: it is bound by its position alone. The root depends on the set of
// entries, not on the order in which they came.
//
// A subtree with a single occupied leaf is hashed like any other: the leaf's hash
// climbs through all levels, an empty subtree beside it at each. With n random
// keys that is about 256 − log₂ n hashes for each key and decides what an update
// costs.
//
// # Proofs
//
// A proof is the list of the siblings on the path of a key, from the leaf's side
// to the root. It may have fewer than 256 elements: what is missing is missing at
// the leaf's end and stands for empty subtrees. An element may be absent as well,
// which also stands for the empty subtree of its height.
//
// Producers emit this: if the longest prefix that the key's path shares with
// another key's has c bits, the proof has c+1 elements; if there is no other key,
// it has one. All of them are present, empty subtrees as their hash. There are no
// proofs of absence.
//
// # Bundle
//
// Proofs travel as a bundle, a protobuf message:
//
//	1  proofs  repeated message, in the order of the request
//	     1  hashes  repeated message, from the leaf's side to the root
//	          1  hash  optional bytes: 32, or the field is left out = absent
//
// The bundle names neither keys nor root. A verifier pairs proofs with keys by
// position, and so must know how many it asked for: see [VerifyInclusion].
//
// # Versions
//
// A [Map] is a version of the map. Updating makes another version that shares all
// subtrees that did not change, so every version that is kept can still prove its
// entries. [Lazy] is the same for maps whose nodes are in a [Store].
//
// The package performs no I/O and keeps no state. Updating or verifying many
// entries spreads over the processors and returns when all of it is done.
package vmap
