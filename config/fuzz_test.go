package config

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
)

// FuzzPolicy: a file of rules is read, or complained about with a place.
func FuzzPolicy(f *testing.F) {
	f.Add("[namespace.acme]\nkeys = [\"sha256:" + strings.Repeat("a", 64) + "\"]\ndelegation = true\n")
	f.Add("[package.\"acme:tool\"]\nkeys = []\n")
	f.Add("[namespace]\nacme = 5\n")
	f.Add("[namespace.\"A B\"]\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePolicy("f", []byte(text))
		if (p == nil) == (err == nil) {
			t.Fatalf("policy %v, error %v", p, err)
		}
		if err == nil {
			for name := range p.Packages {
				if isPackageName(name) != nil {
					t.Errorf("a rule for package %q", name)
				}
			}
			return
		}
		var bad *Error
		ok := errors.As(err, &bad)
		if !ok || len(bad.Problems) == 0 {
			t.Fatalf("complaint of type %T: %v", err, err)
		}
		for _, problem := range bad.Problems {
			if problem.Line < 1 || problem.Column < 1 || strings.ContainsFunc(problem.Message, unicode.IsControl) {
				t.Errorf("complaint without a place: %+v", problem)
			}
		}
	})
}

// FuzzSize: a size is not negative, and one without a unit is the number itself.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"256MiB", "64kB", "10 GiB", "0", "9223372036854775807", "8388608TiB", "-1", "1e3", "1 B ", "KiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil && n < 0 {
			t.Errorf("%q is %d", s, n)
		}
	})
}

// FuzzDuration: a duration is not negative and prints as one that reads the same.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"60s", "1h30m", "7d", "-1s", "36501d", "0", "1.5h", "d", "+1d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d || d < 0 || d > 36500*24*time.Hour && strings.HasSuffix(s, "d") {
			t.Errorf("%q is %s, which reads as %s, %v", s, d, again, err)
		}
	})
}
