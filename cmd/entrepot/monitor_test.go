package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/upstream/monitor"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestMonitorOfOwnRegistry watches a server of ours, and another registry through it.
func TestMonitorOfOwnRegistry(t *testing.T) {
	up, front := behind(t, "")
	home := front.serve(t)
	u := newPerson(t)
	key := string(keyOf(t, home.url))
	upKey := string(keyOf(t, up.url))
	look := func(want string, args ...string) monitor.Report {
		t.Helper()
		var r monitor.Report
		decode(t, u.ok(t, append([]string{"monitor", "--once", "--json"}, args...)...), &r)
		if r.Status != want || r.By != monitor.ByLedger || r.Evidence != "" {
			t.Errorf("%v: %+v", args, r)
		}
		return r
	}
	look("consistent", home.url, "--operator-key", key)
	look("unchanged", home.url)
	publisher := newPerson(t)
	publisher.ok(t, "key", "new")
	publisher.write(t, "a.wasm", string(wargtest.Component("a")))
	publisher.ok(t, "publish", "--registry", up.url, "local:seen@1.0.0", "a.wasm")
	direct := look("consistent", up.url, "--operator-key", upKey)
	if direct.Added < 2 {
		t.Errorf("%+v", direct)
	}
	text := u.ok(t, "monitor", "--once", up.url, home.url)
	if lines := strings.Split(text, "\n"); len(lines) != 3 || !strings.Contains(text, "unchanged") || !strings.Contains(text, up.url) || !strings.Contains(text, home.url) {
		t.Errorf("two registries:\n%s", text)
	}
	folder := filepath.Join(u.path("home"), ".local", "state", "entrepot", "monitor")
	if list, err := os.ReadDir(folder); err != nil || len(list) != 2 {
		t.Errorf("%s: %v %v", folder, list, err)
	}
}

// TestMonitorConvicts: a registry that shows another history is convicted, for good,
// and anybody can check the evidence.
func TestMonitorConvicts(t *testing.T) {
	early := wargtest.NewMemory(wargtest.MemoryOptions())
	late := early.Clone()
	released(t, late, wargtest.NewPackage("test:tool"), "1.0.0", "one", true)
	released(t, early, wargtest.NewPackage("test:evil"), "1.0.0", "evil", true)
	released(t, early, wargtest.NewPackage("test:more"), "1.0.0", "more", true)
	face := &turncoat{late}
	url := served(t, face, nil)
	honest := served(t, wargtest.NewMemory(wargtest.MemoryOptions()), nil)
	u := newPerson(t)
	u.ok(t, "monitor", "--once", "--state", "seen", url, honest)

	face.Own = early
	r := u.run(t, "monitor", "--once", "--state", "seen", honest, url, "--json")
	first, rest, _ := strings.Cut(r.stderr, "\n")
	if r.code != exitVerification || !strings.Contains(first, url+" contradicts itself") {
		t.Fatalf("%+v", r)
	}
	reports := map[string]monitor.Report{}
	for d := json.NewDecoder(strings.NewReader(r.stdout)); d.More(); {
		var one monitor.Report
		if err := d.Decode(&one); err != nil {
			t.Fatal(err)
		}
		reports[one.Registry] = one
	}
	file := reports[url].Evidence
	if reports[honest].Status != "unchanged" || reports[url].Status != "forked" || !strings.Contains(first, file) {
		t.Fatalf("%+v", reports)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != rest {
		t.Errorf("the evidence does not follow the first line: %v %q", err, rest)
	}
	face.Own = late
	r = u.run(t, "monitor", "--once", "--state", "seen", url)
	if r.code != exitVerification || !strings.Contains(r.stderr, file) {
		t.Errorf("acquitted: %+v", r)
	}
	r = u.run(t, "monitor", "--state", "seen", "--interval", "1h", honest, url) // and not watched any longer
	if r.code != exitVerification || !strings.Contains(r.stdout, "evidence: "+file) {
		t.Errorf("watched on: %+v", r)
	}

	alice, bob := string(wargtest.Alice().Public().ID()), string(wargtest.Bob().Public().ID())
	third := newPerson(t)
	carryFile(t, file, third, "fork.json")
	text := third.ok(t, "monitor", "--evidence", "fork.json", "--operator-key", alice)
	if !strings.Contains(text, "equivocation: the log of length 3 does not extend the log of length 2") || !strings.Contains(text, alice) {
		t.Errorf("checked: %s", text)
	}
	if text := third.ok(t, "monitor", "--evidence", "fork.json"); !strings.Contains(text, "if that is an operator key of the registry") {
		t.Errorf("without a key: %s", text)
	}
	var v monitor.Verdict
	decode(t, third.ok(t, "monitor", "--evidence", "fork.json", "--operator-key", bob, "--operator-key", alice, "--json"), &v)
	if v.Class != "equivocation" || len(v.Checkpoints) != 2 || v.Keys[0] != warg.KeyID(alice) {
		t.Errorf("%+v", v)
	}
	if r := third.run(t, "monitor", "--evidence", "fork.json", "--operator-key", bob); r.code != exitVerification || r.stdout != "" {
		t.Errorf("with another's key: %+v", r)
	}
	third.write(t, "altered.json", strings.Replace(third.read(t, "fork.json"), `"logLength": 3`, `"logLength": 4`, 1))
	if r := third.run(t, "monitor", "--evidence", "altered.json", "--operator-key", alice); r.code != exitVerification || !strings.Contains(r.stderr, "proves nothing") {
		t.Errorf("altered: %+v", r)
	}
}

func carryFile(t *testing.T, from string, to *person, name string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	to.write(t, name, string(text))
}

// TestMonitorErrors are the other ways to end.
func TestMonitorErrors(t *testing.T) {
	url := served(t, wargtest.NewMemory(wargtest.MemoryOptions()), nil)
	const nobody = "http://127.0.0.1:1"
	id := string(wargtest.Bob().Public().ID())
	for _, test := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing to watch", nil, exitUsage, "say which registry"},
		{"both", []string{"--evidence", "x", url}, exitUsage, "leave out"},
		{"no address", []string{"--once", "registry.example"}, exitUsage, "http://host"},
		{"no domain", []string{"--once", "--on-behalf", "../x", url}, exitUsage, "../x"},
		{"no key id", []string{"--once", "--operator-key", "sha256:00", url}, exitUsage, "not a key id"},
		{"no interval", []string{"--interval", "0s", url}, exitUsage, "interval"},
		{"one registry twice", []string{"--once", url, url}, exitTemporary, "is held by"},
		{"nobody answers", []string{"--once", nobody}, exitTemporary, "registry " + nobody},
		{"nobody answers, but another", []string{"--once", nobody, url}, exitTemporary, "registry " + nobody},
		{"another operator", []string{"--once", "--operator-key", id, url, nobody}, exitVerification, "not believed"},
		{"evidence is missing", []string{"--evidence", "gone"}, exitIO, "reading evidence"},
		{"evidence is none", []string{"--evidence", "bad.json"}, exitVerification, "proves nothing"},
		{"state is a file", []string{"--once", "--state", "bad.json", url}, exitIO, "monitor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newPerson(t)
			u.write(t, "bad.json", "{}")
			r := u.run(t, append([]string{"monitor"}, test.args...)...)
			first, rest, _ := strings.Cut(r.stderr, "\n")
			if r.code != test.code || !strings.Contains(first, test.want) || rest != "" {
				t.Errorf("exit %d, %q; want %d and %q", r.code, r.stderr, test.code, test.want)
			}
		})
	}
}

