package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/backup"
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

func options(fsys durable.FS, data string) authority.Options {
	return authority.Options{
		Dir: data + "/authority", ContentDir: data + "/content", Domain: "registry.example", Key: wargtest.Alice(),
		Content: authority.ContentAny, Namespaces: []string{wargtest.DefinedNamespace},
		FS: fsys, Index: index.InMemory(new(kv.Memory)), Now: func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) },
	}.WithSegments(4<<10, 8<<10)
}

func site(fsys durable.FS, data string) backup.Site {
	return backup.Site{
		FS: fsys, Dir: data + "/authority", ContentDir: data + "/content", AnchorFile: data + "/authority/anchor",
		Data: data, Others: []string{"upstreams", "evidence", "capability.key"}, Audit: "audit.log",
	}
}

// told is what a publisher was told about a record.
type told struct {
	log     warg.LogID
	id      warg.RecordID
	digest  warg.Digest
	settled bool // published, else accepted only
}

// publish begins the n-th package, with content for all but every third.
func publish(ctx context.Context, a *authority.Authority, n int) (told, error) {
	p := wargtest.NewPackage(fmt.Sprintf("%s:p%d", wargtest.DefinedNamespace, n))
	bytes := fmt.Sprintf("content %d", n)
	req := p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", []byte(bytes))))
	r := told{log: req.LogID, id: req.Record.PackageRecordID(), digest: warg.Sum([]byte(bytes))}
	if _, err := a.Publish(ctx, req); err != nil || n%3 == 2 {
		return r, err
	}
	if err := a.Upload(ctx, r.log, r.id, r.digest, strings.NewReader(bytes)); err != nil {
		return r, err
	}
	st, err := a.Settled(ctx, r.log, r.id)
	if err == nil && st.State != warg.StatePublished {
		err = fmt.Errorf("record is %v", st.State)
	}
	r.settled = true
	return r, err
}

// world is a closed registry and what was said about it.
func world(t testing.TB, m *durable.Memory, packages int) (all []told) {
	t.Helper()
	a, err := authority.Open(t.Context(), options(m, "/data"))
	must(t, err)
	for n := range packages {
		r, err := publish(t.Context(), a, n)
		must(t, err)
		all = append(all, r)
	}
	must(t, a.Close())
	for _, name := range []string{"/data/upstreams/other.example/head", "/data/audit.log", "/data/audit.log.000001", "/data/capability.key"} {
		must(t, durable.MkdirAll(m, filepath.Dir(name)))
		must(t, durable.Replace(m, name, []byte(name), nil))
	}
	return all
}

// keeps accepts what was restored, and fails if it does not have what was told.
func keeps(t testing.TB, fsys durable.FS, data string, r *backup.Result, all []told) {
	t.Helper()
	o := options(fsys, data)
	a, err := authority.Open(t.Context(), o)
	must(t, err)
	if f := a.Status().Fence; f == nil || f.Kind != authority.FenceBehind {
		t.Fatalf("restored, and not fenced: %+v", f)
	}
	p := wargtest.NewPackage(wargtest.DefinedNamespace + ":new")
	if _, err := a.Publish(t.Context(), p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob())))); err == nil {
		t.Fatal("it takes records before anybody vouched for it")
	}
	if _, err := a.Checkpoint(t.Context()); err == nil {
		t.Fatal("it shows a head before anybody vouched for it")
	}
	must(t, a.Close())
	must(t, authority.Accept(t.Context(), o, authority.Word{Length: r.Length, LogRoot: r.LogRoot}))
	a, err = authority.Open(t.Context(), o)
	must(t, err)
	defer a.Close()
	if s := a.Status(); s.State != "ok" {
		t.Fatalf("accepted, and still %+v", s.Fence)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, x := range all {
		if !x.settled {
			if st, err := a.Record(ctx, x.log, x.id); err != nil || st.State == warg.StateRejected {
				t.Fatalf("accepted record %s: %+v, %v", x.id, st, err)
			}
			continue
		}
		st, err := a.Settled(ctx, x.log, x.id)
		if err != nil || st.State != warg.StatePublished {
			t.Fatalf("published record %s: %+v, %v", x.id, st, err)
		}
		f, err := a.Open(ctx, x.digest)
		must(t, err)
		must(t, f.Close())
	}
	_, err = publish(ctx, a, 999_999)
	must(t, err)
}

