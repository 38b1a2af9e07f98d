package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/warg"
)

// Policy says which keys may publish where: the file that authority.policy_file
// names. Its format is that of the reference server's authorized keys:
//
//	[namespace.acme]
//	keys = ["sha256:…"]        # ids of keys that may publish anything in acme
//	delegation = false         # true: any key that the package's own log lets, but not to begin a package
//
//	[package."acme:tool"]
//	keys = ["sha256:…"]
//	delegation = true
//
// A record is allowed if the rule of its namespace or that of its package allows
// each of its entries. Namespaces and packages without a rule are closed.
type Policy struct {
	Namespaces map[string]PolicyRule
	Packages   map[string]PolicyRule // by "namespace:name"
}

// PolicyRule is one table of the file.
type PolicyRule struct {
	Keys       []string // key ids
	Delegation bool
}

// LoadPolicy reads a policy file. The error is an [*Error] with every complaint.
// Stricter than the reference, it refuses names and key ids that can never match.
func LoadPolicy(file string) (*Policy, error) {
	text, err := readFile(file)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, &Error{[]Problem{{Source{Name: file}, fmt.Sprintf("reading the policy file: %v", err)}}}
	}
	return parsePolicy(file, text)
}

func parsePolicy(file string, text []byte) (*Policy, error) {
	root, problem := parseTree(file, text)
	if problem != nil {
		return nil, &Error{[]Problem{*problem}}
	}
	p := &Policy{Namespaces: map[string]PolicyRule{}, Packages: map[string]PolicyRule{}}
	r := &reader{c: &Config{sources: map[string]Source{}}, folder: filepath.Dir(file)}
	r.table(table{tables: []subtable{
		{name: "namespace", named: policyRules("namespace", p.Namespaces, isNamespace)},
		{name: "package", named: policyRules("package", p.Packages, isPackageName)},
	}}, root)
	if err := Complain(r.problems); err != nil {
		return nil, err
	}
	return p, nil
}

func isPackageName(v string) error {
	if _, err := warg.ParsePackageName(v); err != nil {
		return fmt.Errorf("is not one: %w", err)
	}
	return nil
}

func policyRules(what string, into map[string]PolicyRule, ok check) func(*reader, string, *node) {
	return func(r *reader, name string, n *node) {
		if err := ok(name); err != nil {
			r.problems.add(n.key, "the name of the %s %v", what, err)
			return
		}
		var rule PolicyRule
		r.table(table{fields: []field{
			list("keys", &rule.Keys, isKeyID),
			flag("delegation", &rule.Delegation),
		}}, n, what, name)
		if n.child["keys"] == nil {
			r.problems.add(n.key, "%s `%s` needs keys, a list of key ids", what, name)
		}
		into[name] = rule
	}
}
