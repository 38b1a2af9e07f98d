package main

import (
	"fmt"

	"github.com/entrepot/entrepot/config"
)

// unserved complains about settings that are valid and that this build does not
// act on. Ignoring them would leave a server open, or silent, that its operator
// believes closed, or answering.
func unserved(c *config.Config) error {
	var list []config.Problem
	add := func(what string, path ...string) {
		list = append(list, config.Problem{Source: c.Where(path...), Message: what + ": not served by this version of entrepot yet"})
	}
	for _, u := range c.Upstreams {
		if u.Kind != config.KindWarg {
			add(fmt.Sprintf("upstream `%s` of kind `%s`", u.Domain, u.Kind), "upstream", u.Domain, "kind")
		}
	}
	if len(c.Prefetch.AllowedRepos) > 0 {
		add("hermetic requests ([prefetch])", "prefetch", "allowed_repos")
	}
	if c.Bridge.Enabled && c.Set("bridge", "enabled") {
		add("the bridge between Warg and OCI", "bridge", "enabled")
	}
	if c.Access.Read != "anonymous" {
		add("read = \"authenticated\"", "access", "read")
	}
	if c.Access.UsersFile != "" {
		add("users", "access", "users_file")
	}
	if c.Access.TokensFile != "" {
		add("robot tokens", "access", "tokens_file")
	}
	if len(c.Access.Rules) > 0 {
		add("access rules", "access", "rule", "0")
	}
	return config.Complain(list)
}
