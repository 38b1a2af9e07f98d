package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// liar is a registry that changes what an honest one answers.
type liar struct {
	warg.Registry
	checkpoint  func(warg.View) warg.View
	logs        func(*warg.LogsPage)
	inclusion   func(warg.InclusionProof) (warg.InclusionProof, error)
	consistency func([]byte) ([]byte, error)
	ledger      func(start uint64, page []byte) []byte
	names       func([]warg.PackageName)
}

func (l *liar) Checkpoint(ctx context.Context) (warg.View, error) {
	v, err := l.Registry.Checkpoint(ctx)
	if l.checkpoint != nil {
		v = l.checkpoint(v)
	}
	return v, err
}

func (l *liar) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	page, err := l.Registry.Logs(ctx, req)
	if l.logs != nil && err == nil {
		for i := range page.Packages {
			page.Packages[i].Records = slices.Clone(page.Packages[i].Records)
		}
		page.Operator = slices.Clone(page.Operator)
		l.logs(&page)
	}
	return page, err
}

func (l *liar) Inclusion(ctx context.Context, length uint64, leaves []uint64) (warg.InclusionProof, error) {
	p, err := l.Registry.Inclusion(ctx, length, leaves)
	if l.inclusion != nil && err == nil {
		return l.inclusion(p)
	}
	return p, err
}

func (l *liar) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	p, err := l.Registry.Consistency(ctx, from, to)
	if l.consistency != nil && err == nil {
		return l.consistency(p)
	}
	return p, err
}

func (l *liar) Ledger(ctx context.Context, start uint64, max int) ([]byte, error) {
	p, err := l.Registry.Ledger(ctx, start, max)
	if l.ledger != nil {
		p = l.ledger(start, p)
	}
	return p, err
}

func (l *liar) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	names, err := l.Registry.Names(ctx, ids)
	if l.names != nil && err == nil {
		l.names(names)
	}
	return names, err
}

// newSession returns a session with a registry, with a memory in a file.
func newSession(t *testing.T, r warg.Registry, memory Memory) *Session {
	t.Helper()
	s, err := OpenSession(SessionOptions{Registry: r, Memory: memory, Now: newClock().now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func memoryFile(t *testing.T) Memory {
	return FileMemory(filepath.Join(t.TempDir(), "state", MemoryFile("http://127.0.0.1:8090/")))
}

func upstreamOf(t *testing.T) (*wargtest.Memory, map[string]*wargtest.Package) {
	t.Helper()
	m := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
	pkgs := map[string]*wargtest.Package{}
	publishTo(t, m, pkgs, "test:a", "1.0.0")
	publishTo(t, m, pkgs, "test:b", "1.0.0")
	publishTo(t, m, pkgs, "test:a", "1.1.0")
	return m, pkgs
}

func TestSessionFetch(t *testing.T) {
	m, pkgs := upstreamOf(t)
	memory := memoryFile(t)
	s := newSession(t, m, memory)
	a, b := wargtest.Name("test:a"), wargtest.Name("test:b")
	snap, err := s.Fetch(t.Context(), b, a)
	if err != nil {
		t.Fatal(err)
	}
	if snap.Pinned || snap.OperatorKey != wargtest.Alice().Public().ID() || snap.Checkpoint.LogLength != 4 {
		t.Errorf("snapshot %+v", snap)
	}
	if n := len(snap.Packages[1].State.Releases()); n != 2 || snap.Packages[0].Name != b {
		t.Errorf("%d releases of the second", n)
	}
	if _, ok := snap.Operator.Namespace("test"); !ok {
		t.Error("the namespace is missing")
	}
	missing := wargtest.Name("test:missing")
	if _, err := s.Fetch(t.Context(), a, missing); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound, ID: missing.LogID().String()}) {
		t.Errorf("missing package: %v", err)
	}
	// Another process, later.
	publishTo(t, m, pkgs, "test:a", "1.2.0")
	if snap, err = newSession(t, m, memory).Fetch(t.Context(), a); err != nil || !snap.Pinned || snap.Checkpoint.LogLength != 5 {
		t.Errorf("second session: %+v %v", snap, err)
	}
	m.Resign()
	if _, err = newSession(t, m, memory).Checkpoint(t.Context()); err != nil {
		t.Errorf("signed anew: %v", err)
	}
}

// TestSessionPages: logs of more records than one answer has.
func TestSessionPages(t *testing.T) {
	m := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
	p := wargtest.NewPackage("test:long")
	submit(t, m, p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()))), nil)
	for range warg.MaxFetchLimit {
		submit(t, m, p.Request(p.Next(wargtest.Bob())), nil)
	}
	snap, err := newSession(t, m, nil).Fetch(t.Context(), p.Name())
	if err != nil || len(snap.Packages[0].Records) != warg.MaxFetchLimit+1 {
		t.Fatalf("%v", err)
	}
}

