package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// away is a site without network that knows registries by name and key.
func away(t *testing.T, keys map[string]warg.KeyID) *person {
	t.Helper()
	text := "listen = \"127.0.0.1:0\"\n[authority]\ndomain = \"away.example\"\nnamespaces = [\"far\"]\n"
	for domain, key := range keys {
		text += fmt.Sprintf("[upstream.%q]\nurl = \"https://unreachable.example\"\noperator_key = %q\noffline = true\n", domain, key)
	}
	u := newPerson(t)
	u.write(t, "entrepot.toml", text)
	return u
}

// carry brings a file from one site to another.
func carry(t *testing.T, from *person, name string, to *person) {
	t.Helper()
	to.write(t, filepath.Base(name), from.read(t, name))
}

// keyOf returns the operator key of a registry.
func keyOf(t *testing.T, url string) warg.KeyID {
	t.Helper()
	var key presented
	decode(t, newPerson(t).ok(t, "key", "of", url, "--json"), &key)
	return key.KeyID
}

// TestAirGap carries a registry to a site without network: all of it, then what is
// new, through running servers and without any.
func TestAirGap(t *testing.T) {
	up, front := behind(t, `mirror = "full"`)
	key := keyOf(t, up.url)
	publisher := newPerson(t)
	publisher.ok(t, "key", "new")
	home := front.serve(t)
	front.ok(t, "mirror", "sync")

	// A running server and the data directory alone make the same bytes.
	var done exported
	decode(t, front.ok(t, "archive", "export", "-o", "first.archive", "--json"), &done)
	if len(done.Registries) != 1 || done.Registries[0].Packages != 2 || done.Registries[0].Contents != 2 || done.Registries[0].MissingPackages+done.Registries[0].MissingContents != 0 {
		t.Errorf("exported %+v", done)
	}
	publisher.write(t, "new", string(wargtest.Component("new")))
	publisher.ok(t, "publish", "--registry", up.url, "local:fresh@1.0.0", "new")
	front.ok(t, "mirror", "sync")
	front.ok(t, "archive", "export", "--since", "first.archive", "-o", "delta.archive")
	front.ok(t, "archive", "export", "-o", "parts", "--split", "64KiB")
	home.end(t)
	front.ok(t, "archive", "export", "--upstream", "up.example", "--since", "first.archive", "-o", "delta2.archive")
	if front.read(t, "delta.archive") != front.read(t, "delta2.archive") {
		t.Error("the server makes another delta than the command")
	}
	up.end(t) // for good

	site := away(t, map[string]warg.KeyID{"up.example": key})
	for _, name := range []string{"first.archive", "delta.archive", "parts.000"} {
		carry(t, front, name, site)
	}
	var seen []verified
	decode(t, site.ok(t, "archive", "verify", "first.archive", "delta.archive", "--json"), &seen)
	if len(seen) != 1 || seen[0].Length != 4 || seen[0].OperatorKey != key || !seen[0].Pinned {
		t.Errorf("verified %+v", seen)
	}
	if _, err := os.Stat(site.path("entrepot-data")); err == nil {
		t.Error("verifying made a data directory")
	}
	if r := site.run(t, "archive", "import", "delta.archive"); r.code != exitVerification || !strings.Contains(r.stderr, "builds on length 3") {
		t.Errorf("a delta without its base: %+v", r)
	}
	var got []upstream.Imported
	decode(t, site.ok(t, "archive", "import", "first.archive", "--json"), &got)
	if len(got) != 1 || got[0].To != 3 || got[0].Packages != 2 || got[0].Contents != 2 {
		t.Errorf("imported %+v", got)
	}
	far := site.serve(t)
	reader := newPerson(t)
	reader.ok(t, "download", "--registry", far.url, "--on-behalf", "up.example", "local:tool")
	site.ok(t, "archive", "verify", "delta.archive")
	decode(t, site.ok(t, "archive", "import", "delta.archive", "--json"), &got)
	if got[0].From != 3 || got[0].To != 4 || got[0].Packages != 1 {
		t.Errorf("imported through the server %+v", got)
	}
	decode(t, site.ok(t, "archive", "import", "parts", "--json"), &got)
	if got[0] != (upstream.Imported{Domain: "up.example", From: 4, To: 4}) {
		t.Errorf("importing the same state again brought %+v", got)
	}
	// One who knows an older length, and one who knows nothing.
	for _, u := range []*person{reader, newPerson(t)} {
		u.ok(t, "download", "--registry", far.url, "--on-behalf", "up.example", "local:fresh")
		if u.read(t, "fresh.wasm") != string(wargtest.Component("new")) {
			t.Error("fresh has other bytes")
		}
	}
}

