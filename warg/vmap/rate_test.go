package vmap

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// processorTime returns the time that all processors spent on this process. On a
// machine that does other things as well it says more than the wall clock.
func processorTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// reportRate reports how many entries a second were done, by the wall clock and as
// it would be if all processors had worked for nothing else.
func reportRate(b *testing.B, entries int, since time.Duration) {
	done := float64(entries) * float64(b.N)
	b.ReportMetric(done/b.Elapsed().Seconds(), "entries/s")
	busy := (processorTime(b) - since).Seconds() / float64(runtime.GOMAXPROCS(0))
	b.ReportMetric(done/busy, "entries/s-alone")
}
