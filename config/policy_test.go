package config

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.toml")
	write(t, file, "[namespace.my-ns]\nkeys = [\""+testKeyID+"\"]\ndelegation = false\n[package.\"my-ns:my-package\"]\nkeys = []\ndelegation = true\n")
	got, err := LoadPolicy(file)
	want := &Policy{
		Namespaces: map[string]PolicyRule{"my-ns": {Keys: []string{testKeyID}}},
		Packages:   map[string]PolicyRule{"my-ns:my-package": {Delegation: true}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestBadPolicies(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown table", "[namespaces.a]\n", "p:1:2: unknown key `namespaces`; did you mean `namespace`?"},
		{"unknown key", "[namespace.a]\nkeys = []\ndelegate = true\n", "p:3:1: unknown key `namespace.a.delegate`"},
		{"no keys", "[namespace.a]\ndelegation = true\n", "p:1:12: namespace `a` needs keys, a list of key ids"},
		{"bad namespace", "[namespace.A]\nkeys = []\n", "p:1:12: the name of the namespace is not a namespace (lower-case words joined by single hyphens): `A`"},
		{"bad package", "[package.a]\nkeys = []\n", "p:1:10: the name of the package is not one: invalid package name `a`"},
		{"key for an id", "[namespace.a]\nkeys = [\"ecdsa-p256:x\"]\n", "p:2:9: an entry of keys is a key where its id is wanted; `entrepot key id FILE` and `entrepot key of URL` print ids"},
		{"not TOML", "[namespace.a\n", "p:1:13: "},
		{"delegation", "[namespace.a]\nkeys = []\ndelegation = 1\n", "p:3:14: delegation must be true or false, not a whole number `1`"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parsePolicy("p", []byte(test.text))
			var list *Error
			if !errors.As(err, &list) || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if _, err := LoadPolicy(filepath.Join(t.TempDir(), "gone")); err == nil || !strings.HasSuffix(err.Error(), "gone: reading the policy file: no such file or directory") {
		t.Errorf("got %v for a missing file", err)
	}
}
