package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// client is a person with a key, and a registry to use.
func client(t *testing.T) (*person, string, string) {
	t.Helper()
	u := newPerson(t)
	s := u.serve(t, "--listen", "127.0.0.1:0")
	u.write(t, "a.wasm", string(wargtest.Component("a")))
	u.write(t, "b.wasm", string(wargtest.Component("b")))
	var key shownKey
	decode(t, u.ok(t, "key", "new", "--json"), &key)
	return u, s.url, string(key.KeyID)
}

// with puts flags behind a command and its arguments.
func with(flags []string, command ...string) []string { return slices.Concat(command, flags) }

func (u *person) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(u.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPublishAndDownload(t *testing.T) {
	u, url, keyID := client(t)
	at := []string{"--registry", url}
	var done publishedRecord
	decode(t, u.ok(t, with(at, "publish", "local:tool@1.0.0", "a.wasm", "--json")...), &done)
	if !done.Began || done.Package != "local:tool" || done.Version != "1.0.0" || string(done.KeyID) != keyID || done.Index != 1 {
		t.Errorf("published %+v", done)
	}
	out := u.ok(t, with(at, "publish", "local:tool@1.2.0", "b.wasm")...)
	if out != "published local:tool@1.2.0\n" {
		t.Errorf("got %q", out)
	}
	u.ok(t, with(at, "publish", "local:other@0.1.0", "a.wasm")...) // content that is known already

	for _, test := range []struct{ wanted, file, version, want string }{
		{"local:tool", "tool.wasm", "1.2.0", "b"},
		{"local:tool@1.0.0", "one.wasm", "1.0.0", "a"},
		{"local:tool@^1.1", "caret.wasm", "1.2.0", "b"},
		{"local:tool@>=1, <1.2", "range.wasm", "1.0.0", "a"},
		{"local:tool@*", "any.wasm", "1.2.0", "b"},
	} {
		args := with(at, "download", "--json", test.wanted)
		if test.file != "tool.wasm" {
			args = append(args, "-o", test.file)
		}
		var got downloaded
		decode(t, u.ok(t, args...), &got)
		if got.Version != test.version || got.File != test.file || u.read(t, test.file) != string(wargtest.Component(test.want)) {
			t.Errorf("%s: got %+v", test.wanted, got)
		}
	}
	var shown packageShown
	decode(t, u.ok(t, with(at, "info", "local:tool", "--json")...), &shown)
	if len(shown.Releases) != 2 || shown.Releases[1].Version != "1.2.0" || string(shown.Keys[0].KeyID) != keyID || shown.Checkpoint.Length != 4 {
		t.Errorf("info: %+v", shown)
	}
	var list packageList
	decode(t, u.ok(t, with(at, "packages", "--json")...), &list)
	if !slices.Equal(list.Packages, []string{"local:other", "local:tool"}) || list.Nameless != 0 {
		t.Errorf("packages: %+v", list)
	}
	if out := u.ok(t, with(at, "packages")...); out != "local:other\nlocal:tool\n" {
		t.Errorf("packages: %q", out)
	}
}

func TestPackageKeys(t *testing.T) {
	u, url, keyID := client(t)
	at := []string{"--registry", url}
	u.ok(t, with(at, "publish", "local:tool@1.0.0", "a.wasm")...)
	var other shownKey
	decode(t, u.ok(t, "key", "new", "--out", "other.key", "--json"), &other)
	as := with(at, "--key", "other.key")
	if r := u.run(t, with(as, "publish", "local:tool@2.0.0", "b.wasm")...); r.code != exitFailed || !strings.Contains(r.stderr, string(other.KeyID)) {
		t.Errorf("a stranger publishes: %+v", r)
	}
	u.ok(t, with(at, "grant", "local:tool", other.PublicKey, "release")...)
	u.ok(t, with(as, "publish", "local:tool@2.0.0", "b.wasm")...)
	if r := u.run(t, with(as, "yank", "local:tool@1.0.0")...); r.code != exitFailed {
		t.Errorf("yanking without the permission: %+v", r)
	}
	u.ok(t, with(at, "revoke", "local:tool", string(other.KeyID), "release")...)
	if r := u.run(t, with(as, "publish", "local:tool@3.0.0", "b.wasm")...); r.code != exitFailed {
		t.Errorf("publishing with a revoked key: %+v", r)
	}
	u.ok(t, with(at, "yank", "local:tool@2.0.0")...)
	u.ok(t, with(at, "download", "local:tool", "-o", "x.wasm")...)
	if u.read(t, "x.wasm") != string(wargtest.Component("a")) {
		t.Error("the yanked release was downloaded")
	}
	out := u.ok(t, with(at, "info", "local:tool")...)
	for _, want := range []string{"2.0.0", "yanked", keyID + "  may release, yank", string(other.KeyID) + "  may nothing any more"} {
		if !strings.Contains(out, want) {
			t.Errorf("info has no %q:\n%s", want, out)
		}
	}
}

func TestClientErrors(t *testing.T) {
	u, url, _ := client(t)
	u.ok(t, "publish", "--registry", url, "local:tool@1.0.0", "a.wasm")
	u.ok(t, "publish", "--registry", url, "local:gone@1.0.0", "a.wasm")
	u.ok(t, "yank", "--registry", url, "local:gone@1.0.0")
	u.write(t, "text.wasm", "this is no wasm")
	u.write(t, "public.key", "")
	before, err := os.ReadDir(u.folder)
	if err != nil {
		t.Fatal(err)
	}
	pin := wargtest.Bob().Public().ID()
	for _, test := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"no such package", "download local:nope", 1, "does not know package `local:nope`"},
		{"no such version", "download local:tool@9.9.9", 1, "`local:tool` has no release that matches `9.9.9`"},
		{"yanked version", "download local:gone@1.0.0", 1, "every release of `local:gone` that matches `1.0.0` was yanked"},
		{"all yanked", "download local:gone", 1, "every release of `local:gone` was yanked"},
		{"bad name", "download Not:Valid:Name", 2, "invalid package name"},
		{"bad requirement", "download local:tool@^x.y", 2, "invalid requirement"},
		{"no folder for the output", "download local:tool -o no/such/x.wasm", 74, "no/such"},
		{"no such registry", "download --registry http://127.0.0.1:1 local:tool", 75, "cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"not a registry", "download --registry ftp://x local:tool", 2, "ftp"},
		{"another operator key", "download --operator-key " + string(pin) + " local:tool", 65, string(pin)},
		{"operator key that is none", "download --operator-key sha256:ab local:tool", 2, "not a key id"},
		{"upstream that is not there", "download --on-behalf other.example local:tool", 1, "registry `other.example` is not served here"},
		{"release without version", "publish local:tool a.wasm", 2, "has no version"},
		{"bad version", "publish local:tool@1 a.wasm", 2, "invalid version `1`"},
		{"released already", "publish local:tool@1.0.0 b.wasm", 1, "1.0.0"},
		{"no such file", "publish local:tool@2.0.0 gone.wasm", 74, "reading the content: open "},
		{"no such namespace", "publish nowhere:tool@1.0.0 a.wasm", 1, "nowhere"},
		{"content that is no wasm", "publish local:text@1.0.0 text.wasm", 1, "not valid WebAssembly"},
		{"key that is none", "publish --key public.key local:tool@2.0.0 a.wasm", 1, "reading key file"},
		{"yank what is not there", "yank local:tool@7.0.0", 1, "7.0.0"},
		{"yank in a package that is not there", "yank local:nope@7.0.0", 1, "does not know package"},
		{"grant of nothing known", "grant local:tool ecdsa-p256:AAAA release", 2, "reading the public key"},
		{"grant without permission", "grant local:tool ecdsa-p256:AAAA", 2, "expected \"<perm>"},
		{"info of what is not there", "info local:nope", 1, "does not know package"},
		{"packages of nobody", "packages --registry http://127.0.0.1:1", 75, "listing packages"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := strings.Fields(test.args)
			if !slices.Contains(args, "--registry") {
				args = append(args, "--registry", url)
			}
			r := u.run(t, args...)
			lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
			if r.code != test.code || !strings.Contains(lines[0], test.want) || len(lines) != 1 || r.stdout != "" {
				t.Errorf("exit %d, %q, %q; want %d and %q", r.code, r.stderr, r.stdout, test.code, test.want)
			}
		})
	}
	after, err := os.ReadDir(u.folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Errorf("something was left behind: %v", after)
	}
}

