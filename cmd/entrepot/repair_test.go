package main

import (
	"bytes"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg/wargtest"
)

// kept returns a site with everything that fsck looks at: records, content, a rejected
// submission, a full mirror of another registry. No server runs.
func kept(t *testing.T) *person {
	t.Helper()
	up, front := behind(t, `mirror = "full"`)
	front.ok(t, "key", "new")
	// Content that is too large to be kept in the database of the cache.
	front.write(t, "large", string(wargtest.Component("large"))+"\x00\x84\x80\x08\x03pad"+strings.Repeat("\x00", 128<<10))
	front.ok(t, "publish", "--registry", up.url, "local:large@1.0.0", "large")
	s := front.serve(t)
	front.ok(t, "mirror", "sync", "up.example")
	front.write(t, "own", string(wargtest.Component("own")))
	front.ok(t, "publish", "--registry", s.url, "acme:own@1.0.0", "own")
	s.end(t)
	return front
}

// snapshot returns what every file below a folder contains. What opening and closing
// databases changes, and locks, are left out.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rest, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		for _, skip := range []string{"run/", "cache/badger/", "cache/db/", "authority/lock", "authority/anchor.lock", "authority/index/"} {
			if strings.HasPrefix(rest, skip) {
				return nil
			}
		}
		b, err := os.ReadFile(name)
		sum := sha256.Sum256(b)
		all[rest] = string(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// changed lists the files that are not the same in two snapshots.
func changed(before, after map[string]string) (names []string) {
	for name, sum := range before {
		if after[name] != sum {
			names = append(names, name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// one returns the one file, or the first of several, that a pattern below a folder names.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// damage does something to the file that a pattern names, in the data directory dir.
type damage func(t *testing.T, dir string)

func flip(pattern string, at int) damage {
	return func(t *testing.T, dir string) {
		name := one(t, dir, pattern)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func cut(pattern string) damage {
	return func(t *testing.T, dir string) {
		name := one(t, dir, pattern)
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, fi.Size()-3); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(pattern string) damage {
	return func(t *testing.T, dir string) {
		if err := os.RemoveAll(one(t, dir, pattern)); err != nil {
			t.Fatal(err)
		}
	}
}

func put(name, text string) damage {
	return func(t *testing.T, dir string) {
		name := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepair damages what belongs together: fsck names each thing, and --repair mends what
// it can and changes nothing else.
func TestRepair(t *testing.T) {
	u := kept(t)
	for name, c := range map[string]struct {
		damages []damage
		found   []string // the classes of damage that fsck finds
		left    []string // and after the repair
		change  []string // prefixes of what the repair changes
	}{
		"what a start makes again": {
			[]damage{remove("authority/index"), put("content/tmp/left", "half"), cut("authority/anchor.log")},
			nil, nil, []string{"content/tmp/left", "authority/anchor.log"},
		},
		"what is made again": {
			[]damage{put("authority/index/MANIFEST", "damage"), flip("cache/content/??/*", 5)},
			[]string{"cache", "index"}, nil, []string{"authority/index.bad/", "cache/content/"},
		},
		"content": {
			[]damage{flip("content/??/*", 5)}, []string{"content"}, []string{"content"}, []string{"content/"},
		},
		"what only a backup has": {
			[]damage{
				remove("content/??/*"), flip("authority/log/*.seg", 150), flip("authority/pending/*.seg", 5),
				flip("upstreams/up.example/head", 40), put("evidence/x.json", "{}"), flip("audit.log", 30),
			},
			[]string{"audit log", "evidence", "journal", "pending", "upstream"},
			[]string{"audit log", "evidence", "journal", "pending", "upstream"}, nil,
		},
		"what was accepted": {
			[]damage{flip("upstreams/up.example/accepted.log", 40), flip("authority/anchor.log", 20), remove("content/??/*")},
			[]string{"content", "history", "upstream"}, []string{"content", "history", "upstream"}, nil,
		},
		"anchor": {
			[]damage{flip("authority/anchor", 100), put("authority/index/MANIFEST", "damage"), put("content/tmp/left", "half")},
			[]string{"anchor", "index"}, []string{"anchor", "index"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(data, os.DirFS(u.path("entrepot-data"))); err != nil {
				t.Fatal(err)
			}
			for _, d := range c.damages {
				d(t, data)
			}
			before := snapshot(t, data)
			classes(t, u.run(t, "fsck", "--json", "--data", data), c.found)
			if all := changed(before, snapshot(t, data)); !slices.Equal(all, onlyTemp(all)) {
				t.Errorf("fsck alone changed %q", all)
			}
			classes(t, u.run(t, "fsck", "--repair", "--json", "--data", data), c.left)
			for _, name := range changed(before, snapshot(t, data)) {
				if strings.HasPrefix(name, "audit.log") {
					continue // that somebody repaired is recorded
				}
				if !slices.ContainsFunc(c.change, func(p string) bool { return strings.HasPrefix(name, p) }) {
					t.Errorf("the repair changed %s", name)
				}
			}
		})
	}
}

// classes compares the classes of damage that fsck found, and its exit code.
func classes(t *testing.T, r result, want []string) {
	t.Helper()
	var report fsckReport
	decode(t, r.stdout, &report)
	var got []string
	for _, f := range report.Damage() {
		got = append(got, string(f.Class))
	}
	for _, f := range report.Site.Findings {
		got = append(got, f.Class)
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q: %s", got, want, r.stdout)
	}
	if code := map[bool]int{true: exitOK, false: exitVerification}[len(want) == 0]; r.code != code {
		t.Errorf("exit %d, want %d: %s", r.code, code, r.stderr)
	}
}

// onlyTemp returns those names that are of temporary files.
func onlyTemp(names []string) (temp []string) {
	for _, n := range names {
		if strings.Contains(n, "/tmp/") {
			temp = append(temp, n)
		}
	}
	return temp
}

// TestRepairedIndexAnswers: after the index was damaged and made again, the registry goes
// on as if nothing had been.
func TestRepairedIndexAnswers(t *testing.T) {
	u := kept(t)
	checkAreas(t, u)
	data := u.path("entrepot-data")
	if err := os.WriteFile(filepath.Join(data, "authority/index/MANIFEST"), []byte("damage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := u.ok(t, "fsck", "--repair"); !strings.Contains(out, "made the index again") {
		t.Errorf("repairing says %q", out)
	}
	s := u.serve(t)
	got := u.path("got.wasm")
	u.ok(t, "download", "--registry", s.url, "acme:own", "-o", got)
	b, err := os.ReadFile(got)
	if err != nil || !bytes.Equal(b, wargtest.Component("own")) {
		t.Errorf("downloaded %d bytes, %v", len(b), err)
	}
	s.end(t)
}

// checkAreas: fsck says how much there is of each part, and what it verified.
func checkAreas(t *testing.T, u *person) {
	t.Helper()
	var r fsckReport
	decode(t, u.ok(t, "fsck", "--json"), &r)
	sum := int64(0)
	for _, a := range r.Site.Areas {
		sum += a.Bytes
		some := map[string]bool{"journal": true, "submissions": true, "index": true, "history": true, "content": true, "upstreams": true, "cache": true, "audit log": true}
		if some[a.Name] && (a.Files == 0 || a.Bytes == 0) {
			t.Errorf("nothing of %s", a.Name)
		}
	}
	if sum == 0 || r.Site.Verified < 2 || r.Site.Upstreams != 1 {
		t.Errorf("%+v", r.Site)
	}
}

func TestAreaOf(t *testing.T) {
	for rest, want := range map[string]string{
		"authority/log/00000001.seg": "journal", "authority/index.bad/x": "set aside", "content/bad/ab": "set aside",
		"authority/anchor": "other", "audit.log.000001": "audit log", "authority/anchor.log": "history",
	} {
		if got := areaOf(rest); got != want {
			t.Errorf("%s belongs to %s, want %s", rest, got, want)
		}
	}
}
