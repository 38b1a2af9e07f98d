package testkit

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// loggedWords reads the table of the log's words in docs/operating.md.
func loggedWords(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "| word in the log |")
	if !ok {
		t.Fatal("docs/operating.md has no table of the log's words")
	}
	section, _, _ = strings.Cut(section, "\n\n")
	words := map[string]bool{}
	for line := range strings.Lines(section) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		for _, w := range ticked(cell) {
			words[w] = false
		}
	}
	if len(words) < 10 {
		t.Fatalf("the table of the log's words has %d rows; is it still a table?", len(words))
	}
	return words
}

// isLevel reports whether a logger's method takes a message and pairs.
func isLevel(name string) bool {
	return slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, name)
}

// logKeys returns the keys of the attributes that a call logs.
func logKeys(call *ast.CallExpr) (keys []string) {
	text := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, _ := strconv.Unquote(lit.Value)
			keys = append(keys, s)
		}
	}
	fun, method := call.Fun.(*ast.SelectorExpr)
	if !method {
		if name := lastName(call.Fun); name != "level" { // a logger's method as a value
			return nil
		}
		fun = &ast.SelectorExpr{X: ast.NewIdent("log"), Sel: ast.NewIdent("Info")}
	}
	if pkg, ok := fun.X.(*ast.Ident); ok && pkg.Name == "slog" {
		if len(call.Args) == 2 && fun.Sel.Name != "New" { // slog.String("key", value) and its like
			text(call.Args[0])
		}
		return keys
	}
	if name := lastName(fun.X); !isLevel(fun.Sel.Name) || !strings.EqualFold(name, "log") {
		return nil
	}
	for i := 1; i < len(call.Args); i += 2 {
		text(call.Args[i])
	}
	return keys
}

// lastName returns the last name of an expression like a.b.c.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// TestLoggedWords: every attribute of a log line has a word of the table, every word
// of the table is used, and none is one that the logger itself writes.
func TestLoggedWords(t *testing.T) {
	words := loggedWords(t)
	form := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.dir, "e2e") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, key := range logKeys(call) {
				if _, known := words[key]; !known {
					t.Errorf("%s: logs %q, which is not in docs/operating.md", s.fset.Position(call.Pos()), key)
					continue
				}
				words[key] = true
			}
			return true
		})
	}
	for _, w := range slices.Sorted(maps.Keys(words)) {
		switch {
		case !words[w]:
			t.Errorf("docs/operating.md explains %q, which nothing logs", w)
		case !form.MatchString(w):
			t.Errorf("%q is not written in small letters and underscores", w)
		case slices.Contains([]string{"time", "level", "msg", "source", "err"}, w):
			t.Errorf("%q is taken, or short for another word", w)
		}
	}
}
