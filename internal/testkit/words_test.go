package testkit

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// vagueWords are names that say nothing about what a thing is or does.
var vagueWords = regexp.MustCompile(`(Manager|Helper|Utils?|Impl)$`)

// TestNames: one word, one meaning; no getters that say Get.
func TestNames(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch d := n.(type) {
			case *ast.FuncDecl:
				if rest, ok := strings.CutPrefix(d.Name.Name, "Get"); ok && rest != "" && rest[0] >= 'A' && rest[0] <= 'Z' {
					t.Errorf("%s: %s begins with Get", s.path, d.Name.Name)
				}
			case *ast.TypeSpec:
				if vagueWords.MatchString(d.Name.Name) {
					t.Errorf("%s: type %s has a vague name", s.path, d.Name.Name)
				}
			}
			return true
		})
	}
}
