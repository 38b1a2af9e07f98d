package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testsOf returns the tests and fuzz targets of every package.
func testsOf(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	form := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	files, err := filepath.Glob(filepath.Join(root, "*", "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{"*/*/*_test.go", "*/*/*/*_test.go"} {
		deeper, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(below)))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, deeper...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.ToSlash(dir)
		if all[dir] == nil {
			all[dir] = map[string]bool{}
		}
		for _, m := range form.FindAllStringSubmatch(string(text), -1) {
			all[dir][m[1]] = true
		}
	}
	return all
}

// TestPromises: every promise of docs/promises.md says its limits and who holds it, and
// the tests, stories and suites that it names exist.
func TestPromises(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "promises.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOf(t)
	sections := strings.Split(string(text), "\n## ")[1:]
	const promises = 18
	if len(sections) != promises+1 {
		t.Fatalf("%d sections, want %d promises and what is not promised", len(sections), promises)
	}
	for i, section := range sections[:promises] {
		title, body, _ := strings.Cut(section, "\n")
		if want := fmt.Sprintf("G%d ", i+1); !strings.HasPrefix(title, want) {
			t.Errorf("promise %d is %q", i+1, title)
		}
		if !strings.Contains(body, "*Limits:*") {
			t.Errorf("%s: it does not say its limits", title)
		}
		named, dir := 0, ""
		for line := range strings.Lines(body) {
			if !strings.HasPrefix(line, "* `") {
				continue
			}
			for _, word := range ticked(line) {
				switch suite, isMake := strings.CutPrefix(word, "make "); {
				case isMake:
					named++
					if !strings.Contains(string(makefile), "\n"+suite+":") {
						t.Errorf("%s: there is no `%s`", title, word)
					}
				case strings.HasSuffix(word, ".txtar"):
					named++
					if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(word))); err != nil {
						t.Errorf("%s: %v", title, err)
					}
				case strings.HasPrefix(word, "Test"):
					named++
					if !tests[dir][word] {
						t.Errorf("%s: there is no %s in %s", title, word, dir)
					}
				default:
					dir = word
					if tests[dir] == nil {
						t.Errorf("%s: there are no tests in %s", title, dir)
					}
				}
			}
		}
		if named == 0 {
			t.Errorf("%s: nobody holds it", title)
		}
	}
}
