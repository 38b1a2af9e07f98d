package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// plainly starts a registry in memory with one package for each content, named p0, p1
// and so on, and makes a site that answers for it. More is its upstream table, and what
// comes after that.
func plainly(t *testing.T, more string, contents ...string) (front *person, url string) {
	t.Helper()
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	for i, c := range contents {
		released(t, m, wargtest.NewPackage(fmt.Sprintf("test:p%d", i)), "1.0.0", c, true)
	}
	url = served(t, m, nil)
	front = newPerson(t)
	front.write(t, "entrepot.toml", fmt.Sprintf(`listen = "127.0.0.1:0"
[authority]
domain = "localhost"
namespaces = ["acme"]
[upstream."up.example"]
url = %q
namespaces = ["test"]
max_age = "1h"
allow_private_addresses = true
%s
`, url, more))
	front.ok(t, "init", "--config", "unused.toml", "--namespace", "acme")
	return front, url
}

// pinnedKey is the line that pins the key of a registry in memory.
func pinnedKey() string {
	return fmt.Sprintf("operator_key = %q\n", wargtest.Alice().Public().ID())
}

// TestMirrorGoesOn: a filling that broke off is gone on with by the next process: what it
// had fetched is there, and is not asked for again.
func TestMirrorGoesOn(t *testing.T) {
	var contents []string
	for i := range 12 {
		contents = append(contents, fmt.Sprint("content ", i))
	}
	front, url := plainly(t, pinnedKey()+"mirror = \"full\"\n", contents...)
	w := newWire(t, url, (*httptest.Server).Start)
	front.write(t, "entrepot.toml", front.read(t, "entrepot.toml")+fmt.Sprintf("http_proxy = %q\n", w.URL)) // so that content comes by the wire as well

	// A mirror fetches four contents at a time, and the next when one of them is kept. So
	// when four requests wait for their refusal, all that came through before is kept.
	const through, atATime = 5, 4
	var seen atomic.Int64
	var stuck sync.WaitGroup
	stuck.Add(atATime)
	w.refuse = func(r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/content/") {
			return false
		}
		n := seen.Add(1)
		if n <= through {
			return false
		}
		if n <= through+atATime {
			stuck.Done()
		}
		stuck.Wait()
		return true
	}
	if r := front.run(t, "mirror", "sync"); r.code != exitTemporary {
		t.Fatalf("a registry that stops in the middle: %+v", r)
	}
	if s := mirrorStatus(t, front); s.Contents != through || s.Records != int64(len(contents)+1) {
		t.Errorf("after a filling that broke off: %+v", s)
	}
	first := len(w.requests("/"))
	w.refuse = nil
	front.ok(t, "mirror", "sync")
	if s := mirrorStatus(t, front); s.Contents != int64(len(contents)) || s.Pinned != int64(len(contents)) || s.LastError != "" {
		t.Errorf("after the next one: %+v", s)
	}
	asked := map[string]int{} // by the second filling
	for _, r := range w.requests("/")[first:] {
		part := r.URL.Path
		if strings.HasPrefix(part, "/content/") {
			part = "content"
		} else if strings.HasPrefix(part, "/v1/content/") {
			part = "sources"
		}
		asked[part]++
	}
	rest := len(contents) - through
	if asked["content"] != rest || asked["sources"] != rest || asked["/"+api.PathCheckpoint] != 1 || len(asked) != 3 {
		t.Errorf("asked for %v; want %d contents and a checkpoint", asked, rest)
	}
}

// TestCacheSize: what is kept stays below cache.max_size, the last used the longest, and
// what a plan asks for stays whatever else comes.
func TestCacheSize(t *testing.T) {
	large := func(text string) string { return strings.Repeat(text, 700<<10) }
	front, _ := plainly(t, pinnedKey()+"mirror_packages = [\"test:p0\"]\n[cache]\nmax_size = \"2MiB\"\n", large("a"), large("b"), large("c"), large("d"))
	front.ok(t, "mirror", "sync")
	home := front.serve(t)
	get := func(name string) result {
		return newPerson(t).run(t, "download", "--registry", home.url, "--on-behalf", "up.example", name, "-o", "got")
	}
	for _, name := range []string{"test:p1", "test:p2", "test:p1", "test:p3"} { // two of them fit
		if r := get(name); r.code != exitOK {
			t.Fatalf("%s: %+v", name, r)
		}
	}
	if s := mirrorStatus(t, front); s.Contents != 3 || s.Pinned != 1 {
		t.Errorf("kept: %+v", s)
	}
	text := askAdmin(t, front, "/metrics")
	if n := sampleOf(t, text, "entrepot_cache_evictions_total"); n != 1 {
		t.Errorf("%v evictions", n)
	}
	if n := sampleOf(t, text, "entrepot_cache_max_bytes"); n != 2<<20 {
		t.Errorf("the bound is %v", n)
	}
	home.end(t)
	front.write(t, "entrepot.toml", strings.Replace(front.read(t, "entrepot.toml"), "max_age", "offline = true\nmax_age", 1))
	home = front.serve(t)
	for name, want := range map[string]int{"test:p0": exitOK, "test:p1": exitOK, "test:p2": exitTemporary, "test:p3": exitOK} {
		if r := get(name); r.code != want {
			t.Errorf("%s without the registry: %+v", name, r)
		}
	}
}

// TestFirstKeyIsShown: a key that is believed because nothing was pinned is shown where
// an operator looks, so that it can be compared.
func TestFirstKeyIsShown(t *testing.T) {
	front, _ := plainly(t, "trust_first_key = true\n", "x")
	home := front.serve(t)
	front.ok(t, "mirror", "sync")
	key := string(wargtest.Alice().Public().ID())
	if theirs := registries(t, front)[1]; theirs.OperatorKey != key || theirs.Pinned != "first use" {
		t.Errorf("the status page says %+v", theirs)
	}
	if text := home.log.String(); !strings.Contains(text, "trusting the first operator key") || !strings.Contains(text, "operator_key="+key) {
		t.Errorf("the log does not say so:\n%s", text)
	}
	if n := sampleOf(t, askAdmin(t, front, "/metrics"), `entrepot_security_events_total{kind="first_key"}`); n != 1 {
		t.Errorf("%v keys were counted", n)
	}
}