func TestNoKeyToPublishWith(t *testing.T) {
	u := newPerson(t)
	u.write(t, "a.wasm", "a")
	r := u.run(t, "publish", "local:tool@1.0.0", "a.wasm")
	if r.code != exitFailed || !strings.Contains(r.stderr, "make one with `entrepot key new`") {
		t.Errorf("got %+v", r)
	}
	u.env = nil
	if r := u.run(t, "packages"); r.code != exitFailed || !strings.Contains(r.stderr, "neither XDG_STATE_HOME nor HOME is set") {
		t.Errorf("without a home: %+v", r)
	}
}

// turncoat is a registry that can turn into another one.
type turncoat struct{ proxy.Own }

// released publishes a release in a memory registry.
func released(t *testing.T, m *wargtest.Memory, p *wargtest.Package, version, content string, first bool) {
	t.Helper()
	entries := []pkglog.Entry{wargtest.Release(version, wargtest.Component(content))}
	if first {
		entries = append([]pkglog.Entry{wargtest.Init(wargtest.Bob())}, entries...)
	}
	env := p.Next(wargtest.Bob(), entries...)
	st, err := m.Publish(t.Context(), p.Request(env))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range st.Missing {
		body := strings.NewReader(string(wargtest.Component(content)))
		if err := m.Upload(t.Context(), p.LogID(), st.RecordID, d, body); err != nil {
			t.Fatal(err)
		}
	}
}

