package vlog

import (
	"crypto/sha256"

	"github.com/entrepot/entrepot/warg"
)

// The first byte of what is hashed keeps leaves and branches apart.
const (
	leafPrefix   = 0
	branchPrefix = 1
)

// EmptyRoot returns the root of a log without leaves.
func EmptyRoot() warg.Digest { return sha256.Sum256(nil) }

// LeafHash returns the hash of a leaf with the given value.
func LeafHash(value []byte) warg.Digest {
	var small [1 + 255]byte // spares the usual leaf of 160 bytes an allocation
	return sha256.Sum256(append(append(small[:0], leafPrefix), value...))
}

// BranchHash returns the hash of a branch with the given children.
func BranchHash(left, right warg.Digest) warg.Digest {
	var b [1 + 2*warg.DigestSize]byte
	b[0] = branchPrefix
	copy(b[1:], left[:])
	copy(b[1+warg.DigestSize:], right[:])
	return sha256.Sum256(b[:])
}

// NodeReader gives the hashes of nodes. A node that is not available is an error,
// which should wrap [ErrHashNotKnown] if the log is too short for it.
type NodeReader interface {
	Node(x Node) (warg.Digest, error)
}

// Root returns the root of the log at the given length.
func Root(r NodeReader, length uint64) (warg.Digest, error) {
	roots := Roots(length)
	hashes := make([]warg.Digest, len(roots))
	for i, x := range roots {
		var err error
		if hashes[i], err = r.Node(x); err != nil {
			return warg.Digest{}, err
		}
	}
	return foldRoots(hashes), nil
}

// foldRoots combines the hashes of balanced roots, given from left to right.
func foldRoots(hashes []warg.Digest) warg.Digest {
	if len(hashes) == 0 {
		return EmptyRoot()
	}
	acc := hashes[len(hashes)-1]
	for i := len(hashes) - 2; i >= 0; i-- {
		acc = BranchHash(hashes[i], acc)
	}
	return acc
}
