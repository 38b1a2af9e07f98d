package config

import (
	"cmp"
	"fmt"
	"strings"
)

func (t table) field(name string) (field, bool) {
	for _, f := range t.fields {
		if f.key == name {
			return f, true
		}
	}
	return field{}, false
}

func (t table) subtable(name string) (subtable, bool) {
	for _, s := range t.tables {
		if s.name == name {
			return s, true
		}
	}
	return subtable{}, false
}

// unknown is the complaint about a key that the table does not have.
func (t table) unknown(name string, path []string) string {
	if t.foreign != nil {
		if better := t.foreign(name); better != "" {
			return better
		}
	}
	return fmt.Sprintf("unknown key `%s`%s", strings.Join(path, "."), t.suggest(name))
}

// suggest returns the known name that is nearest to an unknown one, as the end of
// a sentence, or nothing if none is near.
func (t table) suggest(name string) string {
	const near = 3 // edits; more are another word
	best, found := near, ""
	for _, f := range t.fields {
		if d := distance(name, f.key); d < best {
			best, found = d, f.key
		}
	}
	for _, s := range t.tables {
		if d := distance(name, s.name); d < best {
			best, found = d, s.name
		}
	}
	if found == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean `%s`?", found)
}

// distance is the number of insertions, deletions and replacements of bytes that
// turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// compare orders sources: the file by place, then variables and flags by name.
func (s Source) compare(o Source) int {
	inFile := func(s Source) int {
		if s.Line > 0 {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(inFile(s), inFile(o)), cmp.Compare(s.Line, o.Line),
		cmp.Compare(s.Column, o.Column), cmp.Compare(s.Name, o.Name))
}
