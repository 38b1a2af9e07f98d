package monitor

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// long is a registry with many leaves, none of which but the first has a record that
// anybody can fetch. A watcher does not ask for the others.
type long struct {
	op     warg.Record
	leaves []byte
	signed warg.SignedCheckpoint
}

func newLong(t testing.TB, n, logs int) *long {
	t.Helper()
	m := wargtest.NewMemory(wargtest.Options{})
	l := &long{op: must(m.Logs(t.Context(), warg.LogsRequest{LogLength: 1}))(t).Operator[0]}
	l.leaves = must(m.Ledger(t.Context(), 0, 1))(t)
	for i := 1; i < n; i++ {
		l.leaves = append(l.leaves, packed([]leaf{numbered(i, logs)})...)
	}
	trees := newTrees()
	if err := eachLeaf(bytes.NewReader(l.leaves), 0, uint64(n), func(_ uint64, x leaf) error { trees.add(x); return nil }); err != nil {
		t.Fatal(err)
	}
	r := trees.roots()
	l.signed = warg.Checkpoint{LogLength: uint64(n), LogRoot: r.logRoot, MapRoot: r.mapRoot, Timestamp: 1_700_000_000}.Sign(wargtest.Alice())
	return l
}

func (l *long) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", api.ContentTypeJSON)
	path := strings.TrimPrefix(r.URL.Path, "/base/")
	switch path {
	case api.PathCheckpoint:
		_, _ = w.Write(api.AppendCheckpoint(nil, l.signed))
	case api.PathLogs:
		_, _ = w.Write(api.AppendLogsPage(nil, warg.LogsPage{Operator: []warg.Record{l.op}}))
	case api.PathLedger:
		_, _ = w.Write(api.AppendLedger(nil, api.LedgerPages(uint64(len(l.leaves)/leafSize), api.PathLedgerRecords)))
	default:
		start, err := api.SegmentStart(path[strings.LastIndex(path, "/")+1:])
		if err != nil {
			return nil, err
		}
		rest := l.leaves[start*leafSize:]
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{},
			Body: io.NopCloser(bytes.NewReader(rest[:min(len(rest), warg.LedgerPageEntries*leafSize)])),
		}, nil
	}
	return w.Result(), nil
}

// BenchmarkFirstLook follows a registry that is long already, and opens what was
// remembered of it. Metrics are per leaf; memory is what stays.
func BenchmarkFirstLook(b *testing.B) {
	const leaves = 200_000
	for _, logs := range []int{leaves / 10, leaves} {
		l := newLong(b, leaves, logs)
		b.Run(fmt.Sprintf("leaves=%d/logs=%d", leaves, logs), func(b *testing.B) {
			for range b.N {
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				o := Options{Dir: b.TempDir(), Transport: l}
				w := must(Open(address, o))(b)
				if r, err := w.Look(b.Context()); err != nil || r.Status != StatusConsistent {
					b.Fatal(r, err)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/leaves, "B/leaf")
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/leaves, "ns/leaf")
		})
		b.Run(fmt.Sprintf("reopen/leaves=%d/logs=%d", leaves, logs), func(b *testing.B) {
			o := Options{Dir: b.TempDir(), Transport: l}
			w := must(Open(address, o))(b)
			if r, err := w.Look(b.Context()); err != nil || r.Status != StatusConsistent {
				b.Fatal(r, err)
			}
			w.Close()
			for b.Loop() {
				must(Open(address, o))(b).Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/leaves, "ns/leaf")
		})
	}
}

// TestLongLedger follows a ledger of several chunks and merges, and refuses one that
// is longer than it was told to follow.
func TestLongLedger(t *testing.T) {
	const leaves = 5*leastMerge + 3
	l := newLong(t, leaves, leaves/3)
	w := must(Open(address, Options{Dir: t.TempDir(), Transport: l, MaxLength: leaves}))(t)
	defer w.Close()
	if r := must(w.Look(t.Context()))(t); r.Status != StatusConsistent || r.LogLength != leaves {
		t.Errorf("%+v", r)
	}
	short := must(Open(address, Options{Dir: t.TempDir(), Transport: l, MaxLength: leaves - 1}))(t)
	defer short.Close()
	if r := must(short.Look(t.Context()))(t); r.Status != StatusRefused {
		t.Errorf("%+v", r)
	}
}