func TestSessionAttacks(t *testing.T) {
	alice, eve := wargtest.Alice(), wargtest.Stranger("eve")
	a := wargtest.Name("test:a")
	resign := func(key warg.PrivateKey, change func(*warg.Checkpoint)) func(*liar, *wargtest.Memory) {
		return func(l *liar, _ *wargtest.Memory) {
			l.checkpoint = func(v warg.View) warg.View { return resigned(v, key, change) }
		}
	}
	logs := func(change func(page *warg.LogsPage)) func(*liar, *wargtest.Memory) {
		return func(l *liar, _ *wargtest.Memory) { l.logs = change }
	}
	inclusion := func(change func(p *warg.InclusionProof)) func(*liar, *wargtest.Memory) {
		return func(l *liar, _ *wargtest.Memory) {
			l.inclusion = func(p warg.InclusionProof) (warg.InclusionProof, error) {
				change(&p)
				return p, nil
			}
		}
	}
	cases := []struct {
		name     string
		class    Class
		set      func(*liar, *wargtest.Memory)
		evidence bool
	}{
		{"stranger signs", ClassKey, resign(eve, func(*warg.Checkpoint) {}), false},
		{"other log root", ClassProof, resign(alice, func(c *warg.Checkpoint) { c.LogRoot = warg.Sum([]byte("x")) }), false},
		{"other map root", ClassProof, resign(alice, func(c *warg.Checkpoint) { c.MapRoot = warg.Sum([]byte("x")) }), false},
		{"no length", ClassClaims, resign(alice, func(c *warg.Checkpoint) { c.LogLength = 0 }), false},
		{"from the future", ClassClaims, resign(alice, func(c *warg.Checkpoint) { c.Timestamp *= 2 }), false},
		{"other signature", ClassSignature, func(l *liar, _ *wargtest.Memory) {
			l.checkpoint = func(v warg.View) warg.View {
				c := v.Checkpoint.Claims()
				c.Timestamp++
				v.Signed = warg.NewSignedCheckpoint(c, v.Signed.KeyID(), v.Signed.Signature())
				return v
			}
		}, false},
		{"key that may not sign", ClassKey, func(l *liar, m *wargtest.Memory) {
			clerk := wargtest.Stranger("clerk")
			if err := m.Operate(alice, oplog.Grant{Key: clerk.Public(), Permissions: []oplog.Permission{oplog.PermissionDefineNamespace}}); err != nil {
				panic(err)
			}
			m.UseKey(clerk)
			m.Resign()
		}, false},
		{"last record left out", ClassProof, logs(func(p *warg.LogsPage) { p.Packages[0].Records = p.Packages[0].Records[:1] }), false},
		{"first record left out", ClassRecord, logs(func(p *warg.LogsPage) { p.Packages[0].Records = p.Packages[0].Records[1:] }), false},
		{"no records", ClassAbsence, logs(func(p *warg.LogsPage) { p.Packages[0].Records = nil }), false},
		{"no operator records", ClassAbsence, logs(func(p *warg.LogsPage) { p.Operator = nil }), false},
		{"records swapped", ClassRecord, logs(func(p *warg.LogsPage) { slices.Reverse(p.Packages[0].Records) }), false},
		{"record beyond the checkpoint", ClassRecord, logs(func(p *warg.LogsPage) { p.Packages[0].Records[1].Index = 99 }), false},
		{"record at another index", ClassProof, logs(func(p *warg.LogsPage) { p.Packages[0].Records[1].Index-- }), false},
		{"record signed by somebody else", ClassSignature, logs(func(p *warg.LogsPage) {
			r := &p.Packages[0].Records[1]
			r.Signature = eve.SignPackageRecord(r.Content)
		}), false},
		{"one bit of a record", ClassSignature, logs(func(p *warg.LogsPage) {
			r := &p.Packages[0].Records[1]
			r.Content = flip(r.Content, len(r.Content)-1)
		}), false},
		{"another package's log", ClassAnswer, logs(func(p *warg.LogsPage) { p.Packages[0].LogID = warg.OperatorLogID }), false},
		{"one log too few", ClassAnswer, logs(func(p *warg.LogsPage) { p.Packages = nil }), false},
		{"no proofs", ClassProof, inclusion(func(p *warg.InclusionProof) { p.Log, p.Map = nil, nil }), false},
		{"log proofs alone", ClassProof, inclusion(func(p *warg.InclusionProof) { p.Map = nil }), false},
		{"half a log proof", ClassProof, inclusion(func(p *warg.InclusionProof) { p.Log = p.Log[:len(p.Log)-10] }), false},
		{"one bit of the log proof", ClassProof, inclusion(func(p *warg.InclusionProof) { p.Log = flip(p.Log, len(p.Log)-1) }), false},
		{"one bit of the map proof", ClassProof, inclusion(func(p *warg.InclusionProof) { p.Map = flip(p.Map, len(p.Map)-1) }), false},
		{"proof refused", ClassProof, func(l *liar, _ *wargtest.Memory) {
			l.inclusion = func(p warg.InclusionProof) (warg.InclusionProof, error) {
				return p, &warg.Error{Kind: warg.KindProofIncorrect}
			}
		}, false},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			m, _ := upstreamOf(t)
			memory := memoryFile(t)
			l := &liar{Registry: m}
			k.set(l, m)
			_, err := newSession(t, l, memory).Fetch(t.Context(), a)
			if ClassOf(err) != k.class {
				t.Errorf("class %s (%v); want %s", ClassOf(err), err, k.class)
			}
			if text, err := memory.Load(); err != nil || text != nil {
				t.Errorf("something was remembered: %q %v", text, err)
			}
		})
	}
}

