package vmap

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// randomDigests fills digests from a generator.
func randomDigests(rng *rand.Rand, list []warg.Digest) {
	for i := range list {
		for k := 0; k < len(list[i]); k += 8 {
			binary.LittleEndian.PutUint64(list[i][k:], rng.Uint64())
		}
	}
}

// TestPairs compares the fast way with crypto/sha256, for every last byte and for
// odd numbers of pairs.
func TestPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 20 {
		dst, want, src := make([]warg.Digest, n), make([]warg.Digest, n), make([]warg.Digest, 2*n)
		for last := range 256 {
			randomDigests(rng, src)
			for i := range src {
				src[i][31] = byte(last + i)
			}
			HashPairs(dst, src)
			hashPairsOne(want, src)
			for i := range dst {
				if dst[i] != want[i] {
					t.Fatalf("pair %d of %d: %s, want %s", i, n, dst[i], want[i])
				}
			}
		}
	}
}

// TestClimbs compares climbs side by side with single ones by crypto/sha256.
func TestClimbs(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var digests [4]warg.Digest
		randomDigests(rng, digests[:])
		pathA, pathB := Path(digests[0]), Path(digests[1])
		var a, b climb
		a.start(&pathA, digests[2], rng.IntN(Depth))
		b.start(&pathB, digests[3], rng.IntN(Depth))
		n := 1 + rng.IntN(Depth-max(a.height, b.height))
		wantA, wantB, alone := a, b, a
		advanceOne(&wantA, n)
		advanceOne(&wantB, n)
		advance2(&a, &b, n)
		advance(&alone, n)
		if a != wantA || b != wantB || alone != wantA {
			t.Fatalf("%d levels: %v, %v, %v, want %v, %v", n, a, b, alone, wantA, wantB)
		}
	}
}

// FuzzPairs compares the fast way with crypto/sha256.
func FuzzPairs(f *testing.F) {
	f.Add(make([]byte, 4*warg.DigestSize))
	f.Add([]byte("a short one is filled up with zeros"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var src [4]warg.Digest
		for i := range src {
			data = data[copy(src[i][:], data):]
		}
		var got, want [2]warg.Digest
		HashPairs(got[:], src[:])
		hashPairsOne(want[:], src[:])
		if got != want {
			t.Fatalf("%x: %x, want %x", src, got, want)
		}
		path := Path(src[0])
		var a, b climb
		a.start(&path, src[1], 0)
		b.start(&path, src[2], 100)
		wantA, wantB := a, b
		advance2(&a, &b, 9)
		advanceOne(&wantA, 9)
		advanceOne(&wantB, 9)
		if a != wantA || b != wantB {
			t.Fatalf("climbs: %v, %v, want %v, %v", a, b, wantA, wantB)
		}
	})
}

// BenchmarkBranch compares the ways to hash a branch; all report the time of one.
func BenchmarkBranch(b *testing.B) {
	const n = 1024
	src, dst := make([]warg.Digest, 2*n), make([]warg.Digest, n)
	randomDigests(rand.New(rand.NewPCG(7, 8)), src)
	path := Path(src[0])
	perBranch := func(b *testing.B, branches int) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*branches), "ns/branch")
	}
	b.Run("crypto", func(b *testing.B) {
		for b.Loop() {
			hashPairsOne(dst, src)
		}
		perBranch(b, n)
	})
	b.Run("pairs", func(b *testing.B) {
		for b.Loop() {
			HashPairs(dst, src)
		}
		perBranch(b, n)
	})
	b.Run("climb alone", func(b *testing.B) {
		var c climb
		for b.Loop() {
			c.start(&path, src[1], 0)
			advance(&c, Depth)
		}
		perBranch(b, Depth)
	})
	b.Run("climb of two", func(b *testing.B) {
		var c, d climb
		for b.Loop() {
			c.start(&path, src[1], 0)
			d.start(&path, src[2], 0)
			advance2(&c, &d, Depth)
		}
		perBranch(b, 2*Depth)
	})
	runtime.KeepAlive(dst)
}