// TestOwnRegistryTravels: a site that has us as upstream gets our own registry.
func TestOwnRegistryTravels(t *testing.T) {
	u := newPerson(t)
	s := u.serve(t, "--listen", "127.0.0.1:0")
	u.ok(t, "key", "new")
	for i := range 3 {
		u.write(t, "c", fmt.Sprint(string(wargtest.Component(fmt.Sprint(i)))))
		u.ok(t, "publish", "--registry", s.url, fmt.Sprintf("local:tool@1.0.%d", i), "c")
	}
	if r := u.run(t, "archive", "export", "-o", "x"); r.code != exitFailed || !strings.Contains(r.stderr, "--own") {
		t.Errorf("without --own: %+v", r)
	}
	var done exported
	decode(t, u.ok(t, "archive", "export", "--own", "-o", "own.archive", "--json"), &done)
	if len(done.Registries) != 1 || done.Registries[0].Checkpoints != 3 || done.Registries[0].Records != 3 {
		t.Errorf("exported %+v", done)
	}
	domain := done.Registries[0].Domain
	site := away(t, map[string]warg.KeyID{domain: keyOf(t, s.url)})
	carry(t, u, "own.archive", site)
	site.ok(t, "archive", "import", "own.archive")
	far := site.serve(t)
	v := newPerson(t)
	v.ok(t, "download", "--registry", far.url, "--on-behalf", domain, "local:tool@1.0.1")
	if v.read(t, "tool.wasm") != string(wargtest.Component("1")) {
		t.Error("other bytes")
	}
}

func TestArchiveRefusals(t *testing.T) {
	up, front := behind(t, `mirror = "full"`)
	key := keyOf(t, up.url)
	front.ok(t, "init", "--config", "unused.toml")
	front.write(t, "entrepot.toml", strings.Replace(front.read(t, "entrepot.toml"), "front.example", "localhost", 1))
	if r := front.run(t, "archive", "export", "-o", "cold"); r.code != exitFailed || !strings.Contains(r.stderr, "mirror sync") {
		t.Errorf("with nothing held: %+v", r)
	}
	front.ok(t, "mirror", "sync")
	front.ok(t, "archive", "export", "-o", "good")
	for name, args := range map[string][]string{
		"another upstream": {"--upstream", "nobody.example", "-o", "x"},
		"another package":  {"--package", "local:nope", "-o", "x"},
		"older is missing": {"--since", "nope", "-o", "x"},
		"small parts":      {"--split", "1KiB", "-o", "x"},
		"nonsense size":    {"--split", "much", "-o", "x"},
	} {
		if r := front.run(t, slices.Concat([]string{"archive", "export"}, args)...); r.code == exitOK {
			t.Errorf("%s: exit 0", name)
		}
	}
	front.write(t, "taken.000", "")
	if r := front.run(t, "archive", "export", "--split", "1MiB", "-o", "taken"); r.code != exitFailed {
		t.Errorf("parts would mix with others: %+v", r)
	}
	entries, err := os.ReadDir(front.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "x" || e.Name() == "cold" {
			t.Errorf("%s was left behind", e.Name())
		}
	}

	good := []byte(front.read(t, "good"))
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 4
	site := away(t, map[string]warg.KeyID{"up.example": key})
	site.write(t, "good", string(good))
	for _, test := range []struct {
		name, text string
		code       int
		says       string
	}{
		{"flipped", string(flipped), exitVerification, "damaged"},
		{"cut", string(good[:len(good)-1]), exitVerification, "ends too early"},
		{"empty", "", exitVerification, "too short"},
		{"another file", "[authority]\n" + strings.Repeat("x", 100), exitVerification, "does not begin like"},
	} {
		site.write(t, "bad", test.text)
		for _, command := range []string{"import", "verify"} {
			r := site.run(t, "archive", command, "bad")
			if r.code != test.code || !strings.Contains(r.stderr, test.says) || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("%s of %s: %+v", command, test.name, r)
			}
		}
	}
	if r := site.run(t, "archive", "import", "nope"); r.code != exitIO {
		t.Errorf("a missing file: %+v", r)
	}
	stranger := away(t, map[string]warg.KeyID{"other.example": key})
	stranger.write(t, "good", string(good))
	if r := stranger.run(t, "archive", "import", "good"); r.code != exitConfig || !strings.Contains(r.stderr, "operator_key") {
		t.Errorf("a registry that is not configured: %+v", r)
	}
	wary := away(t, map[string]warg.KeyID{"up.example": wargtest.Bob().Public().ID()})
	wary.write(t, "good", string(good))
	far := wary.serve(t)
	for _, command := range []string{"import", "verify"} {
		if r := wary.run(t, "archive", command, "good"); r.code != exitVerification || !strings.Contains(r.stderr, "is pinned") {
			t.Errorf("%s with another pin: %+v", command, r)
		}
	}
	if r := newPerson(t).run(t, "packages", "--registry", far.url, "--on-behalf", "up.example"); r.code == exitOK {
		t.Error("what was refused is served")
	}
	nobody := newPerson(t)
	nobody.write(t, "good", string(good))
	if out := nobody.ok(t, "archive", "verify", "good"); !strings.Contains(out, "not pinned here") || !strings.Contains(out, string(key)) {
		t.Errorf("verified by nobody: %q", out)
	}
}

