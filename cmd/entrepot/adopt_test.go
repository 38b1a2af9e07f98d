package main

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// Packages of another registry are ours for clients that know only us, and follow it;
// clients that name the registry get it as it is.
func TestAdoptedPackages(t *testing.T) {
	up, front := behind(t, `mode = "adopt"`)
	home := front.serve(t)
	front.ok(t, "mirror", "sync")
	at := []string{"--registry", home.url}
	read := func(flags []string, wanted, content string) {
		t.Helper()
		v := newPerson(t)
		v.ok(t, with(flags, "download", wanted, "-o", "got")...)
		if v.read(t, "got") != string(wargtest.Component(content)) {
			t.Errorf("%v %s: other bytes", flags, wanted)
		}
	}
	read(at, "local:tool", "tool")
	read(at, "local:other", "other")
	read(with(at, "--on-behalf", "up.example"), "local:tool", "tool")
	if out := newPerson(t).ok(t, with(at, "packages")...); out != "local:other\nlocal:tool\n" {
		t.Errorf("packages: %q", out)
	}

	author := newPerson(t)
	author.ok(t, "key", "new")
	author.write(t, "one", string(wargtest.Component("one")))
	author.write(t, "two", string(wargtest.Component("two")))
	for i, file := range []string{"one", "two"} {
		author.ok(t, "publish", "--registry", up.url, "local:new@1."+string(rune('0'+i))+".0", file)
	}
	author.ok(t, "yank", "--registry", up.url, "local:new@1.1.0")
	front.ok(t, "mirror", "sync", "up.example")
	read(at, "local:new", "one")
	var theirs, ours packageShown
	decode(t, author.ok(t, "info", "--registry", up.url, "local:new", "--json"), &theirs)
	decode(t, author.ok(t, with(at, "info", "local:new", "--json")...), &ours)
	if len(ours.Releases) != 2 || !ours.Releases[1].Yanked || ours.Keys[0].KeyID != theirs.Keys[0].KeyID {
		t.Errorf("ours is %+v, theirs %+v", ours, theirs)
	}
	if s := adoptStatus(t, front); s.Mode != "adopt" || s.LastError != "" {
		t.Errorf("%+v", s)
	}

	for _, name := range []string{"local:new", "local:mine"} {
		r := author.run(t, with(at, "publish", name+"@3.0.0", "one")...)
		if r.code != exitFailed || !strings.Contains(r.stderr, "namespace belongs to another registry: `local`") {
			t.Errorf("publishing %s: %+v", name, r)
		}
	}
	author.ok(t, with(at, "publish", "--on-behalf", "up.example", "local:new@3.0.0", "two")...)
	front.ok(t, "mirror", "sync")
	read(at, "local:new", "two")

	// Gone for good: what was adopted stays.
	up.end(t)
	home.end(t)
	home = front.serve(t)
	at = []string{"--registry", home.url}
	read(at, "local:new", "two")
	read(at, "local:tool", "tool")
	if r := front.run(t, "mirror", "sync"); r.code != exitTemporary {
		t.Errorf("while upstream is away: %+v", r)
	}
}

func adoptStatus(t *testing.T, u *person) proxy.MirrorStatus {
	t.Helper()
	var all []proxy.MirrorStatus
	decode(t, u.ok(t, "mirror", "status", "--json"), &all)
	if len(all) != 1 {
		t.Fatalf("got %+v", all)
	}
	return all[0]
}

// A namespace has exactly one registry, and keeps it.
func TestAdoptionContradictions(t *testing.T) {
	_, front := behind(t, `mode = "adopt"`)
	text := front.read(t, "entrepot.toml")
	front.serve(t).end(t)
	for _, test := range []struct {
		name, text, want string
	}{
		{"passed through from now on", strings.Replace(text, `mode = "adopt"`, "", 1), "namespace `local` was adopted from `up.example`, so it has to stay adopted"},
		{"from another upstream", strings.Replace(text, `"up.example"`, `"elsewhere.example"`, 1), "namespace `local` was adopted from `up.example` and cannot be adopted from `elsewhere.example`"},
		{"passed through from another upstream", strings.NewReplacer(`mode = "adopt"`, "", `"up.example"`, `"elsewhere.example"`).Replace(text), "it was adopted from `up.example`"},
		{"ours", strings.Replace(text, `["acme"]`, `["acme", "local"]`, 1), "namespace `local` belongs to `front.example` already"},
		{"ours, and no upstream's", strings.NewReplacer(`["acme"]`, `["acme", "local"]`, `["local"]`, `["x"]`, `mode = "adopt"`, "").Replace(text), "configured as our own, but its packages are those of `up.example`"},
		{"ours before, adopted now", strings.NewReplacer(`["acme"]`, `[]`, `["local"]`, `["local", "acme"]`).Replace(text), "namespace `acme` is to be adopted from `up.example`, but it is our own"},
		{"ours, and given to an upstream", strings.NewReplacer(`["acme"]`, `[]`, `["local"]`, `["local", "acme"]`, `mode = "adopt"`, `adopt = ["local"]`).Replace(text), "namespace `acme` is given to `up.example`, but it is our own"},
		{"not among its namespaces", strings.Replace(text, `mode = "adopt"`, `adopt = ["other"]`, 1), "`other` is to be adopted and is not among namespaces"},
	} {
		t.Run(test.name, func(t *testing.T) {
			front.write(t, "entrepot.toml", test.text)
			r := front.run(t, "serve")
			if r.code != exitConfig || !strings.Contains(r.stderr, test.want) {
				t.Errorf("got %+v, want %q", r, test.want)
			}
		})
	}
	// Nothing of this has changed anything; and a namespace may be left alone.
	front.write(t, "entrepot.toml", text)
	front.serve(t).end(t)
	front.write(t, "entrepot.toml", strings.NewReplacer(`["local"]`, `[]`, `mode = "adopt"`, "").Replace(text))
	home := front.serve(t)
	if !strings.Contains(home.log.String(), "is not kept in step any more") {
		t.Errorf("nothing is said of a namespace that is left alone:\n%s", home.log)
	}
	front.write(t, "x", string(wargtest.Component("x")))
	front.ok(t, "key", "new")
	r := front.run(t, "publish", "--registry", home.url, "local:mine@1.0.0", "x")
	if r.code != exitFailed || !strings.Contains(r.stderr, "belongs to another registry") {
		t.Errorf("publishing where packages were adopted: %+v", r)
	}
}
