//go:build !amd64

package vmap

import "github.com/entrepot/entrepot/warg"

// On other processors crypto/sha256 is the fast way, one hash after another.

func advance(c *climb, n int) { advanceOne(c, n) }

func advance2(a, b *climb, n int) {
	advanceOne(a, n)
	advanceOne(b, n)
}

func hashPairs(dst, src []warg.Digest) { hashPairsOne(dst, src) }