// TestSessionRemembers: what contradicts an earlier session is noticed.
func TestSessionRemembers(t *testing.T) {
	alice := wargtest.Alice()
	a := wargtest.Name("test:a")
	fork := func(t *testing.T, more int) warg.Registry {
		f := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
		pkgs := map[string]*wargtest.Package{}
		publishTo(t, f, pkgs, "test:a", "1.0.0")
		for i := range more {
			publishTo(t, f, pkgs, "test:evil", fmt.Sprintf("6.6.%d", i))
		}
		return f
	}
	cases := []struct {
		name     string
		class    Class
		evidence bool
		next     func(t *testing.T, m *wargtest.Memory, old *wargtest.Memory, pkgs map[string]*wargtest.Package) warg.Registry
	}{
		{"fork of the same length", ClassEquivocation, true, func(t *testing.T, _, _ *wargtest.Memory, _ map[string]*wargtest.Package) warg.Registry {
			return fork(t, 2)
		}},
		{"longer fork", ClassEquivocation, true, func(t *testing.T, _, _ *wargtest.Memory, _ map[string]*wargtest.Package) warg.Registry {
			return fork(t, 5)
		}},
		{"longer fork without a proof", ClassProof, false, func(t *testing.T, _, _ *wargtest.Memory, _ map[string]*wargtest.Package) warg.Registry {
			return &liar{Registry: fork(t, 5), consistency: func([]byte) ([]byte, error) { return nil, &warg.Error{Kind: warg.KindProofFailure} }}
		}},
		{"longer fork with an empty proof", ClassProof, false, func(t *testing.T, _, _ *wargtest.Memory, _ map[string]*wargtest.Package) warg.Registry {
			return &liar{Registry: fork(t, 5), consistency: func([]byte) ([]byte, error) { return nil, nil }}
		}},
		{"old checkpoint", ClassRollback, false, func(_ *testing.T, _, old *wargtest.Memory, _ map[string]*wargtest.Package) warg.Registry {
			return old
		}},
		{"rewind", ClassRewind, true, func(_ *testing.T, _, old *wargtest.Memory, _ map[string]*wargtest.Package) warg.Registry {
			for range 10 {
				old.Resign()
			}
			return old
		}},
		{"rewind to before the package", ClassRewind, true, func(*testing.T, *wargtest.Memory, *wargtest.Memory, map[string]*wargtest.Package) warg.Registry {
			empty := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
			for range 10 {
				empty.Resign()
			}
			return empty
		}},
		{"another operator", ClassPin, false, func(t *testing.T, _, _ *wargtest.Memory, _ map[string]*wargtest.Package) warg.Registry {
			f := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Key: wargtest.Stranger("eve"), Namespaces: []string{"test"}})
			pkgs := map[string]*wargtest.Package{}
			for _, v := range []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0"} {
				publishTo(t, f, pkgs, "test:a", v)
			}
			return f
		}},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			m, pkgs := upstreamOf(t)
			old := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
			publishTo(t, old, map[string]*wargtest.Package{}, "test:a", "1.0.0")
			memory := memoryFile(t)
			if _, err := newSession(t, m, memory).Fetch(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			before, _ := memory.Load()
			_, err := newSession(t, k.next(t, m, old, pkgs), memory).Fetch(t.Context(), a)
			if ClassOf(err) != k.class {
				t.Fatalf("class %s (%v); want %s", ClassOf(err), err, k.class)
			}
			if text := EvidenceOf(err); (text != nil) != k.evidence {
				t.Errorf("evidence: %s", text)
			} else if text != nil {
				if err := checkEvidence(text, alice.Public()); err != nil {
					t.Errorf("evidence: %v\n%s", err, text)
				}
			}
			if after, _ := memory.Load(); !bytes.Equal(before, after) {
				t.Error("the memory changed")
			}
			if _, err := newSession(t, m, memory).Fetch(t.Context(), a); err != nil {
				t.Errorf("honest again: %v", err)
			}
		})
	}
}