func TestBackup(t *testing.T) {
	m := durable.NewMemory()
	all := world(t, m, 20)
	r, err := backup.Write(t.Context(), site(m, "/data"), "/backup", nil)
	must(t, err)
	if r.Length == 0 || r.Files < 15 || r.Missing != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := backup.Write(t.Context(), site(m, "/data"), "/backup", nil); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("over another backup: %v", err)
	}
	if _, err := backup.Restore(t.Context(), site(m, "/data"), "/backup", nil); !errors.As(err, new(*backup.InUseError)) {
		t.Errorf("over a registry: %v", err)
	}
	restored, err := backup.Restore(t.Context(), site(m, "/new"), "/backup", nil)
	must(t, err)
	for _, name := range []string{"upstreams/other.example/head", "audit.log", "audit.log.000001", "capability.key"} {
		if b, err := durable.ReadFile(m, "/new/"+name, 1<<10); err != nil || string(b) != "/data/"+name {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	keeps(t, m, "/new", restored, all)
}

// TestInterrupted ends a backup at every call of the file system: unless it was through,
// there is no anchor, and nobody takes it for a backup.
func TestInterrupted(t *testing.T) {
	m := durable.NewMemory()
	world(t, m, 4)
	whole := 0
	for at := 1; ; at++ {
		for _, outcome := range []durable.Outcome{durable.Killed, durable.NotPersisted} {
			copied := m.Crash(nil)
			f := durable.NewFault(copied)
			f.SetPlan(durable.Plan{At: at, Outcome: outcome, Err: errors.New("no")})
			_, err := backup.Write(t.Context(), site(f, "/data"), "/backup", nil)
			if !f.Reached() {
				must(t, err)
				if at < 100 || whole == 0 {
					t.Errorf("ended in %d places only, %d times with everything there", at, whole)
				}
				return
			}
			left := copied.Crash(nil)
			_, statErr := left.Stat("/backup/authority/anchor")
			_, verifyErr := backup.Verify(t.Context(), left, "/backup", nil)
			switch {
			case err == nil: // a call that does not matter failed
				must(t, verifyErr)
			case errors.Is(statErr, fs.ErrNotExist):
				if verifyErr == nil {
					t.Fatalf("call %d: without an anchor, and it verifies", at)
				}
			default:
				must(t, verifyErr) // all was written, and reading it back failed
				whole++
			}
		}
	}
}

// TestWhileUsed takes backups while records are published. Each restores to a registry
// that has everything that was answered before the backup began.
func TestWhileUsed(t *testing.T) {
	const rounds = 12
	m := durable.NewMemory()
	world(t, m, 1)
	a, err := authority.Open(t.Context(), options(m, "/data"))
	must(t, err)
	defer a.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said, ended := make(chan told, 16), make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			r, err := publish(ctx, a, n)
			if err != nil {
				ended <- err
				return
			}
			select {
			case said <- r:
			case <-stop:
				ended <- nil
				return
			}
		}
	}()
	var all []told
	for round := range rounds {
		for range 3 { // at least so many more
			all = append(all, <-said)
		}
		dir, data := fmt.Sprintf("/backup%d", round), fmt.Sprintf("/restored%d", round)
		before := len(all)
		_, err := backup.Write(ctx, site(m, "/data"), dir, nil)
		must(t, err)
		r, err := backup.Restore(ctx, site(m, data), dir, nil)
		must(t, err)
		keeps(t, m, data, r, all[:before])
	}
	close(stop)
	must(t, <-ended)
}

