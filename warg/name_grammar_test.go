package warg

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// kebab judges a label as the reference does, by its own words: a machine that is fed
// one character after another. Words of the kebab rule are all in lower or all in upper
// case; that upper case is refused nevertheless comes on top.
type kebab int

const (
	wordBegins kebab = iota
	lowerWord
	upperWord
	noLabel
)

func (k kebab) feed(c rune) kebab {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	switch {
	case k == wordBegins && lower, k == lowerWord && (lower || digit):
		return lowerWord
	case k == wordBegins && upper, k == upperWord && (upper || digit):
		return upperWord
	case (k == lowerWord || k == upperWord) && c == '-':
		return wordBegins
	}
	return noLabel
}

// isLabel reports whether s may be a namespace or a name, by the reference's grammar.
func isLabel(s string) bool {
	state := wordBegins
	for _, c := range s {
		state = state.feed(c)
	}
	return (state == lowerWord || state == upperWord) && s == strings.ToLower(s)
}

// isName reports whether s is a package name, by the reference's grammar.
func isName(s string) bool {
	parts := strings.Split(s, ":")
	return len(parts) == 2 && isLabel(parts[0]) && isLabel(parts[1])
}

// hostileNames are names that somebody could take for others, or that do harm where
// they are printed, stored or asked for.
func hostileNames() []string {
	return []string{
		"foo:b\u0430r", "\uff46oo:bar", "foo\uff1abar", "foo:bar\u202e", "\u2066foo:bar", "foo:\u200bbar", "foo:b\u0301ar", "fo\u00adoo:bar",
		"foo:bar\x00", "foo:bar\n", "foo:\x1b[2Jbar", "foo:bar\r\nx: y", "\xff:\xfe", "foo:ba\xc3", "\ufefffoo:bar", "foo:bar\u2028",
		"foo%3abar", "foo:bar%2f..", "foo:../bar", "foo:bar%00", "foo:b\\ar", "foo:bar?x", "foo:bar#x", "foo: bar", " foo:bar", "foo:bar ", "foo:bar\t",
		"foo:bar:baz", ":foo", "foo:", ":", "-:-", "a-:b", "a:-b", "a--b:c", "A:B", "FOO-bar:x", "foo:bar-BAZ", "foo:\u0131", "foo:\u212a", "foo:\u017f",
		"foo:" + strings.Repeat("a", 10_000), strings.Repeat("a-", 5_000) + "a:b", strings.Repeat("a", 10_000), strings.Repeat(":", 10_000), "con:nul", "foo:.", "foo:..",
	}
}

// sameVerdict fails where the parser and the grammar differ.
func sameVerdict(t *testing.T, s string) {
	t.Helper()
	n, err := ParsePackageName(s)
	if want := isName(s); want != (err == nil) {
		t.Errorf("%.100q: the grammar says %v, the parser: %v", s, want, err)
	}
	if err == nil && (n.String() != s || n.Namespace()+":"+n.Name() != s || !utf8.ValidString(s)) {
		t.Errorf("%.100q was read as %q and %q", s, n.Namespace(), n.Name())
	}
	if want := isLabel(s); want != ValidNamespace(s) {
		t.Errorf("%.100q: the grammar says %v of a namespace", s, want)
	}
}

// FuzzPackageNameGrammar: what is a name is decided twice, in different ways, and the
// same way each time.
func FuzzPackageNameGrammar(f *testing.F) {
	addSeeds(f, "name")
	for _, s := range hostileNames() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sameVerdict(t, s)
		sameVerdict(t, "foo:"+s)
		sameVerdict(t, s+":bar")
	})
}

// TestNameGrammar: the grammar agrees with the reference's answers, and the parser with
// the grammar about every short string of the characters that matter.
func TestNameGrammar(t *testing.T) {
	type nameCase struct{ In, Err string }
	known := 0
	for _, c := range ReadGroup[[]*nameCase](t, "name") {
		if c == nil {
			continue
		}
		if known++; isName(c.In) != (c.Err == "") {
			t.Errorf("%q: the reference says %q", c.In, c.Err)
		}
	}
	if known < 10 {
		t.Fatalf("%d known answers", known)
	}
	const longest = 6
	alphabet := []string{"a", "z", "0", "-", ":", "A", "_", "é"}
	names, all := 0, []string{""}
	for len(all) > 0 {
		s := all[len(all)-1]
		all = all[:len(all)-1]
		if sameVerdict(t, s); isName(s) {
			names++
		}
		if utf8.RuneCountInString(s) == longest || t.Failed() {
			continue
		}
		for _, c := range alphabet {
			all = append(all, s+c)
		}
	}
	if names < 500 {
		t.Errorf("%d names among the short strings", names)
	}
}
