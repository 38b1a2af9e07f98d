package main

import (
	"net/http"
	"strings"
	"testing"
)

// A registry is frozen through its server and without one, only by its name, and stays
// so.
func TestFreeze(t *testing.T) {
	for _, running := range []bool{true, false} {
		u := newPerson(t)
		u.ok(t, "init")
		domain := "localhost"
		r := u.run(t, "freeze", "other.example")
		if r.code != exitUsage || !strings.Contains(r.stderr, "other.example") {
			t.Errorf("by a wrong name: %+v", r)
		}
		if _, after, ok := strings.Cut(r.stderr, "this is the registry `"); ok {
			domain, _, _ = strings.Cut(after, "`")
		}
		if running {
			s := u.serve(t, "--listen", "127.0.0.1:0")
			u.ok(t, "freeze", domain)
			if code, _ := get(t, s.url+"/v1/fetch/checkpoint"); code != http.StatusOK {
				t.Errorf("the checkpoint of a frozen registry: %d", code)
			}
			if code, _ := get(t, s.url+"/readyz"); code != http.StatusOK {
				t.Errorf("/readyz: %d", code)
			}
		} else {
			u.ok(t, "freeze", domain)
			u.ok(t, "freeze", domain)
		}
		r = u.run(t, "namespace", "define", "acme")
		if r.code != exitConfig || !strings.Contains(r.stderr, "the registry is fenced (frozen): ") {
			t.Errorf("defining a namespace: %+v", r)
		}
	}
}
