package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// Two registries have a package of the same name, the other one in a higher version. Ours
// is answered from ours alone: no version of the other one is ever among them, and the
// other one does not learn that anybody asked. Who names the other registry gets its
// package and nothing of ours.
func TestC14DependencyConfusion(t *testing.T) {
	up, front := behind(t, "")
	front.write(t, "entrepot.toml", strings.NewReplacer(`["acme"]`, `["local"]`, `["local"]`, `[]`).Replace(front.read(t, "entrepot.toml")))
	w := newWire(t, up.url, (*httptest.Server).Start)
	front.through(t, up, w.URL)
	home := front.serve(t)
	front.ok(t, "key", "new")
	ours := string(wargtest.Component("ours"))
	front.write(t, "x", ours)
	front.ok(t, "publish", "--registry", home.url, "local:tool@0.9.0", "x")

	v := newPerson(t)
	v.ok(t, "download", "local:tool", "-o", "got", "--registry", home.url)
	if v.read(t, "got") != ours {
		t.Error("somebody else's release is taken for ours")
	}
	if text := v.ok(t, "info", "local:tool", "--registry", home.url); strings.Contains(text, "1.0.0") || !strings.Contains(text, "0.9.0") {
		t.Errorf("the versions of our package are %q", text)
	}
	for _, args := range []string{"download local:tool@1.0.0 -o no", "download local:other -o no", "info local:other"} {
		if r := v.run(t, append(strings.Fields(args), "--registry", home.url)...); r.code != exitFailed {
			t.Errorf("%s: %+v", args, r)
		}
	}
	other := wargtest.Name("local:other").LogID().String()
	names, err := http.Post(home.url+"/"+api.PathNames, api.ContentTypeJSON, strings.NewReader(`{"packages":["`+other+`"]}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = names.Body.Close()
	if names.StatusCode != http.StatusNotFound || names.Header.Get(api.HeaderHint) != "" {
		t.Errorf("a name that only the other registry has: %d, hint %q", names.StatusCode, names.Header.Get(api.HeaderHint))
	}
	for _, r := range w.requests("/") {
		t.Errorf("the other registry was asked: %s %s", r.Method, r.URL)
	}

	through := []string{"--registry", home.url, "--on-behalf", "up.example"}
	v = newPerson(t)
	v.ok(t, with(through, "download", "local:tool", "-o", "got")...)
	if v.read(t, "got") != string(wargtest.Component("tool")) {
		t.Error("the package of the other registry has our bytes")
	}
	if r := v.run(t, with(through, "download", "local:tool@0.9.0", "-o", "no")...); r.code != exitFailed {
		t.Errorf("our version out of the other registry: %+v", r)
	}
	if len(w.requests(api.PathCheckpoint)) == 0 {
		t.Error("the wire sees nothing")
	}

	// A namespace has one authority: what is ours cannot be the other's as well.
	front.write(t, "entrepot.toml", strings.Replace(front.read(t, "entrepot.toml"), `namespaces = []`, `namespaces = ["local"]`, 1))
	home.end(t)
	if r := front.run(t, "serve"); r.code != exitConfig || !strings.Contains(r.stderr, "local") {
		t.Errorf("a namespace of two registries: %+v", r)
	}
}