// A registry that tells another story than before is caught, whatever it says is
// signed correctly, and the evidence is printed.
func TestLies(t *testing.T) {
	for _, test := range []struct {
		name     string
		lie      func(t *testing.T, early, late *wargtest.Memory) *wargtest.Memory
		evidence string // class, "" = none is expected
	}{
		{"an older state", func(_ *testing.T, early, _ *wargtest.Memory) *wargtest.Memory { return early }, ""},
		{"another history of the same length", func(t *testing.T, early, _ *wargtest.Memory) *wargtest.Memory {
			released(t, early, wargtest.NewPackage("test:evil"), "1.0.0", "evil", true)
			return early
		}, "equivocation"},
		{"another, longer history", func(t *testing.T, early, _ *wargtest.Memory) *wargtest.Memory {
			released(t, early, wargtest.NewPackage("test:evil"), "1.0.0", "evil", true)
			released(t, early, wargtest.NewPackage("test:more"), "1.0.0", "more", true)
			return early
		}, "equivocation"},
		{"an older state, signed anew", func(_ *testing.T, early, late *wargtest.Memory) *wargtest.Memory {
			for range 5 {
				early.Resign()
			}
			return early
		}, "rewind"},
		{"another operator", func(*testing.T, *wargtest.Memory, *wargtest.Memory) *wargtest.Memory {
			o := wargtest.MemoryOptions()
			o.Key = wargtest.Bob()
			return wargtest.NewMemory(o)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			early := wargtest.NewMemory(wargtest.MemoryOptions())
			p := wargtest.NewPackage("test:tool")
			released(t, early, p, "1.0.0", "one", true)
			late := early.Clone()
			released(t, late, p, "2.0.0", "two", false)
			face := &turncoat{late}
			url := served(t, face, nil)
			u := newPerson(t)
			u.ok(t, "download", "--registry", url, "test:tool", "-o", "x.wasm")
			u.ok(t, "packages", "--registry", url)

			face.Own = test.lie(t, early, late)
			r := u.run(t, "download", "--registry", url, "test:tool", "-o", "y.wasm")
			first, rest, _ := strings.Cut(r.stderr, "\n")
			if r.code != exitVerification || !strings.HasPrefix(first, "entrepot: ") {
				t.Fatalf("got %+v", r)
			}
			var evidence struct {
				Class       string
				Checkpoints []json.RawMessage
			}
			if err := json.Unmarshal([]byte(rest), &evidence); test.evidence != "" && (err != nil || evidence.Class != test.evidence || len(evidence.Checkpoints) != 2) {
				t.Errorf("evidence %q, %v; want class %s", rest, err, test.evidence)
			}
			if test.evidence == "" && rest != "" {
				t.Errorf("more than one line: %q", r.stderr)
			}
			if _, err := os.Stat(u.path("y.wasm")); err == nil {
				t.Error("the file was written all the same")
			}

			face.Own = late // the honest registry goes on being believed
			u.ok(t, "download", "--registry", url, "test:tool", "-o", "z.wasm")
		})
	}
}

