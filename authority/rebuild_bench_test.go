package authority

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// BenchmarkRebuildIndex measures how long it takes to make the index of a registry on
// disk again. REBUILD_RECORDS is how many records it has, REBUILD_WRITERS how many publish
// at a time, which decides how many records a checkpoint covers, and REBUILD_DIR keeps
// the registry, so that it is filled only once.
func BenchmarkRebuildIndex(b *testing.B) {
	records, writers := fromEnv("REBUILD_RECORDS", 5000), fromEnv("REBUILD_WRITERS", 256)
	dir := os.Getenv("REBUILD_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	o := diskOptions(dir, newClock())
	o.Now, o.segments = time.Now, segment.Dir{}
	if _, err := os.Stat(o.Dir); err != nil {
		fillRegistry(b, o, records, writers)
	}
	var total uint64
	cpu := processorTime(b)
	for b.Loop() {
		var err error
		total, err = RebuildIndex(b.Context(), o, func(uint64, uint64) {})
		must(b, err)
	}
	n := float64(total) * float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric((processorTime(b)-cpu).Seconds()/n*1e6, "cpu-s/million")
	b.ReportMetric(b.Elapsed().Seconds()/n*1e6, "s/million")
}

func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillRegistry publishes the first record of many packages.
func fillRegistry(b *testing.B, o Options, records, writers int) {
	a := open(b, o)
	content := wargtest.Component("known")
	_, req := first("test:known", content)
	publish(b, a, req)
	upload(b, a, req, content)
	settled(b, a, req)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range writers {
		wg.Go(func() {
			for i := next.Add(1); i < int64(records); i = next.Add(1) {
				r := distinct(int(i), content)
				publish(b, a, r)
				settled(b, a, r)
			}
		})
	}
	wg.Wait()
	b.Logf("%d records, %d checkpoints", length(b, a), a.history.Len())
	must(b, a.Close())
}
