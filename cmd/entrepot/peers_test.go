package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// freeAddress returns an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// couple writes the configurations of two sites that mirror each other, with more of
// each.
func couple(t *testing.T, moreA, moreB string) (a, b *person) {
	t.Helper()
	a, b = newPerson(t), newPerson(t)
	write := func(u *person, own, listen, other, url, more string) {
		u.write(t, "entrepot.toml", fmt.Sprintf(`listen = %q
[authority]
domain = %q
namespaces = ["%s"]
peers = [%q]
[upstream.%q]
url = "http://%s"
trust_first_key = true
max_age = "1s"
mirror = "full"
allow_private_addresses = true
%s
`, listen, own+".example", own, other+".example", other+".example", url, more))
	}
	forA, forB := freeAddress(t), freeAddress(t)
	write(a, "one", forA, "two", forB, moreA)
	write(b, "two", forB, "one", forA, moreB)
	return a, b
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited a minute until %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ready(t *testing.T, s *running) bool {
	t.Helper()
	code, _ := get(t, s.url+"/readyz")
	return code == http.StatusOK
}

func (u *person) released(t *testing.T, s *running, names ...string) {
	t.Helper()
	for _, name := range names {
		file := strings.ReplaceAll(name, ":", "-")
		u.write(t, file, string(wargtest.Component(name)))
		u.ok(t, "publish", "--registry", s.url, name+"@1.0.0", file)
	}
}

// TestPeersHealEachOther: two sites that start together hear each other, a copy of
// yesterday of one of them is fenced, is healed by the other, and goes on.
func TestPeersHealEachOther(t *testing.T) {
	a, b := couple(t, "", "")
	serverA := a.serve(t)
	if ready(t, serverA) {
		t.Error("ready before the peer was heard")
	}
	serverB := b.serve(t)
	eventually(t, "both have heard each other", func() bool { return ready(t, serverA) && ready(t, serverB) })
	metrics := askAdmin(t, a, "/metrics")
	if n := sampleOf(t, metrics, `entrepot_peer_checks_total{peer="two.example",result="contradiction"}`); n != 0 {
		t.Errorf("%v contradictions", n)
	}
	if at := sampleOf(t, metrics, `entrepot_peer_answered_seconds{peer="two.example"}`); at < 1 {
		t.Errorf("answered at %v", at)
	}
	a.ok(t, "key", "new")
	a.released(t, serverA, "one:first")
	serverA.end(t)
	data, kept := a.path("entrepot-data"), a.path("kept")
	if err := os.CopyFS(kept, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	serverA = a.serve(t)
	eventually(t, "A goes on", func() bool { return ready(t, serverA) })
	a.released(t, serverA, "one:second", "one:third")
	b.ok(t, "mirror", "sync", "one.example")
	serverA.end(t)
	restoreInPlace(t, kept, data)

	serverA = a.serve(t)
	eventually(t, "A knows that it is behind", func() bool {
		return strings.Contains(askAdmin(t, a, "/statusz"), "holds a checkpoint of length 4")
	})
	if code, _ := get(t, serverA.url+"/v1/fetch/checkpoint"); code != http.StatusServiceUnavailable {
		t.Errorf("checkpoint behind the fence: %d", code)
	}
	serverA.end(t)

	r := a.run(t, "recover", "--from", "two.example", "--json")
	var done recovered
	if r.code != exitOK || json.Unmarshal([]byte(r.stdout), &done) != nil || done.From != 2 || done.To != 4 || len(done.Lacking) != 0 {
		t.Fatalf("recover: %+v", r)
	}
	if _, err := os.Stat(filepath.Join(data, recoverDir)); !os.IsNotExist(err) {
		t.Errorf("what was fetched is still there: %v", err)
	}
	serverA = a.serve(t)
	eventually(t, "A goes on", func() bool { return ready(t, serverA) })
	a.released(t, serverA, "one:fourth")
	b.ok(t, "mirror", "sync", "one.example")
	v := newPerson(t)
	for _, name := range []string{"first", "second", "third", "fourth"} {
		v.ok(t, "download", "--registry", serverA.url, "one:"+name)
		v.ok(t, "download", "--registry", serverB.url, "--on-behalf", "one.example", "--output", name+"-b.wasm", "one:"+name)
	}
	var status []proxy.MirrorStatus
	decode(t, b.ok(t, "mirror", "status", "--json"), &status)
	if !status[0].Backup || status[0].Pinned == 0 || status[0].Pinned != status[0].Contents {
		t.Errorf("A's backup at B is not kept: %+v", status[0])
	}
	if status[0].State != proxy.StateOK || status[0].LogLength != 5 || status[0].Quarantine != nil {
		t.Errorf("B's replica of A: %+v", status[0])
	}
}

// restoreInPlace puts old files into the directories that there are, as the snapshot
// of a machine does.
func restoreInPlace(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Remove(path)
	})
	if err == nil {
		err = filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
			rel, _ := filepath.Rel(from, path)
			if err != nil || d.IsDir() || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), text, 0o600)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
