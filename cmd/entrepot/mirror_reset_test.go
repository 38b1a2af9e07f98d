package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// torn starts a registry that can go over to another history, and a site that has a
// replica of the first one. The result lets it go over.
func torn(t *testing.T, more string) (front *person, fork func()) {
	t.Helper()
	o := wargtest.MemoryOptions()
	o.Begin = time.Now().Add(-time.Hour)
	one, other := wargtest.NewMemory(o), wargtest.NewMemory(o)
	for _, name := range []string{"test:one", "test:two"} {
		released(t, one, wargtest.NewPackage(name), "1.0.0", name, true)
	}
	for _, name := range []string{"test:other", "test:more", "test:two"} {
		released(t, other, wargtest.NewPackage(name), "1.0.0", "the other "+name, true)
	}
	face := &turncoat{one}
	front = newPerson(t)
	front.write(t, "entrepot.toml", fmt.Sprintf(`listen = "127.0.0.1:0"
[authority]
domain = "localhost"
namespaces = ["acme"]
[upstream."up.example"]
url = %q
operator_key = %q
namespaces = ["test"]
max_age = "1s"
allow_private_addresses = true
%s
`, served(t, face, nil), wargtest.Alice().Public().ID(), more))
	front.ok(t, "init", "--config", "unused.toml", "--namespace", "acme")
	front.ok(t, "mirror", "sync")
	return front, func() { face.Own = other }
}

func TestMirrorReset(t *testing.T) {
	front, fork := torn(t, "")
	old := mirrorStatus(t, front)
	fork()
	if r := front.run(t, "mirror", "sync"); r.code != exitVerification {
		t.Fatalf("the fork: %+v", r)
	}
	if s := mirrorStatus(t, front); s.State != proxy.StateQuarantined || s.LogLength != old.LogLength {
		t.Fatalf("after the fork: %+v", s)
	}

	r := front.run(t, "mirror", "reset", "up.example", "--reason", "they told us", "--json")
	var said upstream.Reset
	decode(t, r.stdout, &said)
	if r.code != exitOK || said.Reason != "they told us" || said.Length != old.LogLength || said.Quarantine == nil {
		t.Fatalf("%+v", r)
	}
	for _, word := range []string{"level=WARN", "upstream=up.example", `reason="they told us"`, "class=equivocation"} {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("the audit line lacks %s: %s", word, r.stderr)
		}
	}
	text, err := os.ReadFile(filepath.Join(said.Directory, "reset.json"))
	var kept upstream.Reset
	if err != nil || json.Unmarshal(text, &kept) != nil || kept.Reason != "they told us" {
		t.Errorf("reset.json: %v %s", err, text)
	}
	if _, err := os.Stat(said.Quarantine.Evidence); err != nil {
		t.Errorf("the evidence: %v", err)
	}

	home := front.serve(t)
	front.ok(t, "mirror", "sync", "up.example")
	if s := mirrorStatus(t, front); s.State != proxy.StateOK || s.LogLength <= old.LogLength || s.LastError != "" {
		t.Errorf("the new history: %+v", s)
	}
	v := newPerson(t)
	v.ok(t, "download", "--registry", home.url, "--on-behalf", "up.example", "test:other")
}

// TestMirrorResetOfRunningServer: the server that runs sets the replica aside itself
// and believes the new history at once. What was adopted from the old one stays in our
// log as it is, what the new one has besides is adopted, and where the two disagree
// about a package somebody is told.
func TestMirrorResetOfRunningServer(t *testing.T) {
	front, fork := torn(t, `mode = "adopt"`)
	home := front.serve(t)
	front.ok(t, "mirror", "sync")
	old := adoptStatus(t, front)
	home.end(t)
	fork()
	home = front.serve(t)
	if r := front.run(t, "mirror", "sync"); r.code != exitVerification {
		t.Fatalf("the fork: %+v", r)
	}
	v := newPerson(t)
	has := func(content string, args ...string) {
		t.Helper()
		v.ok(t, with(args, "download", "--registry", home.url, "-o", "got")...)
		if v.read(t, "got") != string(wargtest.Component(content)) {
			t.Errorf("%v: other bytes", args)
		}
	}
	has("test:one", "test:one")

	r := front.run(t, "mirror", "reset", "up.example", "--reason", "they told us", "--json")
	var said upstream.Reset
	decode(t, r.stdout, &said)
	if r.code != exitOK || said.Reason != "they told us" || said.Length != old.LogLength || said.Quarantine == nil {
		t.Fatalf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(said.Directory, "reset.json")); err != nil {
		t.Error(err)
	}
	for _, word := range []string{"upstream was reset", `reason="they told us"`, "class=equivocation"} {
		if !strings.Contains(home.log.String(), word) {
			t.Errorf("the server's log lacks %s", word)
		}
	}
	wantLines(t, front, "quarantined up.example equivocation",
		"asked mirror reset up.example: they told us", "done mirror reset up.example: they told us")
	if r := front.run(t, "mirror", "sync", "up.example"); r.code == exitOK || !strings.Contains(r.stderr, "test:two") {
		t.Errorf("the package of which both histories say something else: %+v", r)
	}
	has("the other test:other", "--on-behalf", "up.example", "test:other")
	has("the other test:other", "test:other")
	has("test:one", "test:one")
	has("test:two", "test:two")
	if s := adoptStatus(t, front); s.State != proxy.StateOK || s.LogLength <= old.LogLength || !strings.Contains(s.LastError, "test:two") {
		t.Errorf("the new history: %+v", s)
	}
	home.end(t)
	home = front.serve(t)
	has("the other test:more", "test:more")
	if r := front.run(t, "mirror", "reset", "up.example", "--reason", " "); r.code != exitUsage {
		t.Errorf("without a reason: %+v", r)
	}
}

func TestMirrorResetRefused(t *testing.T) {
	front, _ := torn(t, "")
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no reason", []string{"up.example"}, exitUsage, "--reason"},
		{"blank reason", []string{"up.example", "--reason", " "}, exitUsage, "--reason"},
		{"no domain", []string{"--reason", "why"}, exitUsage, "domain"},
		{"unknown domain", []string{"nobody.example", "--reason", "why"}, exitFailed, "`nobody.example` is not an upstream here; there are: up.example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if r := front.run(t, append([]string{"mirror", "reset"}, test.args...)...); r.code != test.code || !strings.Contains(r.stderr, test.says) {
				t.Errorf("got %+v", r)
			}
		})
	}
	if s := mirrorStatus(t, front); s.LogLength == 0 {
		t.Error("a refused reset took the replica away")
	}
}
