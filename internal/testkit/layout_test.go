package testkit

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/entrepot/entrepot"
)

// source is one parsed Go file of the module.
type source struct {
	path string // relative to the module's root, slash-separated
	dir  string
	file *ast.File
	fset *token.FileSet
	test bool
}

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go"):
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		all = append(all, source{rel, path.Dir(rel), f, fset, strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: is the module's root %s?", len(all), root)
	}
	return all
}

// rule is one row of the import table: packages matching pattern may import these.
type rule struct {
	pattern  string
	ours     []string
	foreign  []string
	matched  bool
	anything bool
}

// importTable reads the table below the heading "Who may import whom".
func importTable(t *testing.T) []*rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "## Who may import whom")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no section \"Who may import whom\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rules []*rule
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.Contains(cells[0], "`") {
			continue
		}
		r := &rule{ours: ticked(cells[1]), foreign: ticked(cells[2]), anything: strings.Contains(cells[1], "everything")}
		for _, p := range ticked(cells[0]) {
			one := *r
			one.pattern = p
			rules = append(rules, &one)
		}
	}
	if len(rules) < 8 {
		t.Fatalf("the import table has %d rows; is it still a table?", len(rules))
	}
	return rules
}

// ticked returns the words between backticks.
func ticked(s string) []string {
	var words []string
	for i, part := range strings.Split(s, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	return words
}

// matches reports whether pkg is pattern or, if pattern ends in "/...", below it.
func matches(pattern, pkg string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return pkg == base || below && strings.HasPrefix(pkg, base+"/")
}

// TestImports compares the imports of all non-test files with the table.
func TestImports(t *testing.T) {
	rules := importTable(t)
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.dir, "e2e") {
			continue
		}
		r := ruleFor(rules, s.dir)
		if r == nil {
			t.Errorf("%s: package %s has no row in ARCHITECTURE.md's import table", s.path, s.dir)
			continue
		}
		r.matched = true
		for _, spec := range s.file.Imports {
			checkImport(t, s, r, spec)
		}
	}
	for _, r := range rules {
		if !r.matched {
			t.Errorf("the import table has a row for %s, but there is no such package", r.pattern)
		}
	}
}

// ruleFor returns the row with the longest pattern that matches.
func ruleFor(rules []*rule, pkg string) *rule {
	var best *rule
	for _, r := range rules {
		if matches(r.pattern, pkg) && (best == nil || len(r.pattern) > len(best.pattern)) {
			best = r
		}
	}
	return best
}

func checkImport(t *testing.T, s source, r *rule, spec *ast.ImportSpec) {
	t.Helper()
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		t.Fatal(err)
	}
	ours, isOurs := strings.CutPrefix(p, module+"/")
	allowed := r.foreign
	switch {
	case isOurs && (r.anything || topOf(ours) == topOf(s.dir) && topOf(ours) != "internal"):
		return // packages of one folder know each other
	case isOurs:
		p, allowed = ours, r.ours
	case !strings.Contains(strings.Split(p, "/")[0], "."):
		return // standard library
	}
	if !slices.ContainsFunc(allowed, func(a string) bool { return matches(a+"/...", p) || matches(a, p) }) {
		t.Errorf("%s imports %s, which the row of %s does not allow", s.path, p, r.pattern)
	}
}

// topOf returns the first element of a package's path in the module.
func topOf(pkg string) string {
	top, _, _ := strings.Cut(pkg, "/")
	return top
}

// TestE2EImportsNothingOfOurs: black-box tests must not share code with what they judge.
func TestE2EImportsNothingOfOurs(t *testing.T) {
	for _, s := range sources(t) {
		if !strings.HasPrefix(s.dir, "e2e") {
			continue
		}
		for _, spec := range s.file.Imports {
			if p, _ := strconv.Unquote(spec.Path.Value); strings.HasPrefix(p, module) {
				t.Errorf("%s imports %s", s.path, p)
			}
		}
	}
}

// TestPackageDocs: every package is explained in exactly one file.
func TestPackageDocs(t *testing.T) {
	docs := map[string][]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if _, seen := docs[s.dir]; !seen {
			docs[s.dir] = nil
		}
		if s.file.Doc != nil {
			docs[s.dir] = append(docs[s.dir], s.path)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		if len(docs[dir]) != 1 {
			t.Errorf("package %s is documented in %d files %v; want 1", dir, len(docs[dir]), docs[dir])
		}
	}
}

const (
	maxFileLines = 500
	maxFuncLines = 80
	maxMainLines = 20
	maxParams    = 5
)

// TestSizes: long files and functions need a reason, given in a comment that
// begins with "size:" in the function's doc or in the file.
func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		end := s.fset.Position(s.file.End()).Line
		if end > maxFileLines && !hasReason(s.file.Comments...) {
			t.Errorf("%s has %d lines; want at most %d", s.path, end, maxFileLines)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				checkFunc(t, s, f)
			}
		}
	}
}

func checkFunc(t *testing.T, s source, f *ast.FuncDecl) {
	t.Helper()
	lines := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
	limit := maxFuncLines
	if f.Name.Name == "main" && f.Recv == nil {
		limit = maxMainLines
	}
	where := fmt.Sprintf("%s: %s", s.path, f.Name.Name)
	if lines > limit && !hasReason(f.Doc) {
		t.Errorf("%s has %d lines; want at most %d", where, lines, limit)
	}
	if n := f.Type.Params.NumFields(); n > maxParams && !hasReason(f.Doc) {
		t.Errorf("%s has %d parameters; want at most %d", where, n, maxParams)
	}
}

func hasReason(groups ...*ast.CommentGroup) bool {
	return slices.ContainsFunc(groups, func(g *ast.CommentGroup) bool {
		return g != nil && strings.Contains(g.Text(), "size:")
	})
}

// TestFuzzTargetsHaveSeeds: a target without seeds starts from nothing, and
// nobody notices.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	targets := 0
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !s.test || !strings.HasPrefix(f.Name.Name, "Fuzz") || f.Recv != nil {
				continue
			}
			targets++
			corpus, _ := filepath.Glob(filepath.Join(root, s.dir, "testdata", "fuzz", f.Name.Name, "*"))
			if !callsAdd(f) && len(corpus) == 0 {
				t.Errorf("%s: %s has neither an f.Add nor files in testdata/fuzz", s.path, f.Name.Name)
			}
		}
	}
	if targets == 0 {
		t.Error("no fuzz targets found")
	}
}

func callsAdd(f *ast.FuncDecl) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.SelectorExpr:
			found = found || fun.Sel.Name == "Add"
		case *ast.Ident:
			found = found || strings.HasPrefix(fun.Name, "seed") || strings.HasPrefix(fun.Name, "addSeed")
		}
		return true
	})
	return found
}
