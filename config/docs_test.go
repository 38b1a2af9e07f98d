package config

import (
	"os"
	"strings"
	"testing"
)

// Every key is explained under its table in docs/configuration.md, and nothing else
// is.
func TestEveryKeyIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{"At the top": {}}
	note := func(section string, fields []field) {
		if known[section] == nil {
			known[section] = map[string]bool{}
		}
		for _, f := range fields {
			known[section][f.key] = true
		}
	}
	for _, kind := range kinds() {
		note("`[upstream.\"NAME\"]`", newUpstream("", kind).fields())
	}
	note("`[[access.rule]]`", new(AccessRule).fields())
	schema := defaults("/").schema()
	note("At the top", schema.fields)
	for _, s := range schema.tables {
		if s.table != nil {
			note("`["+s.name+"]`", s.table.fields)
		}
	}
	found := map[string]map[string]bool{}
	section := ""
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
			section = strings.TrimSpace(name)
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if found[section] == nil {
			found[section] = map[string]bool{}
		}
		for i, word := range strings.Split(strings.Split(line, "|")[1], "`") {
			if i%2 == 1 {
				found[section][word] = true
			}
		}
	}
	for section, keys := range known {
		for key := range keys {
			if !found[section][key] {
				t.Errorf("%s: `%s` is not explained", section, key)
			}
		}
	}
	for section, keys := range found {
		for key := range keys {
			if !known[section][key] {
				t.Errorf("%s: `%s` is explained and does not exist", section, key)
			}
		}
	}
}
