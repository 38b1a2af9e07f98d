package vmap

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strconv"
	"testing"
)

// knownRoots are the first four bytes of the roots of maps with n entries, key
// and value both SHA-256 of the entry's number as 8 bytes, the least significant
// first. They were made by the reference implementation.
var knownRoots = []struct {
	n    int
	root string
}{
	{1_000, "0d4694d8"},
	{10_000, "c5118cb1"},
	{100_000, "4573142e"},
	{1_000_000, "272cb081"},
}

// numbered returns the entries with numbers from (inclusive) to to (exclusive).
func numbered(from, to int) []Entry {
	entries := make([]Entry, 0, to-from)
	for i := from; i < to; i++ {
		var number [8]byte
		binary.LittleEndian.PutUint64(number[:], uint64(i))
		key := sha256.Sum256(number[:])
		entries = append(entries, Entry{key[:], key[:]})
	}
	return entries
}

// largeTests is the environment variable that turns on tests that take long.
const largeTests = "ENTREPOT_LARGE_TESTS"

func TestKnownRoots(t *testing.T) {
	for _, known := range knownRoots {
		if known.n > 100_000 && os.Getenv(largeTests) == "" {
			t.Logf("%d entries only with %s=1", known.n, largeTests)
			continue
		}
		m := Map{}.Update(numbered(0, known.n))
		root := m.Root()
		if got := hex.EncodeToString(root[:4]); got != known.root {
			t.Errorf("root of %d entries begins with %s, want %s", known.n, got, known.root)
		}
	}
}

// TestKnownRootInBatches makes the same map by updates of different sizes.
func TestKnownRootInBatches(t *testing.T) {
	var m Map
	for from, size := 0, 1; from < 10_000; from, size = from+size, size*3%1021+1 {
		m = m.Update(numbered(from, min(10_000, from+size)))
	}
	root := m.Root()
	if got := hex.EncodeToString(root[:4]); got != knownRoots[1].root {
		t.Errorf("root begins with %s, want %s", got, knownRoots[1].root)
	}
}

// BenchmarkBuild makes the map of a million entries at once.
func BenchmarkBuild(b *testing.B) {
	for _, known := range knownRoots[1:] {
		b.Run(binSize(known.n), func(b *testing.B) {
			entries := numbered(0, known.n)
			since := processorTime(b)
			for b.Loop() {
				root := Map{}.Update(entries).Root()
				if got := hex.EncodeToString(root[:4]); got != known.root {
					b.Fatalf("root begins with %s, want %s", got, known.root)
				}
			}
			reportRate(b, known.n, since)
		})
	}
}

// BenchmarkUpdate sets entries of a map of a hundred thousand, half of them new.
func BenchmarkUpdate(b *testing.B) {
	entries := numbered(0, 100_000)
	m := Map{}.Update(entries)
	fresh := numbered(100_000, 200_000)
	for _, size := range []int{1, 16, 1024} {
		b.Run(binSize(size), func(b *testing.B) {
			batch := make([]Entry, size)
			at := 0
			since := processorTime(b)
			for b.Loop() {
				for i := range batch {
					at = (at + 7919) % len(fresh)
					batch[i] = fresh[at]
					if i%2 == 1 {
						batch[i] = entries[at]
					}
				}
				m.Update(batch)
			}
			reportRate(b, size, since)
		})
	}
}

func BenchmarkProve(b *testing.B) {
	entries := numbered(0, 100_000)
	m := Map{}.Update(entries)
	at := 0
	for b.Loop() {
		if _, ok := m.Prove(entries[at%len(entries)].Key); !ok {
			b.Fatal("not in the map")
		}
		at += 7919
	}
}

func binSize(n int) string { return "n=" + strconv.Itoa(n) }
