package tree

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/warg"
)

// Environment variables: the number of leaves that benchmarks work on, and a
// directory to keep the tree in, so that the next run need not build it.
const (
	benchLeaves = "ENTREPOT_BENCH_LEAVES"
	benchDir    = "ENTREPOT_BENCH_DIR"
)

func leavesForBench(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv(benchLeaves))
	if err != nil {
		b.Logf("%s is not set: working on 1000000 leaves", benchLeaves)
		return 1_000_000
	}
	return n
}

// large makes the directory of a tree with many leaves, each the only one of its
// log, which is the worst case; once for all benchmarks.
var large struct {
	once sync.Once
	dir  string
	made bool // by this run
}

func largeDir(b *testing.B) string {
	large.once.Do(func() {
		dir := os.Getenv(benchDir)
		if dir == "" {
			made, err := os.MkdirTemp("", "tree-bench-")
			if err != nil {
				b.Fatal(err)
			}
			dir, large.made = made, true
		}
		large.dir = dir
		db := openForBench(b, dir)
		defer db.Close()
		t := mustOpen(b, db)
		n := leavesForBench(b)
		begin, used := time.Now(), processorTime(b)
		for from := int(t.Head().Length); from < n; from += 1024 {
			grow(b, t, benchRange(from, min(n, from+1024)))
		}
		b.Logf("built %d leaves in batches of 1024 in %v, %v of processor time", n, time.Since(begin), processorTime(b)-used)
	})
	return large.dir
}

func TestMain(m *testing.M) {
	code := m.Run()
	if large.made {
		if err := os.RemoveAll(large.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// openForBench opens a database as an authority does.
func openForBench(b *testing.B, dir string) *badger.DB {
	b.Helper()
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil).
		WithNumMemtables(2).WithBlockCacheSize(32 << 20).WithDetectConflicts(false).WithMetricsEnabled(false).
		WithCompression(0))
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func benchRange(from, to int) []warg.Leaf { return newLeaves(from, to, 1<<40) }

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// resident returns the memory of this process that is not a mapped file, the
// database's own included.
func resident(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no resident size here")
	}
	_, after, _ := strings.Cut(string(status), "RssAnon:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib << 10)
}

func onLarge(b *testing.B) (*badger.DB, *Tree) {
	b.Helper()
	db := openForBench(b, largeDir(b))
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db, mustOpen(b, db)
}

// BenchmarkOpen opens the tree; the database is open already.
func BenchmarkOpen(b *testing.B) {
	db, _ := onLarge(b)
	for b.Loop() {
		mustOpen(b, db)
	}
}

// BenchmarkProve proves five leaves, from all over the log or always from the
// last thousand.
func BenchmarkProve(b *testing.B) {
	for _, c := range []struct {
		name string
		span uint64
	}{{"anywhere", 0}, {"recent", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			_, t := onLarge(b)
			length := t.Head().Length
			span := c.span
			if span == 0 {
				span = length
			}
			rng := rand.New(rand.NewPCG(1, 1))
			since := processorTime(b)
			for b.Loop() {
				indexes := make([]uint64, 5)
				for i := range indexes {
					indexes[i] = length - 1 - rng.Uint64N(span)
				}
				if _, err := t.ProveInclusion(length, indexes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((processorTime(b)-since).Nanoseconds())/float64(b.N), "cpu-ns/op")
			runtime.GC()
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			b.ReportMetric(float64(mem.HeapInuse)/float64(length), "heap-B/leaf")
			b.ReportMetric(resident(b)/float64(length), "anonymous-B/leaf")
		})
	}
}

// BenchmarkConsistency proves consistency between random lengths.
func BenchmarkConsistency(b *testing.B) {
	_, t := onLarge(b)
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		to := 1 + rng.Uint64N(t.Head().Length)
		if _, err := t.ProveConsistency(1+rng.Uint64N(to), to); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPrepare computes a head without storing it.
func BenchmarkPrepare(b *testing.B) {
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("n=%d", size), func(b *testing.B) {
			_, t := onLarge(b)
			at := int(t.Head().Length)
			since := processorTime(b)
			for b.Loop() {
				if _, err := t.Prepare(benchRange(at, at+size)); err != nil {
					b.Fatal(err)
				}
				at += size
			}
			b.ReportMetric(float64((processorTime(b)-since).Nanoseconds())/float64(b.N*size), "cpu-ns/leaf")
		})
	}
}

// BenchmarkGrow prepares, stores and publishes heads.
func BenchmarkGrow(b *testing.B) {
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("n=%d", size), func(b *testing.B) {
			_, t := onLarge(b)
			at := int(t.Head().Length)
			since := processorTime(b)
			for b.Loop() {
				grow(b, t, benchRange(at, at+size))
				at += size
			}
			b.ReportMetric(float64((processorTime(b)-since).Nanoseconds())/float64(b.N*size), "cpu-ns/leaf")
		})
	}
}