// TestMonitorDamagedState: what was seen is not forgotten quietly.
func TestMonitorDamagedState(t *testing.T) {
	url := served(t, wargtest.NewMemory(wargtest.MemoryOptions()), nil)
	u := newPerson(t)
	u.ok(t, "monitor", "--once", "--state", "seen", url)
	files, err := filepath.Glob(u.path("seen/*/journal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.Replace(text, []byte("rebuilt"), []byte("rebuild"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	r := u.run(t, "monitor", "--once", "--state", "seen", url)
	if r.code != exitIO || !strings.Contains(r.stderr, "damaged") {
		t.Errorf("%+v", r)
	}
}

// TestMonitorStops: without --once it goes on until it is told to stop, which is no
// failure.
func TestMonitorStops(t *testing.T) {
	url := served(t, wargtest.NewMemory(wargtest.MemoryOptions()), nil)
	u := newPerson(t)
	ctx, stop := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	p := u.process(new(bytes.Buffer), &stderr)
	p.stdout = writeFunc(func(b []byte) (int, error) {
		stop()
		return len(b), nil
	})
	if code := run(ctx, []string{"monitor", "--interval", "1h", url}, p); code != exitOK {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}

type writeFunc func(b []byte) (int, error)

func (f writeFunc) Write(b []byte) (int, error) { return f(b) }

// TestMonitorComparesAddresses: a registry that shows two addresses different histories
// is convicted in the run that first sees both.
func TestMonitorComparesAddresses(t *testing.T) {
	here := wargtest.NewMemory(wargtest.MemoryOptions())
	there := here.Clone()
	released(t, here, wargtest.NewPackage("test:tool"), "1.0.0", "one", true)
	released(t, there, wargtest.NewPackage("test:evil"), "1.0.0", "evil", true)
	one, other := served(t, here, nil), served(t, there, nil)
	u := newPerson(t)
	for _, url := range []string{one, other} {
		u.ok(t, "monitor", "--once", "--state", "alone-"+url[strings.LastIndexByte(url, ':')+1:], url)
	}
	r := u.run(t, "monitor", "--once", "--state", "seen", one, other)
	if r.code != exitVerification || !strings.Contains(r.stderr, "split view") || !strings.Contains(r.stderr, one) || !strings.Contains(r.stderr, other) {
		t.Errorf("%+v", r)
	}
}
