package vmap

import (
	"math/bits"

	"github.com/entrepot/entrepot/warg"
)

// This file and lanes_amd64.s hash two branches at a time with the processor's
// SHA-256 instructions. Each round waits for the one before it, so a second,
// independent hash fits into the gaps. What is hashed always has 65 bytes, two
// blocks, and the second block has one byte that is not constant: its message
// schedule comes from a table.

// hasLanes reports whether the processor has the instructions.
var hasLanes = detectLanes()

func detectLanes() bool {
	const ssse3, sse41, sha = 1 << 9, 1 << 19, 1 << 29
	if top, _, _, _ := cpuid(0, 0); top < 7 {
		return false
	}
	_, _, ecx, _ := cpuid(1, 0)
	_, ebx, _, _ := cpuid(7, 0)
	return ecx&ssse3 != 0 && ecx&sse41 != 0 && ebx&sha != 0
}

// roundConstants are the constants of SHA-256.
var roundConstants = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

// lastBlocks[b] is the message schedule, round constants added, of the second
// block of a branch whose last byte is b. Like the constants it is only read.
var lastBlocks = makeLastBlocks()

func makeLastBlocks() *[256][64]uint32 {
	if !hasLanes {
		return nil
	}
	table := new([256][64]uint32)
	for b := range table {
		// One byte, the mark of the end, and the length of the message in bits.
		w := [64]uint32{0: uint32(b)<<24 | 0x80<<16, 15: 8 * (1 + 2*warg.DigestSize)}
		for t := 16; t < 64; t++ {
			s0 := bits.RotateLeft32(w[t-15], -7) ^ bits.RotateLeft32(w[t-15], -18) ^ w[t-15]>>3
			s1 := bits.RotateLeft32(w[t-2], -17) ^ bits.RotateLeft32(w[t-2], -19) ^ w[t-2]>>10
			w[t] = w[t-16] + s0 + w[t-7] + s1
		}
		for t := range w {
			table[b][t] = w[t] + roundConstants[t]
		}
	}
	return table
}

// tables is what the assembly reads.
type tables struct {
	constants *[64]uint32
	last      *[256][64]uint32
	empty     *[Depth + 1]warg.Digest
}

// lane is a climb as the assembly sees it.
type lane struct {
	hash   *warg.Digest
	path   *Path
	height int
}

// climbLanes takes two climbs n ≥ 1 levels up.
//
//go:noescape
func climbLanes(a, b *lane, n int, t *tables)

// pairLanes hashes two branches, whose children stand one after another in src.
//
//go:noescape
func pairLanes(dst *[2]warg.Digest, src *[4]warg.Digest, t *tables)

// cpuid asks the processor what it can do.
func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

// advance takes a climb n ≥ 1 levels up.
func advance(c *climb, n int) {
	if !hasLanes {
		advanceOne(c, n)
		return
	}
	idle := *c // the other lane has nothing else to do
	advance2(c, &idle, n)
}

// advance2 takes two climbs n ≥ 1 levels up.
func advance2(a, b *climb, n int) {
	if !hasLanes {
		advanceOne(a, n)
		advanceOne(b, n)
		return
	}
	laneA, laneB := lane{&a.hash, a.path, a.height}, lane{&b.hash, b.path, b.height}
	climbLanes(&laneA, &laneB, n, &tables{&roundConstants, lastBlocks, empty})
	a.height, b.height = laneA.height, laneB.height
}

// hashPairs is [HashPairs].
func hashPairs(dst, src []warg.Digest) {
	if !hasLanes {
		hashPairsOne(dst, src)
		return
	}
	t := tables{&roundConstants, lastBlocks, nil}
	for len(dst) >= 2 {
		pairLanes((*[2]warg.Digest)(dst), (*[4]warg.Digest)(src), &t)
		dst, src = dst[2:], src[4:]
	}
	if len(dst) == 1 { // the other lane has nothing to do
		var to [2]warg.Digest
		from := [4]warg.Digest{src[0], src[1]}
		pairLanes(&to, &from, &t)
		dst[0] = to[0]
	}
}