// TestForkedArchive: evidence comes back through a running server, and without one.
func TestForkedArchive(t *testing.T) {
	secret := ""
	history := func(text string) *person { // of a registry that always has the same key
		u := newPerson(t)
		keyFile := u.path("operator.key")
		if secret == "" {
			u.ok(t, "key", "new", "--out", keyFile)
			secret = u.read(t, "operator.key")
		}
		u.write(t, "operator.key", secret)
		u.write(t, "entrepot.toml", fmt.Sprintf("listen = \"127.0.0.1:0\"\n[authority]\ndomain = \"two.example\"\nkey_file = %q\nnamespaces = [\"local\"]\n", keyFile))
		s := u.serve(t)
		u.ok(t, "key", "new")
		u.write(t, "c", string(wargtest.Component(text)))
		u.ok(t, "publish", "--registry", s.url, "local:"+text+"@1.0.0", "c")
		u.ok(t, "archive", "export", "--own", "-o", text+".archive")
		if text == "one" {
			u.ok(t, "publish", "--registry", s.url, "local:"+text+"@1.1.0", "c")
			u.ok(t, "archive", "export", "--own", "--since", "one.archive", "-o", "more.archive")
		}
		s.end(t)
		return u
	}
	one, two := history("one"), history("two")
	var shown shownKey
	decode(t, one.ok(t, "key", "id", "operator.key", "--json"), &shown)
	for _, served := range []bool{false, true} {
		site := away(t, map[string]warg.KeyID{"two.example": shown.KeyID})
		for u, names := range map[*person][]string{one: {"one.archive", "more.archive"}, two: {"two.archive"}} {
			for _, name := range names {
				carry(t, u, name, site)
			}
		}
		site.ok(t, "archive", "import", "one.archive")
		if served {
			site.serve(t)
		}
		r := site.run(t, "archive", "import", "two.archive")
		first, rest, _ := strings.Cut(r.stderr, "\n")
		var evidence struct{ Class, Registry string }
		if err := json.Unmarshal([]byte(rest), &evidence); err != nil || r.code != exitVerification || evidence.Class != "equivocation" || evidence.Registry != "two.example" {
			t.Errorf("served %v: %d %s\n%s", served, r.code, first, rest)
		}
		found, err := filepath.Glob(site.path("entrepot-data/evidence/*.json"))
		if err != nil || len(found) != 1 {
			t.Fatalf("evidence on disk: %v, %v", found, err)
		}
		if text, err := os.ReadFile(found[0]); err != nil || !bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace([]byte(rest))) {
			t.Errorf("other evidence is on disk: %v", err)
		}
		if r := site.run(t, "archive", "import", "more.archive"); r.code != exitVerification || !strings.Contains(r.stderr, "quarantined") {
			t.Errorf("a quarantined registry is believed: %+v", r)
		}
	}
}
