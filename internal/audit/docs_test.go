package audit

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestEventsAreExplained: every kind of event has its row for operators, every row a
// kind, and every field a word there.
func TestEventsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	must(t, err)
	_, section, ok := strings.Cut(string(text), "| event in the audit log |")
	if !ok {
		t.Fatal("docs/operating.md has no table of the audit log's events")
	}
	section, _, _ = strings.Cut(section, "\n\n")
	explained := map[string]bool{}
	for line := range strings.Lines(section) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		for i, word := range strings.Split(cell, "`") {
			if i%2 == 1 {
				explained[word] = true
			}
		}
	}
	for _, k := range Kinds() {
		if !explained[string(k)] {
			t.Errorf("docs/operating.md does not explain `%s`", k)
		}
		delete(explained, string(k))
	}
	for word := range explained {
		t.Errorf("docs/operating.md explains `%s`, which is no kind of event", word)
	}
	_, chapter, _ := strings.Cut(string(text), "### The audit log")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	for i := range reflect.TypeFor[Event]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[Event]().Field(i).Tag.Get("json"), ",")
		if name == "event" || name == "domain" { // the table's own word; as in the server's log
			continue
		}
		if !strings.Contains(chapter, "`"+name+"`") {
			t.Errorf("docs/operating.md does not say what `%s` is", name)
		}
	}
}
