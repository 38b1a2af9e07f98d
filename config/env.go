package config

import (
	"maps"
	"slices"
	"strings"
)

// envPrefix begins the name of every variable that is looked at.
const envPrefix = "ENTREPOT_"

// EnvName returns the environment variable of a setting.
func EnvName(path ...string) string {
	return envPrefix + strings.ToUpper(strings.Join(path, "_"))
}

// environment stores the scalars that variables set. A variable with the prefix
// that is no setting gets a warning, not an error: container platforms inject
// variables named after services ("ENTREPOT_PORT_8090_TCP").
func (r *reader) environment(env []string) {
	known := map[string]setting{}
	for _, s := range r.c.scalars() {
		known[EnvName(s.path...)] = s
	}
	for _, line := range env {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" {
			continue
		}
		s, ok := known[name]
		if !ok {
			(*problems)(&r.c.Warnings).add(Source{Name: name}, "is not a setting and has no effect")
			continue
		}
		r.override(s, Source{Name: name}, value)
	}
}

// flags stores settings given on the command line.
func (r *reader) flags(flags map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		f, ok := r.c.schema().field(key)
		if !ok {
			panic("config: flag for an unknown key " + key)
		}
		at := Source{Name: "--" + strings.ReplaceAll(key, "_", "-")}
		r.override(setting{[]string{key}, f}, at, flags[key])
	}
}

func (r *reader) override(s setting, at Source, value string) {
	r.c.sources[join(s.path...)] = at
	if err := s.set(value, r.folder); err != nil {
		r.problems.add(at, "%s %v", strings.Join(s.path, "."), err)
	}
}

// setting is a field with its path.
type setting struct {
	path []string
	field
}

// scalars returns every scalar setting that may stand in the environment: all but
// those of upstreams and rules, which have no fixed names.
func (c *Config) scalars() []setting {
	var all []setting
	var walk func(t table, path []string)
	walk = func(t table, path []string) {
		for _, f := range t.fields {
			if f.kind != kindArray {
				all = append(all, setting{append(slices.Clone(path), f.key), f})
			}
		}
		for _, s := range t.tables {
			if s.table != nil {
				walk(*s.table, append(slices.Clone(path), s.name))
			}
		}
	}
	walk(c.schema(), nil)
	return all
}
