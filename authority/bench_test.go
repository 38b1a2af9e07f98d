package authority

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// syncs counts the calls that wait for the disk.
func syncs(f *durable.Fault) int {
	c := f.Counts()
	return c[durable.OpSync] + c[durable.OpDatasync] + c[durable.OpSyncDir]
}

// distinct returns the first record of a package; no two are alike.
func distinct(i int, content []byte) warg.PublishRequest {
	p := wargtest.NewPackage(fmt.Sprintf("test:p%d", i))
	rec := pkglog.Record{
		Time:    warg.Timestamp{Seconds: 1700000000 + int64(i), Nanos: 1},
		Entries: []pkglog.Entry{wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", content)},
	}
	return p.Request(rec.Sign(wargtest.Bob()))
}

// benchmarkPublish measures from the call of Publish until the record is published,
// content known, one new package a publish, on the real file system.
func benchmarkPublish(b *testing.B, writers int) {
	fault := durable.NewFault(durable.OS{})
	o := diskOptions(b.TempDir(), newClock())
	o.FS, o.Now, o.segments = fault, time.Now, segment.Dir{}
	a := open(b, o)
	content := wargtest.Component("known")
	_, req := first("test:known", content)
	publish(b, a, req)
	upload(b, a, req, content)
	settled(b, a, req)

	reqs := make([]warg.PublishRequest, b.N) // signed by the client, not by us
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := w; i < len(reqs); i += 2 {
				reqs[i] = distinct(i, content)
			}
		})
	}
	wg.Wait()
	took := make([]time.Duration, b.N)
	before, length0 := syncs(fault), length(b, a)
	checkpoints := a.history.Len()
	var next atomic.Int64
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				start := time.Now()
				publish(b, a, reqs[i])
				if st := settled(b, a, reqs[i]); st.State != warg.StatePublished {
					b.Errorf("%+v", st)
				}
				took[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
	b.ReportMetric(float64(syncs(fault)-before)/float64(b.N), "syncs/publish")
	b.ReportMetric(float64(length(b, a)-length0)/float64(a.history.Len()-checkpoints), "records/checkpoint")
}

func BenchmarkPublish1(b *testing.B)  { benchmarkPublish(b, 1) }
func BenchmarkPublish64(b *testing.B) { benchmarkPublish(b, 64) }

func BenchmarkLogs(b *testing.B) {
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := open(b, memoryOptions(durable.NewMemory(), newClock()))
			req := warg.LogsRequest{}
			for i := range n {
				_, r := first(fmt.Sprintf("test:p%d", i), nil)
				publish(b, a, r)
				settled(b, a, r)
				req.Packages = append(req.Packages, warg.LogCursor{LogID: r.LogID})
			}
			req.LogLength = length(b, a)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Logs(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