// TestDamagedBackup changes every file of a backup: it is never restored.
func TestDamagedBackup(t *testing.T) {
	m := durable.NewMemory()
	world(t, m, 4)
	_, err := backup.Write(t.Context(), site(m, "/data"), "/backup", nil)
	must(t, err)
	random := rand.New(rand.NewPCG(3, 5))
	var files []string
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := m.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			if name := filepath.Join(dir, e.Name()); e.IsDir() {
				walk(name)
			} else {
				files = append(files, name)
			}
		}
	}
	walk("/backup")
	refused := func(c *durable.Memory, what string) {
		t.Helper()
		if _, err := backup.Restore(t.Context(), site(c, "/new"), "/backup", nil); !errors.As(err, new(*backup.DamageError)) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := c.Stat("/new/authority/anchor"); err == nil {
			t.Errorf("%s: there is an anchor", what)
		}
	}
	for _, name := range files {
		b, err := durable.ReadFile(m, name, 1<<20)
		must(t, err)
		for range 20 {
			c := m.Crash(nil)
			bad := append([]byte(nil), b...)
			bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
			must(t, durable.Replace(c, name, bad, nil))
			refused(c, name)
		}
		c := m.Crash(nil)
		must(t, durable.Replace(c, name, b[:len(b)/2], nil))
		refused(c, name+" halved")
		c = m.Crash(nil)
		must(t, c.Remove(name))
		refused(c, name+" removed")
	}
	c := m.Crash(nil)
	must(t, durable.Replace(c, "/backup/authority/log/00000099.seg", []byte("x"), nil))
	refused(c, "one more")
}

// TestSurvivingAnchor restores beside an anchor on another volume that knows more: it is
// kept, and the shorter registry cannot be vouched for.
func TestSurvivingAnchor(t *testing.T) {
	m := durable.NewMemory()
	world(t, m, 2)
	_, err := backup.Write(t.Context(), site(m, "/data"), "/backup", nil)
	must(t, err)
	a, err := authority.Open(t.Context(), options(m, "/data"))
	must(t, err)
	_, err = publish(t.Context(), a, 100)
	must(t, err)
	must(t, a.Close())
	b, err := durable.ReadFile(m, "/data/authority/anchor", 1<<10)
	must(t, err)
	must(t, m.Mkdir("/volume"))
	must(t, durable.Replace(m, "/volume/anchor", b, nil))
	s, o := site(m, "/new"), options(m, "/new")
	s.AnchorFile, o.AnchorFile = "/volume/anchor", "/volume/anchor"
	r, err := backup.Restore(t.Context(), s, "/backup", nil)
	must(t, err)
	if err := authority.Accept(t.Context(), o, authority.Word{Length: r.Length, LogRoot: r.LogRoot}); !errors.As(err, new(*authority.RefusedError)) {
		t.Errorf("vouching for less than was issued: %v", err)
	}
}

// TestInterruptedRestore fails and kills a restore at every call of the file system: what
// it leaves is a whole registry, or says that it is none yet, and restoring again completes
// it.
func TestInterruptedRestore(t *testing.T) {
	m := durable.NewMemory()
	all := world(t, m, 2)
	r, err := backup.Write(t.Context(), site(m, "/data"), "/backup", nil)
	must(t, err)
	outcomes := []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed}
	for at := 1; ; at++ {
		left := m.Crash(nil)
		f := durable.NewFault(left)
		f.SetPlan(durable.Plan{At: at, Outcome: outcomes[at%3], Err: errors.New("no")})
		_, err := backup.Restore(t.Context(), site(f, "/new"), "/backup", nil)
		reached := f.Reached()
		f.Kill()
		left = left.Crash(nil)
		half, existsErr := backup.IsUnfinished(left, "/new")
		must(t, existsErr)
		_, anchorErr := left.Stat("/new/authority/anchor")
		switch {
		case err == nil && half, !half && errors.Is(anchorErr, fs.ErrNotExist) && len(left.Tree("/new")) > 0:
			t.Fatalf("call %d: error %v, unfinished %v, anchor %v: %d files", at, err, half, anchorErr, len(left.Tree("/new")))
		case half || errors.Is(anchorErr, fs.ErrNotExist):
			_, err := backup.Restore(t.Context(), site(left, "/new"), "/backup", nil)
			must(t, err)
		}
		if at%10 == 0 || !reached {
			keeps(t, left, "/new", r, all)
		} else if _, err := left.Stat("/new/authority/anchor"); err != nil {
			t.Fatalf("call %d: restored again, there is no anchor: %v", at, err)
		}
		if !reached {
			if at < 50 {
				t.Errorf("ended in %d places only", at)
			}
			return
		}
	}
}
