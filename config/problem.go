package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Source says where a value came from: a place in the file, an environment
// variable, a flag, or, with the zero value, nowhere (a default).
type Source struct {
	Name         string // file, variable or flag
	Line, Column int    // in a file, from 1; columns count bytes
}

// String returns "file:line:column", or the name alone outside of a file.
func (s Source) String() string {
	switch {
	case s.Line > 0:
		return fmt.Sprintf("%s:%d:%d", s.Name, s.Line, s.Column)
	case s.Name == "":
		return "default"
	}
	return s.Name
}

// Problem is one complaint about a configuration.
type Problem struct {
	Source
	Message string // lower case, no full stop: what is wrong and what to do
}

// Error returns place and message in one line.
func (p Problem) Error() string { return p.Source.String() + ": " + p.Message }

// Error is what [Load] returns if a configuration cannot be used: all complaints
// in the order of the file.
type Error struct{ Problems []Problem }

// Error returns one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// problems is the list that reading and checking add to.
type problems []Problem

func (l *problems) add(at Source, format string, args ...any) {
	*l = append(*l, Problem{at, oneLine(fmt.Sprintf(format, args...))})
}

// oneLine shows control characters, which a value of the file may have, as "?".
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// Complain returns an [*Error] with the problems in the order of the file, or nil
// if there are none.
func Complain(list []Problem) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Problem) int { return a.compare(b.Source) })
	return &Error{Problems: list}
}

// errEmpty is what a value parser returns for a value that must not be empty.
var errEmpty = errors.New("must not be empty")
