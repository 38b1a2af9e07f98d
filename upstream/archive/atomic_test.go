package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// chance counts what an import writes, and acts at one of these writes.
type chance struct {
	left atomic.Int64 // writes until then
	act  func(where string) error
}

// The kinds of what an import writes: what nobody is shown yet, and heads.
const (
	intoStore = "store"
	intoHead  = "head"
)

func (c *chance) at(where string) error {
	if c.left.Add(-1) == 0 {
		return c.act(where)
	}
	return nil
}

func (b *brittle) step() error { return b.at(intoStore) }

// brittleFS is a file system of heads of which one call that changes something fails.
type brittleFS struct {
	durable.FS
	*chance
}

func (f brittleFS) step() error { return f.at(intoHead) }

func (f brittleFS) Create(name string) (durable.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.FS.Create(name)
}

func (f brittleFS) OpenWrite(name string) (durable.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.FS.OpenWrite(name)
}

func (f brittleFS) Rename(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f brittleFS) SyncDir(name string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

// pair is two registries, of which a site imports a first state and then a second one.
// The site's own archive is the first before that, and want afterwards.
type pair struct{ first, second, want []byte }

// pairDomains are theirs, in the order in which an import takes them.
func pairDomains() []string { return []string{"a.example", "z.example"} }

func newPair(t *testing.T) pair {
	t.Helper()
	var both []*origin
	for _, domain := range pairDomains() {
		o := newOrigin(t, domain)
		o.release("test:x", "1.0.0", wargtest.Component(domain))
		both = append(both, o)
	}
	p := pair{first: full(t, both...)}
	for i, o := range both {
		for v := range 2 { // so that it has checkpoints in between
			o.release("test:x", fmt.Sprintf("2.%d.0", v), wargtest.Component(fmt.Sprint("more of ", i, v)))
		}
	}
	p.second, p.want = since(t, open(t, p.first), both...), full(t, both...)
	return p
}

// folder is a site in a folder of its own.
type folder struct {
	dir      string
	cache    *cache.Cache
	replicas map[string]*upstream.Replica
}

// openFolder opens a site of both registries. chances, which may be nil, has for some
// of them what happens to their stores and their heads.
func openFolder(ctx context.Context, dir string, chances map[string]*chance) (*folder, error) {
	c, err := cache.Open(cache.Options{Dir: filepath.Join(dir, "cache"), TreeCache: 1 << 20})
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, cache: c, replicas: map[string]*upstream.Replica{}}
	for _, domain := range pairDomains() {
		store, err := c.Registry(domain)
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		o := upstream.Options{
			Domain: domain, Store: store, OperatorKey: wargtest.Alice().Public().ID(), Offline: true, Now: later,
			Dir: filepath.Join(dir, "upstreams", domain), EvidenceDir: filepath.Join(dir, "evidence"),
		}
		if at := chances[domain]; at != nil {
			o.Store, o.FS = &brittle{Registry: store, chance: at}, brittleFS{durable.OS{}, at}
		}
		if f.replicas[domain], err = upstream.Open(ctx, o); err != nil {
			delete(f.replicas, domain)
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

func (f *folder) close() (err error) {
	for _, r := range f.replicas {
		err = errors.Join(err, r.Close())
	}
	return errors.Join(err, f.cache.Close())
}

// take imports an archive, with a scratch store of its own.
func (f *folder) take(ctx context.Context, file []byte) error {
	a, err := Open(partsOf(file), nil)
	if err != nil {
		return err
	}
	scratch := func(dir string) (Scratch, error) {
		c, err := cache.Open(cache.Options{Dir: dir, TreeCache: 1 << 20})
		return &pool{cache: c}, err
	}
	_, err = Import(ctx, ImportOptions{
		Archives: []*Archive{a}, Replica: func(d string) *upstream.Replica { return f.replicas[d] },
		Scratch: scratch, TempDir: f.dir, Now: later,
	})
	return err
}

// lengths returns how long the logs are that are served, and demands that everything of
// them is held.
func (f *folder) lengths(t *testing.T) (all [2]uint64) {
	t.Helper()
	for i, domain := range pairDomains() {
		_, done, err := tryExport(t.Context(), 0, ExportOptions{Sources: []Source{f.replicas[domain].Holdings()}})
		if err != nil {
			t.Fatalf("%s: %v", domain, err)
		}
		r := done.Registries[0]
		if all[i] = r.Length; r.MissingPackages+r.MissingContents != 0 || r.Records != r.Length-1 || r.Contents != r.Length-1 {
			t.Fatalf("%s is served with holes: %+v", domain, r)
		}
	}
	return all
}

func (f *folder) state(t *testing.T) []byte {
	t.Helper()
	var sources []Source
	for _, r := range f.replicas {
		sources = append(sources, r.Holdings())
	}
	parts, _, err := tryExport(t.Context(), 0, ExportOptions{Sources: sources})
	if err != nil {
		t.Fatal(err)
	}
	return parts[0]
}

// begun is a site that has the first state.
func (p pair) begun(t *testing.T, dir string) {
	t.Helper()
	f, err := openFolder(t.Context(), dir, nil)
	if err == nil {
		err = errors.Join(f.take(t.Context(), p.first), f.close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// completed demands that importing again leads to the second state.
func (p pair) completed(t *testing.T, f *folder) {
	t.Helper()
	if err := f.take(t.Context(), p.second); err != nil {
		t.Fatalf("importing again: %v", err)
	}
	if !bytes.Equal(f.state(t), p.want) {
		t.Fatal("importing again does not complete it")
	}
}

// TestAllOrNothing lets each write of the import of the second registry fail. Of the
// first one, all of which is true and would fit, nothing is served then.
func TestAllOrNothing(t *testing.T) {
	p := newPair(t)
	base := t.TempDir()
	p.begun(t, base)
	for fails := int64(1); ; fails++ {
		dir := filepath.Join(t.TempDir(), "site")
		if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
			t.Fatal(err)
		}
		var where string
		stored := &chance{act: func(at string) error { where = at; return errBroken }}
		f, err := openFolder(t.Context(), dir, map[string]*chance{pairDomains()[1]: stored})
		if err != nil {
			t.Fatal(err)
		}
		stored.left.Store(fails)
		err = f.take(t.Context(), p.second)
		wrote := fails - stored.left.Load()
		got := f.lengths(t)
		if closed := f.close(); closed != nil {
			t.Fatal(closed)
		}
		switch {
		case err == nil:
			if wrote < 8 {
				t.Errorf("the import has only %d writes", wrote)
			}
			return
		case !errors.Is(err, errBroken):
			t.Fatalf("write %d: %v", fails, err)
		case got[1] != 2 || where == intoStore && got[0] != 2: // the head of the first is written before the second one's
			t.Fatalf("write %d, into the %s: lengths %v are served", fails, where, got)
		}
	}
}

// Where a process that is to be killed finds what it is to do.
const (
	killFolder = "ENTREPOT_TEST_KILL_FOLDER"
	killWrite  = "ENTREPOT_TEST_KILL_WRITE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killFolder); dir != "" {
		fmt.Println(importAndDie(dir, os.Getenv(killWrite)))
		return
	}
	os.Exit(m.Run())
}

// importAndDie imports an archive and is killed at one of its writes. If there are not
// so many it says how many there are.
func importAndDie(dir, at string) string {
	n, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return err.Error()
	}
	dies := &chance{act: func(where string) error {
		fmt.Println(where)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}}
	both := map[string]*chance{}
	for _, domain := range pairDomains() {
		both[domain] = dies
	}
	file, err := os.ReadFile(filepath.Join(dir, "second.archive"))
	if err != nil {
		return err.Error()
	}
	f, err := openFolder(context.Background(), dir, both)
	if err != nil {
		return err.Error()
	}
	dies.left.Store(n)
	if err := f.take(context.Background(), file); err != nil {
		return err.Error()
	}
	return fmt.Sprint("writes: ", n-dies.left.Load())
}

// TestKilledImport kills a process with SIGKILL at writes of an import. Nothing is shown
// before everything of both registries is stored; what is served afterwards of each is a
// state that was signed, all of it; and importing again completes it. Not every write is
// taken, but with KILLS=all.
func TestKilledImport(t *testing.T) {
	p := newPair(t)
	base := t.TempDir()
	p.begun(t, base)
	if err := os.WriteFile(filepath.Join(base, "second.archive"), p.second, 0o600); err != nil {
		t.Fatal(err)
	}
	die := func(at int64) (dir, said string, killed bool) {
		dir = filepath.Join(t.TempDir(), "site")
		if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killFolder+"="+dir, fmt.Sprintf("%s=%d", killWrite, at))
		text, err := cmd.Output()
		exit, _ := errors.AsType[*exec.ExitError](err)
		return dir, string(bytes.TrimSpace(text)), exit != nil && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	}
	var writes int64
	if _, said, killed := die(1 << 40); killed {
		t.Fatal("killed too early")
	} else if _, err := fmt.Sscanf(said, "writes: %d", &writes); err != nil || writes < 12 {
		t.Fatalf("an import that ends well says %q: %v", said, err)
	}
	every := max(writes/6, 1)
	if os.Getenv("KILLS") == "all" {
		every = 1
	}
	shown := map[[2]uint64]int{}
	for at := writes; at > 0; at -= every {
		dir, said, killed := die(at)
		if !killed {
			t.Fatalf("write %d of %d: it was not killed, and says %q", at, writes, said)
		}
		f, err := openFolder(t.Context(), dir, nil)
		if err != nil {
			t.Fatalf("write %d of %d: %v", at, writes, err)
		}
		got := f.lengths(t)
		if got[0] < got[1] || got[1] < 2 || said == intoStore && got[0] != 2 {
			t.Errorf("write %d of %d, into the %s: lengths %v are served", at, writes, said, got)
		}
		shown[got]++
		p.completed(t, f)
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed at every %d of %d writes; lengths served afterwards: %v", every, writes, shown)
	if shown[[2]uint64{2, 2}] == 0 || len(shown) < 2 {
		t.Error("the process was never killed both before and after something was shown")
	}
}
