package vmap

import (
	"bytes"
	"crypto/sha256"

	"github.com/entrepot/entrepot/warg"
)

// Depth is the number of levels below the root.
const Depth = 256

// The first byte of what is hashed keeps leaves and branches apart.
const (
	leafPrefix   = 0
	branchPrefix = 1
)

// empty[h] is the hash of an empty subtree of height h. It is never written again.
var empty = emptySubtrees()

func emptySubtrees() *[Depth + 1]warg.Digest {
	var e [Depth + 1]warg.Digest
	e[0] = LeafHash(nil)
	for h := 1; h <= Depth; h++ {
		e[h] = BranchHash(e[h-1], e[h-1])
	}
	return &e
}

// Empty returns the hash of an empty subtree of the given height, 0 to 256.
// Empty(256) is the root of the empty map.
func Empty(height int) warg.Digest { return empty[height] }

// LeafHash returns the hash of an occupied leaf with the given value.
func LeafHash(value []byte) warg.Digest {
	var small [1 + 127]byte // spares the usual value of 88 bytes an allocation
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

// Path is the position of a key's leaf: the turns from the root down to it.
type Path [Depth / 8]byte

// PathOf returns the path of a key.
func PathOf(key []byte) Path { return sha256.Sum256(key) }

// Right reports whether the path turns right at a branch of the given depth.
func (p *Path) Right(depth int) bool { return p[depth/8]>>(7-depth%8)&1 == 1 }

// sharesPrefix reports whether two paths are the same down to a depth.
func (p *Path) sharesPrefix(o *Path, depth int) bool {
	whole := depth / 8
	if !bytes.Equal(p[:whole], o[:whole]) {
		return false
	}
	return depth%8 == 0 || (p[whole]^o[whole])>>(8-depth%8) == 0
}

// HashPairs sets dst[i] to the hash of the branch with the children src[2i] and
// src[2i+1]. It is the fast way to hash many branches. dst and src must not
// overlap.
func HashPairs(dst, src []warg.Digest) { hashPairs(dst, src[:2*len(dst)]) }

// hashPairsOne is HashPairs with crypto/sha256.
func hashPairsOne(dst, src []warg.Digest) {
	for i := range dst {
		dst[i] = BranchHash(src[2*i], src[2*i+1])
	}
}
