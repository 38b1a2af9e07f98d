package warg

import "strings"

// PackageName is a valid package name, "namespace:name". The zero value is no name.
type PackageName struct {
	text  string
	colon int
}

// ParsePackageName reads "namespace:name"; both parts are labels as
// [ValidNamespace] describes.
func ParsePackageName(s string) (PackageName, error) {
	ns, name, ok := strings.Cut(s, ":")
	if !ok || !validLabel(ns) || !validLabel(name) {
		return PackageName{}, parseErr("InvalidPackageName",
			"invalid package name `%s`: expected format is `<namespace>:<name>` using lowercased characters", s)
	}
	return PackageName{text: s, colon: len(ns)}, nil
}

// Namespace returns the part before the colon.
func (n PackageName) Namespace() string { return n.text[:n.colon] }

// Name returns the part after the colon.
func (n PackageName) Name() string {
	if n.text == "" {
		return ""
	}
	return n.text[n.colon+1:]
}

// String returns "namespace:name".
func (n PackageName) String() string { return n.text }

// IsZero reports whether n is the zero value.
func (n PackageName) IsZero() bool { return n.text == "" }

// LogID returns the id of the package's log.
func (n PackageName) LogID() LogID { return PackageLogID(n) }

// MarshalText implements [encoding.TextMarshaler].
func (n PackageName) MarshalText() ([]byte, error) { return []byte(n.text), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *PackageName) UnmarshalText(b []byte) (err error) {
	*n, err = ParsePackageName(string(b))
	return err
}

// ValidNamespace reports whether s may be a namespace: words joined by single
// hyphens, each a lower-case ASCII letter followed by lower-case letters or digits.
func ValidNamespace(s string) bool { return validLabel(s) }

func validLabel(s string) bool {
	for word := range strings.SplitSeq(s, "-") {
		if !validWord(word) {
			return false
		}
	}
	return true
}

func validWord(w string) bool {
	for i := range len(w) {
		letter := w[i] >= 'a' && w[i] <= 'z'
		digit := i > 0 && w[i] >= '0' && w[i] <= '9'
		if !letter && !digit {
			return false
		}
	}
	return w != ""
}
