package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// torn starts a registry that can go over to another history, and a site that has a
// replica of the first one. The result lets it go over.
func torn(t *testing.T) (front *person, fork func()) {
	t.Helper()
	one, other := wargtest.NewMemory(wargtest.MemoryOptions()), wargtest.NewMemory(wargtest.MemoryOptions())
	released(t, one, wargtest.NewPackage("test:one"), "1.0.0", "one", true)
	for _, name := range []string{"test:other", "test:more"} {
		released(t, other, wargtest.NewPackage(name), "1.0.0", name, true)
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
`, served(t, face, nil), wargtest.Alice().Public().ID()))
	front.ok(t, "init", "--config", "unused.toml", "--namespace", "acme")
	front.ok(t, "mirror", "sync")
	return front, func() { face.Own = other }
}

func TestMirrorReset(t *testing.T) {
	front, fork := torn(t)
	old := mirrorStatus(t, front)
	fork()
	if r := front.run(t, "mirror", "sync"); r.code != exitVerification {
		t.Fatalf("the fork: %+v", r)
	}
	if s := mirrorStatus(t, front); s.State != proxy.StateQuarantined || s.LogLength != old.LogLength {
		t.Fatalf("after the fork: %+v", s)
	}

	home := front.serve(t)
	if r := front.run(t, "mirror", "reset", "up.example", "--reason", "they told us"); r.code != exitTemporary || !strings.Contains(r.stderr, "stop it first") {
		t.Errorf("under a running server: %+v", r)
	}
	home.end(t)
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

	home = front.serve(t)
	front.ok(t, "mirror", "sync", "up.example")
	if s := mirrorStatus(t, front); s.State != proxy.StateOK || s.LogLength <= old.LogLength || s.LastError != "" {
		t.Errorf("the new history: %+v", s)
	}
	v := newPerson(t)
	v.ok(t, "download", "--registry", home.url, "--on-behalf", "up.example", "test:other")
}

func TestMirrorResetRefused(t *testing.T) {
	front, _ := torn(t)
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
