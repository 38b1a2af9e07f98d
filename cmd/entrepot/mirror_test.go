package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// behind starts a registry with two packages and writes the configuration of another
// one that answers for it.
func behind(t *testing.T, more string) (up *running, front *person) {
	t.Helper()
	u := newPerson(t)
	up = u.serve(t, "--listen", "127.0.0.1:0")
	u.ok(t, "key", "new")
	for _, name := range []string{"tool", "other"} {
		u.write(t, name, string(wargtest.Component(name)))
		u.ok(t, "publish", "--registry", up.url, "local:"+name+"@1.0.0", name)
	}
	var key presented
	decode(t, u.ok(t, "key", "of", up.url, "--json"), &key)
	front = newPerson(t)
	front.write(t, "entrepot.toml", fmt.Sprintf(`listen = "127.0.0.1:0"
[authority]
domain = "front.example"
namespaces = ["acme"]
[upstream."up.example"]
url = %q
operator_key = %q
namespaces = ["local"]
max_age = "1s"
allow_private_addresses = true
%s
`, up.url, key.KeyID, more))
	return up, front
}

func mirrorStatus(t *testing.T, u *person) proxy.MirrorStatus {
	t.Helper()
	var all []proxy.MirrorStatus
	decode(t, u.ok(t, "mirror", "status", "--json"), &all)
	if len(all) != 1 || all[0].Domain != "up.example" || all[0].Mode != "pass-through" {
		t.Fatalf("got %+v", all)
	}
	return all[0]
}

func TestMirrors(t *testing.T) {
	up, front := behind(t, `mirror = "full"`)
	home := front.serve(t)
	out := front.ok(t, "mirror", "sync", "up.example")
	if !strings.Contains(out, "registry") || !strings.Contains(out, "up.example  ok") {
		t.Errorf("got %q", out)
	}
	if s := mirrorStatus(t, front); s.State != proxy.StateOK || s.LogLength != 3 || s.LastError != "" ||
		s.Packages != 2 || s.Records != 3 || s.Contents != 2 || s.ContentBytes == 0 || s.Pinned != 2 || s.PinnedBytes != s.ContentBytes {
		t.Errorf("after the first filling: %+v", s)
	}
	if r := front.run(t, "mirror", "sync", "nobody.example"); r.code != exitFailed || !strings.Contains(r.stderr, "`nobody.example` is not an upstream here; there are: up.example") {
		t.Errorf("got %+v", r)
	}
	up.end(t)
	if r := front.run(t, "mirror", "sync"); r.code != exitTemporary || !strings.Contains(r.stderr, "up.example: ") {
		t.Errorf("while upstream is away: %+v", r)
	}
	if s := mirrorStatus(t, front); s.Circuit != "open" && s.Circuit != "half-open" {
		t.Errorf("while upstream is away: %+v", s)
	}

	// Everything is here, and is verified by somebody who never saw it before.
	v := newPerson(t)
	for _, name := range []string{"tool", "other"} {
		v.ok(t, "download", "--registry", home.url, "--on-behalf", "up.example", "local:"+name)
		if v.read(t, name+".wasm") != string(wargtest.Component(name)) {
			t.Errorf("%s has other bytes", name)
		}
	}
	if r := v.run(t, "download", "--registry", home.url, "--on-behalf", "up.example", "local:nope"); r.code != exitFailed {
		t.Errorf("a package that is not in the ledger: %+v", r)
	}
	home.end(t)
	if s := mirrorStatus(t, front); s.LogLength != 3 {
		t.Errorf("without a server: %+v", s)
	}
}

// TestPinsFollowThePlan: what the plan asks for is pinned, in the range of versions
// that it asks for, until the configuration does not ask for it any more.
func TestPinsFollowThePlan(t *testing.T) {
	up, front := behind(t, `mirror = "full"`)
	pinned := func(want int64) {
		t.Helper()
		if s := mirrorStatus(t, front); s.Contents != 2 || s.Pinned != want {
			t.Errorf("%d of %d contents are pinned, want %d of 2", s.Pinned, s.Contents, want)
		}
	}
	plan := func(line string) {
		t.Helper()
		text := front.read(t, "entrepot.toml")
		front.write(t, "entrepot.toml", text[:strings.LastIndex(strings.TrimSpace(text), "\n")+1]+line+"\n")
	}
	home := front.serve(t)
	front.ok(t, "mirror", "sync")
	pinned(2)
	home.end(t)
	pinned(2)

	plan(`mirror_packages = ["local:tool@^1", "local:other@^2"]`)
	home = front.serve(t)
	front.ok(t, "mirror", "sync")
	pinned(1)
	home.end(t)

	up.end(t)              // nobody needs to be asked about a plan that is gone
	plan(`offline = true`) // and nobody can: what is here may be all there is
	home = front.serve(t)
	pinned(1)
	home.end(t)
	plan(`mirror = "on-demand"`)
	home = front.serve(t)
	pinned(0)
	home.end(t)
}

func TestMirrorWithoutServer(t *testing.T) {
	up, front := behind(t, `mirror_packages = ["local:tool"]`)
	front.ok(t, "init", "--config", "unused.toml", "--namespace", "first") // a registry of our own
	front.write(t, "entrepot.toml", strings.Replace(front.read(t, "entrepot.toml"), "front.example", "localhost", 1))
	if s := mirrorStatus(t, front); s.LogLength != 0 || s.State != proxy.StateStale {
		t.Errorf("before: %+v", s)
	}
	front.ok(t, "mirror", "sync")
	if s := mirrorStatus(t, front); s.LogLength != 3 {
		t.Errorf("after: %+v", s)
	}
	up.end(t)
	front.ok(t, "namespace", "define", "acme")
	home := front.serve(t)
	v := newPerson(t)
	v.ok(t, "download", "--registry", home.url, "--on-behalf", "up.example", "local:tool")
	r := v.run(t, "download", "--registry", home.url, "--on-behalf", "up.example", "local:other")
	if r.code != exitTemporary || !strings.Contains(r.stderr, "up.example") {
		t.Errorf("what is not held while upstream is away: %+v", r)
	}
}

func TestPinIsKept(t *testing.T) {
	_, front := behind(t, "")
	text := front.read(t, "entrepot.toml")
	i := strings.Index(text, "sha256:")
	front.write(t, "entrepot.toml", text[:i]+string(wargtest.Bob().Public().ID())+text[i+len("sha256:")+64:])
	home := front.serve(t)
	r := front.run(t, "mirror", "sync")
	if r.code != exitVerification || !strings.Contains(r.stderr, "up.example: ") {
		t.Errorf("syncing with another pin: %+v", r)
	}
	v := newPerson(t)
	if r := v.run(t, "packages", "--registry", home.url, "--on-behalf", "up.example"); r.code == exitOK {
		t.Errorf("what was not verified is served: %+v", r)
	}
}
