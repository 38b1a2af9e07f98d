package cache

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// filledReplica returns a replica with as many packages of three records each, all
// held.
func filledReplica(b *testing.B, packages int) (*upstream.Replica, []warg.LogCursor) {
	b.Helper()
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	var cursors []warg.LogCursor
	for i := range packages {
		name := fmt.Sprintf("test:p%d", i)
		p := wargtest.NewPackage(name)
		if _, err := m.Publish(b.Context(), p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob())))); err != nil {
			b.Fatal(err)
		}
		for range 2 {
			if _, err := m.Publish(b.Context(), p.Request(p.Next(wargtest.Bob()))); err != nil {
				b.Fatal(err)
			}
		}
		cursors = append(cursors, warg.LogCursor{LogID: p.LogID()})
	}
	dir := b.TempDir()
	c, err := Open(Options{Dir: filepath.Join(dir, "cache")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	store, err := c.Registry("up.example")
	if err != nil {
		b.Fatal(err)
	}
	r, err := upstream.Open(b.Context(), upstream.Options{
		Domain: "up.example", Transport: upstream.Adapt(m), Store: store,
		OperatorKey: wargtest.Alice().Public().ID(), Dir: filepath.Join(dir, "upstreams"),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	if err := r.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	return r, cursors
}

// BenchmarkLogs is a fetch of the records of 1 and of 50 packages that are held.
func BenchmarkLogs(b *testing.B) {
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, cursors := filledReplica(b, n)
			v, err := r.Checkpoint(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			req := warg.LogsRequest{LogLength: v.Checkpoint.LogLength, Packages: cursors}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Logs(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCheckpoint is a fetch of a checkpoint that is fresh.
func BenchmarkCheckpoint(b *testing.B) {
	r, _ := filledReplica(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Checkpoint(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
