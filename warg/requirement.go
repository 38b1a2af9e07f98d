package warg

import (
	"strings"
)

// maxComparators is how many comparators a requirement may have; the protocol's
// clients refuse more.
const maxComparators = 32

// Requirement says which versions will do, in the notation of Cargo: "1.2" is
// anything compatible with it, "=1.2.3" exactly that, ">=1, <3" a range, "*"
// any release. The zero value matches nothing.
type Requirement struct {
	text        string
	any         bool
	comparators []comparator
}

// operator is how a comparator compares.
type operator uint8

const (
	opCaret operator = iota // the default
	opExact
	opGreater
	opGreaterEq
	opLess
	opLessEq
	opTilde
)

// comparator is one condition. parts tells how many of the numbers were given.
type comparator struct {
	op                  operator
	parts               int
	major, minor, patch uint64
	pre                 string
}

// ParseRequirement reads a requirement. It keeps the text, so that printing
// gives the same bytes.
func ParseRequirement(s string) (Requirement, error) {
	r := Requirement{text: s}
	if isWildcard(strings.Trim(s, " ")) {
		r.any = true
		return r, nil
	}
	if strings.Count(s, ",") >= maxComparators {
		return Requirement{}, parseErr("InvalidRequirement", "invalid requirement `%s`: more than %d comparators", s, maxComparators)
	}
	for part := range strings.SplitSeq(s, ",") {
		c, ok := parseComparator(strings.Trim(part, " "))
		if !ok {
			return Requirement{}, parseErr("InvalidRequirement", "invalid requirement `%s`: `%s` is not a comparator", s, part)
		}
		r.comparators = append(r.comparators, c)
	}
	return r, nil
}

func isWildcard(s string) bool { return s == "*" || s == "x" || s == "X" }

func parseComparator(s string) (comparator, bool) {
	op, rest := cutOperator(s)
	c := comparator{op: op}
	rest = strings.TrimLeft(rest, " ")

	core, build, hasBuild := strings.Cut(rest, "+")
	core, pre, hasPre := strings.Cut(core, "-")
	numbers := strings.Split(core, ".")
	if len(numbers) > 3 {
		return c, false
	}
	wild := false
	for i, n := range []*uint64{&c.major, &c.minor, &c.patch}[:len(numbers)] {
		if i > 0 && isWildcard(numbers[i]) {
			wild = true
			continue
		}
		var ok bool
		if *n, ok = parseVersionNumber(numbers[i]); !ok || wild {
			return c, false
		}
		c.parts++
	}
	if wild && len(rest) == len(s) {
		c.op = opExact // "1.*" without an operator is exact on what is given
	}
	if hasPre && (c.parts < 3 || !validSegments(pre, true)) ||
		hasBuild && (c.parts < 3 || !validSegments(build, false)) {
		return c, false
	}
	c.pre = pre
	return c, true
}

// cutOperator removes an operator from the front of s.
func cutOperator(s string) (operator, string) {
	for _, o := range []struct {
		text string
		op   operator
	}{{">=", opGreaterEq}, {"<=", opLessEq}, {">", opGreater}, {"<", opLess}, {"=", opExact}, {"~", opTilde}, {"^", opCaret}} {
		if rest, ok := strings.CutPrefix(s, o.text); ok {
			return o.op, rest
		}
	}
	return opCaret, s
}

// String returns the text the requirement was read from.
func (r Requirement) String() string { return r.text }

// Matches reports whether v fulfils every comparator. A pre-release matches only
// if a comparator names a pre-release of the same three numbers: nobody gets an
// unfinished version without asking for it.
func (r Requirement) Matches(v Version) bool {
	if r.any {
		return v.pre == "" && !v.IsZero()
	}
	asked := v.pre == ""
	for _, c := range r.comparators {
		if !c.matches(v) {
			return false
		}
		asked = asked || c.pre != "" && c.major == v.major && c.minor == v.minor && c.patch == v.patch
	}
	return asked && len(r.comparators) > 0 && !v.IsZero()
}

func (c comparator) matches(v Version) bool {
	switch c.op {
	case opExact:
		return c.exact(v)
	case opGreater:
		return c.order(v) > 0
	case opGreaterEq:
		return c.exact(v) || c.order(v) > 0
	case opLess:
		return c.order(v) < 0
	case opLessEq:
		return c.exact(v) || c.order(v) < 0
	case opTilde:
		return c.tilde(v)
	default:
		return c.caret(v)
	}
}

// exact reports whether the given parts are equal, and the pre-release.
func (c comparator) exact(v Version) bool {
	return c.major == v.major &&
		(c.parts < 2 || c.minor == v.minor) &&
		(c.parts < 3 || c.patch == v.patch) &&
		c.pre == v.pre
}

// order compares v with the comparator by the parts that are given; 0 if v is
// neither before nor after all that the comparator stands for.
func (c comparator) order(v Version) int {
	full := Version{major: c.major, minor: c.minor, patch: c.patch, pre: c.pre}
	v.build = ""
	if c.parts < 3 {
		v.patch, v.pre = 0, ""
	}
	if c.parts < 2 {
		v.minor = 0
	}
	return v.Compare(full)
}

// atLeastPatch reports whether v's patch and pre-release reach the comparator's.
func (c comparator) atLeastPatch(v Version) bool {
	if v.patch != c.patch {
		return v.patch > c.patch
	}
	return comparePre(v.pre, c.pre) >= 0
}

func (c comparator) tilde(v Version) bool {
	switch {
	case v.major != c.major || c.parts > 1 && v.minor != c.minor:
		return false
	case c.parts < 3:
		return v.pre == ""
	}
	return c.atLeastPatch(v)
}

func (c comparator) caret(v Version) bool {
	switch {
	case v.major != c.major:
		return false
	case c.parts == 1:
		return true
	case c.parts == 2 && c.major > 0:
		return v.minor >= c.minor
	case c.parts == 2:
		return v.minor == c.minor
	case c.major > 0 && v.minor != c.minor:
		return v.minor > c.minor
	case c.major > 0:
		return c.atLeastPatch(v)
	case v.minor != c.minor:
		return false
	case c.minor > 0:
		return c.atLeastPatch(v)
	}
	return v.patch == c.patch && comparePre(v.pre, c.pre) >= 0
}
