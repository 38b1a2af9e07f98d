package warg

import (
	"cmp"
	"strconv"
	"strings"
)

// Version is a release's version after SemVer 2.0.0, strictly: three numbers of
// 64 bits, then optionally "-" with a pre-release and "+" with build metadata.
//
// Two versions are the same release only if all five parts are equal, build
// metadata included, so Version may be compared with == and used as a map key.
// The zero value is no version.
type Version struct {
	text                string
	major, minor, patch uint64
	pre, build          string
}

// ParseVersion reads a version. What it accepts prints back the same.
func ParseVersion(s string) (Version, error) {
	v := Version{text: s}
	fail := func(what string) (Version, error) {
		return Version{}, parseErr("InvalidVersion", "invalid version `%s`: %s", s, what)
	}
	core, build, hasBuild := strings.Cut(s, "+")
	core, pre, hasPre := strings.Cut(core, "-")
	numbers := strings.Split(core, ".")
	if len(numbers) != 3 {
		return fail("expected three numbers separated by periods")
	}
	for i, n := range []*uint64{&v.major, &v.minor, &v.patch} {
		var ok bool
		if *n, ok = parseVersionNumber(numbers[i]); !ok {
			return fail("`" + numbers[i] + "` is not a number of 64 bits without leading zeros")
		}
	}
	if hasPre && !validSegments(pre, true) {
		return fail("the pre-release has an empty or invalid part")
	}
	if hasBuild && !validSegments(build, false) {
		return fail("the build metadata has an empty or invalid part")
	}
	v.pre, v.build = pre, build
	return v, nil
}

// parseVersionNumber reads a decimal number without sign, space or leading zero.
func parseVersionNumber(s string) (uint64, bool) {
	if !allDigits(s) || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// validSegments reports whether s is one or more non-empty segments of letters,
// digits and hyphens. In a pre-release, numbers must not have a leading zero.
func validSegments(s string, preRelease bool) bool {
	for segment := range strings.SplitSeq(s, ".") {
		if segment == "" || strings.IndexFunc(segment, notSegmentRune) >= 0 {
			return false
		}
		if preRelease && len(segment) > 1 && segment[0] == '0' && allDigits(segment) {
			return false
		}
	}
	return true
}

func notSegmentRune(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && r != '-' && (r < '0' || r > '9')
}

func allDigits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// String returns the text the version was read from, or "" for the zero value.
func (v Version) String() string { return v.text }

// IsZero reports whether v is the zero value, which is no version.
func (v Version) IsZero() bool { return v.text == "" }

// PreRelease returns what follows the hyphen, or "".
func (v Version) PreRelease() string { return v.pre }

// Compare orders versions by the numbers, then the pre-release, then the build
// metadata. A version without pre-release follows those with one, and one
// without build metadata precedes those with it. Only equal versions compare
// as 0.
func (v Version) Compare(o Version) int {
	return cmp.Or(
		cmp.Compare(v.major, o.major),
		cmp.Compare(v.minor, o.minor),
		cmp.Compare(v.patch, o.patch),
		comparePre(v.pre, o.pre),
		compareSegments(v.build, o.build),
	)
}

func comparePre(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	return compareSegments(a, b)
}

// compareSegments orders dot-separated lists segment by segment; the empty list
// comes first, and a list precedes those that it is a prefix of.
func compareSegments(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := compareSegment(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// compareSegment puts numbers before words, orders numbers by value and then by
// length (leading zeros are possible in build metadata), and words by ASCII.
func compareSegment(x, y string) int {
	xn, yn := allDigits(x), allDigits(y)
	switch {
	case xn && yn:
		xs, ys := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		return cmp.Or(cmp.Compare(len(xs), len(ys)), cmp.Compare(xs, ys), cmp.Compare(len(x), len(y)))
	case xn:
		return -1
	case yn:
		return 1
	}
	return cmp.Compare(x, y)
}

// MarshalText implements [encoding.TextMarshaler].
func (v Version) MarshalText() ([]byte, error) { return []byte(v.text), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (v *Version) UnmarshalText(b []byte) (err error) {
	*v, err = ParseVersion(string(b))
	return err
}
