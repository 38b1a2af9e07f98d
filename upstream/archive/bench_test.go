package archive

import (
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/warg/wargtest"
)

// benched has 2000 releases of 200 packages, with a checkpoint for every tenth.
func benched(b *testing.B) *origin {
	o := newOrigin(b, "up.example")
	for i := range 2000 {
		o.release(fmt.Sprintf("test:p%d", i%200), fmt.Sprintf("1.%d.0", i), wargtest.Component(fmt.Sprint(i)))
	}
	kept := o.history[:0]
	for i, s := range o.history {
		if i%10 == 0 {
			kept = append(kept, s)
		}
	}
	o.history = kept
	return o
}

func BenchmarkExport(b *testing.B) {
	o := benched(b)
	for b.Loop() {
		b.SetBytes(int64(len(full(b, o))))
	}
	b.ReportMetric(float64(o.length())*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkOpen(b *testing.B) {
	file := full(b, benched(b))
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		open(b, file)
	}
}

func BenchmarkImport(b *testing.B) {
	o := benched(b)
	file := full(b, o)
	p := newPool(b)
	for b.Loop() {
		b.StopTimer()
		s := newSite(b, p, "up.example")
		b.StartTimer()
		s.take(file)
	}
	b.ReportMetric(float64(o.length())*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
