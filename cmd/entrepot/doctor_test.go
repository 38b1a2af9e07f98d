package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// states returns what doctor thinks, "check state".
func states(t *testing.T, r result) (all []string) {
	t.Helper()
	var said struct{ Checks []symptom }
	if err := json.Unmarshal([]byte(r.stdout), &said); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	for _, s := range said.Checks {
		all = append(all, s.Check+" "+s.State)
	}
	return all
}

// TestDoctor damages a site in one way after the other: doctor says what and how bad.
func TestDoctor(t *testing.T) {
	u := newPerson(t)
	u.env = append(u.env, "ENTREPOT_LISTEN=127.0.0.1:0")
	if r := u.run(t, "doctor", "--json"); r.code != exitOK || !slices.Contains(states(t, r), "registry ok") {
		t.Errorf("before the first start: %+v", r)
	}
	s := u.serve(t)
	u.ok(t, "namespace", "define", "acme")
	if r := u.run(t, "doctor", "--json"); r.code != exitOK || !slices.Contains(states(t, r), "journal ok") {
		t.Errorf("while a server runs: %+v", r)
	}
	s.end(t)
	data := filepath.Join(u.folder, "entrepot-data")
	flip := func(name string, at int64) func() error {
		return func() error {
			f, err := os.OpenFile(filepath.Join(data, name), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			b := []byte{0}
			if _, err := f.ReadAt(b, at); err != nil {
				return err
			}
			b[0] ^= 1
			_, err = f.WriteAt(b, at)
			return err
		}
	}
	for _, c := range []struct {
		want   string
		code   int
		damage func() error
	}{
		{"secrets refused", exitConfig, func() error { return os.Chmod(filepath.Join(data, "operator.key"), 0o644) }},
		{"anchor bad", exitVerification, flip("authority/anchor", 100)},
		{"history bad", exitVerification, flip("authority/anchor.log", 20)},
		{"journal bad", exitVerification, flip("authority/log/00000001.seg", 150)},
		{"journal bad", exitVerification, func() error { return os.Remove(filepath.Join(data, "authority/log/00000001.seg")) }},
		{"audit log bad", exitVerification, flip("audit.log", 30)},
		{"stamp refused", exitConfig, func() error {
			return os.WriteFile(filepath.Join(data, "operator.key.registry"), []byte("entrepot-registry 1\nregistry 00\ndomain other\n"), 0o600)
		}},
		{"registry refused", exitConfig, func() error { return os.RemoveAll(filepath.Join(data, "authority")) }},
		{"index warn", exitOK, func() error {
			return os.WriteFile(filepath.Join(data, "authority/index.opening"), []byte("1\n"), 0o600)
		}},
		{"directory fenced", exitConfig, func() error { return nil }}, // it is a copy already
	} {
		kept := filepath.Join(t.TempDir(), "kept")
		if err := os.Rename(data, kept); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(data, os.DirFS(kept)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(data, "operator.key"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		r := u.run(t, "doctor", "--json")
		// A copy is another directory, which fences as well.
		if got := states(t, r); !slices.Contains(got, c.want) || c.code == exitVerification && r.code != c.code || r.code == exitOK {
			t.Errorf("%s: %v, exit %d: %s", c.want, got, r.code, r.stderr)
		}
		// What goes before a server keeps it from starting only if it would not start.
		quick, start := u.run(t, "doctor", "--quick"), exitOK
		if strings.HasSuffix(c.want, stateRefused) {
			start = u.run(t, "serve").code
		}
		if quick.code != start || quick.stdout == "" {
			t.Errorf("%s: doctor --quick exits with %d, a start with %d", c.want, quick.code, start)
		}
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(kept, data); err != nil {
			t.Fatal(err)
		}
	}
	if r := u.run(t, "doctor", "--quick"); r.code != exitOK {
		t.Errorf("everything put back: %+v", r)
	}
}

// TestFsckAndBackup goes the way of an operator: check, damage, repair, back up beside a
// running server, lose everything, restore.
func TestFsckAndBackup(t *testing.T) {
	u := newPerson(t)
	u.env = append(u.env, "ENTREPOT_LISTEN=127.0.0.1:0")
	s := u.serve(t)
	u.ok(t, "namespace", "define", "acme")
	if r := u.run(t, "fsck"); r.code != exitTemporary || !strings.Contains(r.stderr, "entrepot serve") {
		t.Errorf("while a server runs: %+v", r)
	}
	u.ok(t, "backup", "saved")
	if r := u.run(t, "backup", "saved"); r.code != exitFailed {
		t.Errorf("over a backup: %+v", r)
	}
	if r := u.run(t, "backup", "entrepot-data/saved"); r.code != exitUsage {
		t.Errorf("into the data: %+v", r)
	}
	s.end(t)
	u.ok(t, "fsck")
	data := filepath.Join(u.folder, "entrepot-data")
	if err := os.RemoveAll(filepath.Join(data, "authority/index")); err != nil {
		t.Fatal(err)
	}
	u.ok(t, "fsck") // an index that is behind is none
	u.ok(t, "rebuild-index")
	if err := os.WriteFile(filepath.Join(data, "authority/index/MANIFEST"), []byte("damage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := u.run(t, "fsck"); r.code != exitVerification || !strings.Contains(r.stderr, "index") {
		t.Errorf("with a damaged index: %+v", r)
	}
	u.ok(t, "fsck", "--repair")
	u.ok(t, "fsck")
	if r := u.run(t, "restore", "saved"); r.code != exitUsage || !strings.Contains(r.stderr, "--fenced") {
		t.Errorf("without --fenced: %+v", r)
	}
	if r := u.run(t, "restore", "saved", "--fenced"); r.code != exitFailed {
		t.Errorf("over a registry: %+v", r)
	}
	key := u.read(t, "entrepot-data/operator.key")
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	u.ok(t, "restore", "saved", "--fenced")
	if err := os.WriteFile(filepath.Join(data, "operator.key"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := u.run(t, "doctor"); r.code != exitConfig || !strings.Contains(r.stderr, "restored") {
		t.Errorf("restored: %+v", r)
	}
	if r := u.run(t, "namespace", "define", "later"); r.code != exitConfig {
		t.Errorf("a restored registry signs: %+v", r)
	}
}