func TestSessionPin(t *testing.T) {
	m, _ := upstreamOf(t)
	for id, want := range map[warg.KeyID]Class{
		wargtest.Alice().Public().ID(): ClassNone,
		wargtest.Bob().Public().ID():   ClassPin,
		"nonsense":                     ClassPin,
	} {
		s, err := OpenSession(SessionOptions{Registry: m, OperatorKey: id})
		if err != nil {
			t.Fatal(err)
		}
		snap, err := s.Checkpoint(t.Context())
		if ClassOf(err) != want {
			t.Errorf("pin %s: %v", id, err)
		}
		if err == nil && !snap.Pinned {
			t.Error("not said to be pinned")
		}
	}
}

func TestSessionMemoryFile(t *testing.T) {
	m, pkgs := upstreamOf(t)
	name := filepath.Join(t.TempDir(), "deep", "er", "x.json")
	memory := FileMemory(name)
	early, late := newSession(t, m, memory), newSession(t, m, memory)
	stale, err := early.o.Registry.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	publishTo(t, m, pkgs, "test:a", "1.2.0")
	if _, err := late.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The early session was given its checkpoint before, and ends after.
	early.o.Registry = &liar{Registry: m, checkpoint: func(warg.View) warg.View { return stale }}
	if _, err := early.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := newSession(t, m, memory); s.known.view.LogLength != 5 {
		t.Errorf("remembered length %d: it went back", s.known.view.LogLength)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(good) - 1 {
		if err := os.WriteFile(name, flip(good, i), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSession(SessionOptions{Registry: m, Memory: memory}); err == nil {
			t.Fatalf("byte %d changed and nobody noticed", i)
		}
	}
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := OpenSession(SessionOptions{Registry: m, Memory: memory})
			if err == nil {
				_, err = s.Checkpoint(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestSessionDownload(t *testing.T) {
	s, content := filled(t)
	digest := warg.Sum(content)
	session := newSession(t, s.client(t, nil), nil)
	dir := t.TempDir()
	out := filepath.Join(dir, "a.wasm")
	var last, total int64
	size, err := session.Download(t.Context(), digest, out, func(done, announced int64) { last, total = done, announced })
	if err != nil || size != int64(len(content)) || last != size || total != size {
		t.Fatalf("download: %d bytes, %d of %d, %v", size, last, total, err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	s.change = func(op api.Op, b []byte) []byte {
		if op == api.OpContent {
			return flip(b, 3)
		}
		return b
	}
	for _, name := range []string{out, filepath.Join(dir, "new.wasm"), filepath.Join(dir, "no", "such", "dir.wasm")} {
		if _, err := session.Download(t.Context(), digest, name, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, content) {
		t.Error("a download that failed changed what was there")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if _, err := newSession(t, s.reg, nil).Download(t.Context(), digest, out, nil); err != nil {
		t.Errorf("from a registry that is no transport: %v", err)
	}
}

func TestSessionList(t *testing.T) {
	m, _ := upstreamOf(t)
	names, nameless, err := newSession(t, serve(t, m).client(t, nil), nil).List(t.Context())
	if err != nil || nameless != 0 || fmt.Sprint(names) != "[test:a test:b]" {
		t.Errorf("%v %d %v", names, nameless, err)
	}
	cases := []struct {
		name  string
		class Class
		lie   liar
	}{
		{"log left out", ClassLedger, liar{ledger: func(start uint64, p []byte) []byte {
			if start > 0 {
				return nil
			}
			return p[:128]
		}}},
		{"log swapped", ClassRoots, liar{ledger: func(_ uint64, p []byte) []byte { return flip(p, 64) }}},
		{"too many leaves", ClassLedger, liar{ledger: func(_ uint64, p []byte) []byte { return append(slices.Clone(p), p...) }}},
		{"other name", ClassName, liar{names: func(n []warg.PackageName) { n[0] = wargtest.Name("test:evil") }}},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			k.lie.Registry = m
			if _, _, err := newSession(t, &k.lie, nil).List(t.Context()); ClassOf(err) != k.class {
				t.Errorf("class %s: %v", ClassOf(err), err)
			}
		})
	}
	hidden := &liar{Registry: m, names: func(n []warg.PackageName) { n[1] = warg.PackageName{} }}
	if names, nameless, err := newSession(t, hidden, nil).List(t.Context()); err != nil || nameless != 1 || len(names) != 1 {
		t.Errorf("a name that is not told: %v %d %v", names, nameless, err)
	}
}

func contentOf(content []byte) map[warg.Digest]func() (io.ReadCloser, error) {
	return map[warg.Digest]func() (io.ReadCloser, error){
		warg.Sum(content): func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

func TestSessionPublish(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	s := serve(t, m)
	session := newSession(t, s.client(t, nil), memoryFile(t))
	name, bob := wargtest.Name("test:new"), wargtest.Bob()
	content := wargtest.Component("first")
	release := Publication{
		Name: name, Key: bob, Begin: true,
		Entries: []pkglog.Entry{wargtest.Release("1.0.0", content)},
		Content: contentOf(content),
	}
	var steps []string
	release.Step = func(what string) { steps = append(steps, what) }
	done, err := session.Publish(t.Context(), release)
	if err != nil || !done.Began || done.Index != 1 {
		t.Fatalf("%+v %v", done, err)
	}
	if len(steps) != 5 {
		t.Errorf("steps: %q", steps)
	}
	if rel, ok := done.Snapshot.Packages[0].State.Release(done.Snapshot.Packages[0].State.Releases()[0].Version); !ok || rel.RecordID != done.RecordID {
		t.Error("the release is not in the snapshot")
	}
	if _, err := m.Stat(t.Context(), warg.Sum(content)); err != nil {
		t.Errorf("content: %v", err)
	}

	fails := []struct {
		name string
		p    Publication
		want warg.Kind
		text string
	}{
		{"again", Publication{Name: name, Key: bob, Entries: release.Entries}, warg.KindConflict, "already released"},
		{"without beginning", Publication{Name: wargtest.Name("test:none"), Key: bob, Entries: []pkglog.Entry{wargtest.Yank("1.0.0")}}, warg.KindLogNotFound, ""},
		{"other's key", Publication{Name: name, Key: wargtest.Stranger("eve"), Entries: []pkglog.Entry{wargtest.Yank("1.0.0")}}, warg.KindConflict, "permission yank"},
		{"imported namespace", Publication{Name: wargtest.Name("other:x"), Key: bob, Begin: true}, warg.KindNamespaceImported, ""},
		{"undefined namespace", Publication{Name: wargtest.Name("nowhere:x"), Key: bob, Begin: true}, warg.KindNamespaceNotFound, ""},
		{"not WebAssembly", Publication{
			Name: name, Key: bob,
			Entries: []pkglog.Entry{wargtest.Release("2.0.0", []byte("text"))}, Content: contentOf([]byte("text")),
		}, warg.KindRejected, "WebAssembly"},
		{"content that we do not have", Publication{
			Name: name, Key: bob,
			Entries: []pkglog.Entry{wargtest.Release("3.0.0", []byte("\x00asm"))},
		}, warg.KindUpstreamInvalid, "does not release"},
	}
	for _, k := range fails {
		t.Run(k.name, func(t *testing.T) {
			_, err := session.Publish(t.Context(), k.p)
			if !errors.Is(err, &warg.Error{Kind: k.want}) || !strings.Contains(err.Error(), k.text) {
				t.Errorf("%v", err)
			}
		})
	}
	yank := Publication{Name: name, Key: bob, Entries: []pkglog.Entry{wargtest.Yank("1.0.0")}}
	if done, err = session.Publish(t.Context(), yank); err != nil || done.Began {
		t.Errorf("yank: %+v %v", done, err)
	}
	reader, err := OpenSession(SessionOptions{Registry: &liar{Registry: m}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Publish(t.Context(), yank); err == nil {
		t.Error("published to a registry that takes no records")
	}
}

// TestSessionsPublishAtATime: publishers of one package that come at once all get
// their records in, one after the other.
func TestSessionsPublishAtATime(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	s := serve(t, m)
	name := wargtest.Name("test:busy")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			content := wargtest.Component(fmt.Sprint(i))
			session, err := OpenSession(SessionOptions{Registry: s.client(t, nil), Now: time.Now})
			if err != nil {
				t.Error(err)
				return
			}
			_, err = session.Publish(t.Context(), Publication{
				Name: name, Key: wargtest.Bob(), Begin: true,
				Entries: []pkglog.Entry{wargtest.Release(fmt.Sprintf("1.%d.0", i), content)}, Content: contentOf(content),
			})
			// Whoever comes second with an init entry, or ends behind another record, is
			// told so; nobody is told that it worked when it did not.
			if err != nil && !errors.Is(err, &warg.Error{Kind: warg.KindRejected}) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	snap, err := newSession(t, m, nil).Fetch(t.Context(), name)
	if err != nil || len(snap.Packages[0].State.Releases()) == 0 {
		t.Errorf("%v", err)
	}
}

// TestSessionWaits: a record that is being processed is waited for.
func TestSessionWaits(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	session := newSession(t, serve(t, m).client(t, nil), nil)
	release := m.Hold()
	var once sync.Once
	content := wargtest.Component("x")
	_, err := session.Publish(t.Context(), Publication{
		Name: wargtest.Name("test:held"), Key: wargtest.Bob(), Begin: true,
		Entries: []pkglog.Entry{wargtest.Release("1.0.0", content)}, Content: contentOf(content),
		Step: func(what string) {
			if strings.HasPrefix(what, "waiting") {
				once.Do(release)
			}
		},
	})
	if err != nil {
		t.Error(err)
	}
}