// liar hands out other bytes than were released.
type liar struct{ *wargtest.Memory }

func (l liar) Open(ctx context.Context, d warg.Digest) (warg.Content, error) {
	return l.Memory.Open(ctx, warg.Sum(wargtest.Component("two")))
}

func TestWrongContent(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	p := wargtest.NewPackage("test:tool")
	released(t, m, p, "1.0.0", "one", true)
	released(t, m, p, "1.0.1", "two", false)
	url := served(t, liar{m}, nil)
	u := newPerson(t)
	r := u.run(t, "download", "--registry", url, "test:tool@1.0.0")
	if last := r.stderr[strings.Index(r.stderr, "entrepot: "):]; r.code != exitVerification || !strings.Contains(last, "content") {
		t.Errorf("got %+v", r)
	}
	if left, err := os.ReadDir(u.folder); err != nil || len(left) != 1 { // the home folder
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// forgetful lacks the content of a release that its log lists.
type forgetful struct {
	proxy.Own
	lacks warg.Digest
}

func (f forgetful) Stat(ctx context.Context, d warg.Digest) (warg.ContentInfo, error) {
	if d == f.lacks {
		return warg.ContentInfo{}, warg.NotFound(warg.KindContentNotFound, d)
	}
	return f.Own.Stat(ctx, d)
}

// A release whose content cannot be had is not passed over in silence; an older one is
// named, if it would do, and can be had.
func TestMissingContent(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	p := wargtest.NewPackage("test:tool")
	released(t, m, p, "1.0.0", "one", true)
	released(t, m, p, "2.0.0", "two", false)
	url := served(t, forgetful{m, warg.Sum(wargtest.Component("two"))}, nil)
	u := newPerson(t)
	for wanted, instead := range map[string]string{"test:tool": "ask for `test:tool@1.0.0`", "test:tool@^2": ""} {
		r := u.run(t, "download", "--registry", url, wanted)
		if r.code != exitFailed || !strings.Contains(r.stderr, "lists this release, but does not have its content") ||
			!strings.Contains(r.stderr, instead) || instead == "" && strings.Contains(r.stderr, "ask for") {
			t.Errorf("%s: %+v", wanted, r)
		}
	}
	u.ok(t, "download", "--registry", url, "test:tool@1.0.0")
}

// The first sight of an operator key is shown; a pinned one needs no words.
func TestFirstSight(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	released(t, m, wargtest.NewPackage("test:tool"), "1.0.0", "one", true)
	url := served(t, m, nil)
	id := string(wargtest.Alice().Public().ID())
	u := newPerson(t)
	if r := u.run(t, "info", "--registry", url, "test:tool"); !strings.Contains(r.stderr, "seen for the first time and trusted from now on: "+id) {
		t.Errorf("first: %+v", r)
	}
	if r := u.run(t, "info", "--registry", url+"/", "test:tool"); r.code != exitOK || r.stderr != "" {
		t.Errorf("second: %+v", r)
	}
	v := newPerson(t)
	if r := v.run(t, "info", "--operator-key", id, "--registry", url, "test:tool"); r.code != exitOK || r.stderr != "" {
		t.Errorf("pinned: %+v", r)
	}
}

func TestDefaultRegistry(t *testing.T) {
	if defaultRegistry != "http://"+config.DefaultListen {
		t.Errorf("the default of --registry is %s", defaultRegistry)
	}
	if out := newPerson(t).ok(t, "info", "--help"); !strings.Contains(out, defaultRegistry) {
		t.Errorf("help does not say what --registry is by default:\n%s", out)
	}
}
