// Package vlog is the verifiable log of a registry: an append-only Merkle tree
// over its leaves, with proofs that a leaf is in the log and that a longer log
// extends a shorter one. This comment is the format.
//
// # Hashes
//
// The hash of a leaf is SHA-256(0x00 ‖ value), that of a branch is
// SHA-256(0x01 ‖ left ‖ right), and the root of no leaves is SHA-256 of nothing.
// The root of n ≥ 2 leaves is the branch of the root of the first k leaves and
// the root of the rest, k being the largest power of two below n. These are the
// hashes of RFC 6962, so the roots agree with every implementation of it; the
// proofs do not.
//
// # Numbering
//
// Nodes are numbered in order: leaf i is node 2i, and a branch stands between
// its two halves, so branches are odd.
//
//	height 2          3
//	height 1      1       5       9
//	height 0    0   2   4   6   8   10
//
// A node's number never changes as the log grows, nor does its hash, because a
// node is there only once all leaves below it are. See [Node].
//
// The leaves of a log of length n fall into perfect trees, one for each bit set
// in n, the largest first. Their roots are the balanced roots of n, see [Roots].
// Folding them from the right, each as the left half of what was folded so far,
// gives the root of the log.
//
// # Proofs
//
// A proof that node x with a known hash is in the log of length n consists of
// the siblings met on the way from x up to the balanced root above it, and of
// all other balanced roots of n, each by itself. A proof that the log of length
// n extends the log of length m, 1 ≤ m ≤ n, consists of the balanced roots of m
// and of the proofs that each of them is in the log of length n.
//
// # Bundle
//
// Proofs travel as a bundle, one pool of hashes for any number of proofs that
// all lead to one length n. It is a protobuf message:
//
//	1  log_length          uint32            n
//	2  consistent_lengths  packed uint32     the m of each consistency proof
//	3  included_indices    packed uint32     the node number (2i for leaf i) of each inclusion proof
//	4  hashes              repeated message  the pool: 1 index uint32, a node number; 2 hash, 32 bytes
//
// The lists are in the order of the request and may repeat values. The pool is
// sorted by node number without duplicates. Fields stand in ascending order, and
// numbers that are 0 are left out. All numbers are of 32 bits, which limits a log
// to 2³¹ leaves.
//
// # What is verified
//
// [VerifyInclusion] and [VerifyConsistency] answer the two questions a client
// has. Beyond recomputing roots they demand that the bundle is for the length
// asked about and carries exactly the proofs asked for, in order; a bundle with
// no proofs proves nothing and is refused.
//
// The package performs no I/O and keeps no state; hashes come from a
// [NodeReader], which may be a [Log] in memory or tiles on disk.
package vlog
