package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// A registry whose directory was copied does not sign, and commands that would have
// to sign say so, with and without a server.
func TestFenced(t *testing.T) {
	u := newPerson(t)
	u.ok(t, "init")
	original, copied := u.path("entrepot-data/authority"), u.path("entrepot-data/copied")
	if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(original, u.path("entrepot-data/kept")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copied, original); err != nil {
		t.Fatal(err)
	}
	r := u.run(t, "namespace", "define", "acme")
	if r.code != exitConfig || !strings.Contains(r.stderr, "the registry is fenced (behind): ") {
		t.Errorf("without a server: %+v", r)
	}
	s := u.serve(t, "--listen", "127.0.0.1:0")
	if code, _ := get(t, s.url+"/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", code)
	}
	if code, _ := get(t, s.url+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	r = u.run(t, "namespace", "define", "acme")
	if r.code != exitConfig || !strings.Contains(r.stderr, "the registry is fenced (behind): ") {
		t.Errorf("through the server: %+v", r)
	}
}
