package cache

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func TestHoldings(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	content := wargtest.Component("one")
	for _, name := range []string{"test:a", "test:b"} {
		p := wargtest.NewPackage(name)
		env := p.Next(wargtest.Alice(), wargtest.Init(wargtest.Alice()), wargtest.Release("1.0.0", content))
		st, err := m.Publish(t.Context(), p.Request(env))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range st.Missing {
			if err := m.Upload(t.Context(), p.LogID(), st.RecordID, d, strings.NewReader(string(content))); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	c := open(t, Options{Dir: filepath.Join(dir, "cache")})
	part := registry(t, c, "up.example")
	r, err := upstream.Open(t.Context(), upstream.Options{
		Domain: "up.example", Transport: upstream.Adapt(m), Store: part, OperatorKey: wargtest.Alice().Public().ID(),
		Dir: filepath.Join(dir, "upstreams"), EvidenceDir: filepath.Join(dir, "evidence"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })

	check := func(when string, want Holdings) {
		t.Helper()
		if got, err := part.Holdings(t.Context()); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", when, got, err, want)
		}
	}
	check("at first", Holdings{})
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("with the ledger", Holdings{Records: 1}) // the operator's
	log := wargtest.NewPackage("test:a").LogID()
	if _, err := r.Logs(t.Context(), warg.LogsRequest{LogLength: 3, Packages: []warg.LogCursor{{LogID: log}}}); err != nil {
		t.Fatal(err)
	}
	check("with one package", Holdings{Packages: 1, Records: 2})
	if _, err := r.Stat(t.Context(), warg.Sum(content)); err != nil {
		t.Fatal(err)
	}
	check("with its content", Holdings{Packages: 1, Records: 2, Contents: 1, ContentBytes: int64(len(content))})
	if got, err := registry(t, c, "other.example").Holdings(t.Context()); err != nil || got != (Holdings{}) {
		t.Errorf("another registry: %+v, %v", got, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := part.Holdings(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller went: %v", err)
	}
}
