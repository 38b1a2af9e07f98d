package check_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/check"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	dir     = "/data/authority"
	content = "/data/content"
)

func options(fsys durable.FS, db *kv.Memory) authority.Options {
	return authority.Options{
		Dir: dir, ContentDir: content, Domain: "registry.example", Key: wargtest.Alice(), Content: authority.ContentAny,
		Namespaces: []string{wargtest.DefinedNamespace}, Adopt: map[string]string{"taken": "other.example"},
		FS: fsys, Index: index.InMemory(db), Now: func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) },
	}.WithSegments(4<<10, 8<<10)
}

// publish begins a package with a release of content.
func publish(t testing.TB, a *authority.Authority, name string, bytes string) {
	t.Helper()
	p := wargtest.NewPackage(name)
	req := p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", []byte(bytes))))
	_, err := a.Publish(t.Context(), req)
	must(t, err)
	id := req.Record.PackageRecordID()
	must(t, a.Upload(t.Context(), req.LogID, id, warg.Sum([]byte(bytes)), strings.NewReader(bytes)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if st, err := a.Settled(ctx, req.LogID, id); err != nil || st.State != warg.StatePublished {
		t.Fatalf("%+v, %v", st, err)
	}
}

// world is a registry with several segments, on a file system in memory, closed.
func world(t testing.TB, packages int) (*durable.Memory, *kv.Memory) {
	t.Helper()
	m, db := durable.NewMemory(), new(kv.Memory)
	a, err := authority.Open(t.Context(), options(m, db))
	must(t, err)
	for i := range packages {
		publish(t, a, fmt.Sprintf("%s:p%d", wargtest.DefinedNamespace, i), fmt.Sprintf("content %d", i))
	}
	p := wargtest.NewPackage(wargtest.DefinedNamespace + ":waits")
	_, err = a.Publish(t.Context(), p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", []byte("never")))))
	must(t, err)
	must(t, a.Close())
	return m, db
}

func run(t testing.TB, fsys durable.FS, db *kv.Memory) *check.Report {
	t.Helper()
	o := check.Options{FS: fsys, Dir: dir, ContentDir: content, Adopt: map[string]string{"taken": "other.example"}}
	if db != nil {
		o.Index = index.InMemory(db)
	}
	r, err := check.Run(t.Context(), o)
	must(t, err)
	return r
}

func TestSound(t *testing.T) {
	m, db := world(t, 20)
	r := run(t, m, db)
	if len(r.Findings) > 0 {
		t.Fatalf("%v", r.Findings)
	}
	if r.Segments < 2 || r.Length != 22 || r.Records != 22 || r.Logs != 20 || r.Checkpoints < 21 || r.Contents != 20 || r.Pending == 0 {
		t.Errorf("%+v", r)
	}
}

// files lists what a registry has.
func files(t testing.TB, fsys durable.FS, under string) (all []string) {
	t.Helper()
	entries, err := fsys.ReadDir(under)
	must(t, err)
	for _, e := range entries {
		name := filepath.Join(under, e.Name())
		switch {
		case e.IsDir():
			all = append(all, files(t, fsys, name)...)
		case !strings.HasSuffix(name, "lock"):
			all = append(all, name)
		}
	}
	return all
}

func read(t testing.TB, fsys durable.FS, name string) []byte {
	t.Helper()
	b, err := durable.ReadFile(fsys, name, 1<<24)
	must(t, err)
	return b
}

// write replaces a file.
func write(t testing.TB, fsys durable.FS, name string, b []byte) {
	t.Helper()
	must(t, durable.Replace(fsys, name, b, nil))
}

// TestEveryChange changes each file in many places. Every change is found, or the
// registry is the same without that bit: its next start serves the same.
func TestEveryChange(t *testing.T) {
	m, _ := world(t, 12)
	random := rand.New(rand.NewPCG(7, 11))
	const flips = 25 // in each file
	all := files(t, m, "/data")
	changes, found := 0, 0
	for i, name := range all {
		good := read(t, m, name)
		mutants := map[string][]byte{"emptied": {}, "halved": good[:len(good)/2], "cut by one": good[:len(good)-1]}
		used := len(bytes.TrimRight(good, "\x00"))
		for range flips {
			at := random.IntN(used)
			bad := bytes.Clone(good)
			bad[at] ^= 1 << random.IntN(8)
			mutants[fmt.Sprintf("flipped at %d", at)] = bad
		}
		zeroed := bytes.Clone(good)
		clear(zeroed[len(good)/4 : min(len(good), len(good)/4+512)])
		mutants["zeroed"] = zeroed
		other := all[(i+1)%len(all)]
		mutants["exchanged with "+other] = read(t, m, other)
		for what, bad := range mutants {
			if bytes.Equal(bad, good) {
				continue
			}
			changes++
			copied := m.Crash(nil)
			write(t, copied, name, bad)
			if r := run(t, copied, nil); len(r.Findings) > 0 {
				found++
			} else {
				same(t, copied, name+" "+what)
				zeros := bytes.Equal(bytes.TrimRight(bad, "\x00"), bytes.TrimRight(good, "\x00"))
				if !zeros && filepath.Base(name) != authority.AdoptedFile { // it has comments
					t.Errorf("%s %s: nothing found", name, what)
				}
			}
		}
		copied := m.Crash(nil)
		must(t, copied.Remove(name))
		if r := run(t, copied, nil); len(r.Findings) == 0 {
			same(t, copied, name+" removed")
		}
	}
	t.Logf("%d changes of %d files, %d found, the others are harmless", changes, len(all), found)
	if changes < 300 {
		t.Errorf("only %d changes", changes)
	}
}

// same opens a registry in which nothing was found, and fails if it is not what it was.
func same(t *testing.T, m *durable.Memory, what string) {
	t.Helper()
	a, err := authority.Open(t.Context(), options(m, new(kv.Memory)))
	if err != nil {
		t.Errorf("%s: nothing found, and it does not open: %v", what, err)
		return
	}
	defer a.Close()
	v, err := a.Checkpoint(t.Context())
	if err != nil || v.Checkpoint.LogLength != 14 || a.Adopted()["taken"] != "other.example" {
		t.Errorf("%s: nothing found, and it opens as another: %+v, %v", what, v, err)
	}
}
