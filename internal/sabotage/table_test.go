package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fewest is how many mutants there must be at least.
const fewest = 60

// TestTable compares the tables with the tree: every old text stands in its file
// exactly once, what replaces it parses, and the test that notices exists.
func TestTable(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	list, names, short := all(), map[string]bool{}, 0
	promise := regexp.MustCompile(`^G([1-9]|1[0-8])$`)
	tests := map[string]map[string]bool{}
	for _, m := range list {
		text, err := m.mutate(root)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, text, parser.SkipObjectResolution); err != nil {
			t.Errorf("mutant %q does not parse: %v", m.name, err)
		}
		if tests[m.pkg] == nil {
			tests[m.pkg] = testsOf(t, filepath.Join(root, filepath.FromSlash(m.pkg)))
		}
		top, _, _ := strings.Cut(m.test, "/")
		switch {
		case names[m.name]:
			t.Errorf("two mutants are named %q", m.name)
		case !promise.MatchString(m.promise):
			t.Errorf("mutant %q breaks promise %q, which nobody made", m.name, m.promise)
		case !tests[m.pkg][top]:
			t.Errorf("mutant %q is to be noticed by %s, which is not in %s", m.name, top, m.pkg)
		}
		names[m.name] = true
		if m.short {
			short++
		}
	}
	if len(list) < fewest {
		t.Errorf("there are %d mutants; want %d at least", len(list), fewest)
	}
	if short < 8 || short > 12 {
		t.Errorf("the short form has %d mutants; want about ten", short)
	}
}

// testsOf returns the names of the tests in a folder.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				found[fn.Name.Name] = true
			}
		}
	}
	return found
}

// TestMutate: a text that stands in its file not at all, or twice, is a mistake.
func TestMutate(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("package a // one two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		old, new string
		want     string // "" = an error
	}{
		{"one", "1", "package a // 1 two two"},
		{"two", "2", ""},
		{"three", "3", ""},
		{"one", "one", ""},
	} {
		got, err := mutant{name: "m", file: "a.go", old: c.old, new: c.new}.mutate(root)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("replacing %q by %q: %q, %v", c.old, c.new, got, err)
		}
	}
	if _, err := (mutant{file: "b.go", old: "a", new: "b"}).mutate(root); err == nil {
		t.Error("a file that does not exist was changed")
	}
}

// TestPattern: the pattern of a test matches that test alone.
func TestPattern(t *testing.T) {
	for name, want := range map[string]string{"TestA": "^TestA$", "TestA/a_case": "^TestA$/^a_case$"} {
		if got := (mutant{test: name}).pattern(); got != want {
			t.Errorf("pattern of %s is %s; want %s", name, got, want)
		}
	}
}

// TestFailures: only what names a failed test, or panics in one, is a catch.
func TestFailures(t *testing.T) {
	for out, want := range map[string]string{
		"=== RUN   TestA\n--- FAIL: TestA (0.00s)\nFAIL\n":               "TestA",
		"=== RUN   TestA\n    --- FAIL: TestA/b (0.00s)\nFAIL\n":         "",
		"=== RUN   TestA\n=== RUN   TestA/b\npanic: oh\n\ngoroutine 1\n": "TestA/b (panic)",
		"=== RUN   TestA\n\nfatal error: all goroutines are asleep\n":    "TestA (panic)",
		"# pkg\n./a.go:1:1: undefined: x\nFAIL pkg [build failed]\n":     "",
		"=== RUN   TestA\n--- PASS: TestA (0.00s)\nPASS\n":               "",
	} {
		if got := strings.Join(failures(out), " "); got != want {
			t.Errorf("failures of %q: %q; want %q", out, got, want)
		}
	}
}
