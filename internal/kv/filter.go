package kv

import (
	"hash/maphash"
	"math/bits"
)

// filter remembers keys in about 16 bits each: it never says that a key is absent that was
// added, and of others it says so nearly always (a Bloom filter; with four bits set a key
// of 16, it is wrong about one in 400). It is not safe for concurrent use.
type filter struct {
	seed maphash.Seed
	bits []uint64
	mask uint64
}

const (
	filterBits  = 16 // a key
	filterLooks = 4
)

func newFilter(keys uint64) *filter {
	words := uint64(1) << bits.Len64(keys*filterBits/64)
	return &filter{maphash.MakeSeed(), make([]uint64, words), words*64 - 1}
}

func (f *filter) add(key []byte) {
	at, step := f.places(key)
	for range filterLooks {
		f.bits[at&f.mask/64] |= 1 << (at % 64)
		at += step
	}
}

func (f *filter) has(key []byte) bool {
	at, step := f.places(key)
	for range filterLooks {
		if f.bits[at&f.mask/64]>>(at%64)&1 == 0 {
			return false
		}
		at += step
	}
	return true
}

// places returns where the first bit of a key is and how far it is to the next: one hash
// is enough for all of them.
func (f *filter) places(key []byte) (at, step uint64) {
	h := maphash.Bytes(f.seed, key)
	return h, bits.RotateLeft64(h, 32) | 1
}
