package api

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// bombAllocation is the most that a refused body may have cost in memory, in bytes.
const bombAllocation = 1 << 20

// TestC01Bombs: bodies made to be expensive are refused as malformed or of the wrong
// shape, and refusing them takes little memory.
func TestC01Bombs(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"logs":        func(b []byte) error { _, err := ParseLogsRequest(b); return err },
		"names":       func(b []byte) error { _, err := ParseNamesRequest(b); return err },
		"publish":     func(b []byte) error { _, err := ParsePublishRequest(b); return err },
		"inclusion":   func(b []byte) error { _, _, err := ParseInclusionRequest(b); return err },
		"consistency": func(b []byte) error { _, _, err := ParseConsistencyRequest(b); return err },
		"verify":      func(b []byte) error { _, err := ParseVerifyRequest(b); return err },
	}
	members := []string{"logLength", "packages", "packageName", "record", "leafs", "from", "contents"}
	const many = 100_000
	values := map[string]string{
		"arrays in arrays":       strings.Repeat("[", many),
		"closed arrays":          strings.Repeat("[", many) + strings.Repeat("]", many),
		"objects in objects":     strings.Repeat(`{"a":`, many),
		"mixed nesting":          strings.Repeat(`[{"a":`, many),
		"a number of digits":     strings.Repeat("9", many),
		"a number of zeros":      "1" + strings.Repeat("0", many) + "e" + strings.Repeat("9", 1000),
		"a huge exponent":        "1e999999999",
		"beyond 64 bits":         "18446744073709551616",
		"a fraction":             "1.5",
		"not a number":           "NaN",
		"infinity":               "-Infinity",
		"escapes":                `"` + strings.Repeat(`\u0000`, many) + `"`,
		"an unfinished string":   `"` + strings.Repeat("x", many),
		"half a surrogate":       `"\ud800"`,
		"bytes that are no text": "\"\xff\xfe\xc0\x80\"",
		"blanks":                 strings.Repeat(" \n\t\r", many),
		"many members":           "{" + strings.Repeat(`"a":1,`, many),
		"many elements":          "[" + strings.Repeat(`0,`, many) + `"`,
		"a comment":              "/* x */ 1",
		"single quotes":          "'x'",
	}
	tried := 0
	for name, parse := range parsers {
		refused := func(what, body string) {
			t.Helper()
			tried++
			var before, after runtime.MemStats
			text := []byte(body)
			runtime.ReadMemStats(&before)
			err := parse(text)
			runtime.ReadMemStats(&after)
			e, ok := errors.AsType[*warg.Error](err)
			if !ok || e.Kind != warg.KindBadRequest && e.Kind != warg.KindUnprocessable {
				t.Errorf("%s, %s: %v", name, what, err)
				return
			}
			if len(e.Error()) > 1000 {
				t.Errorf("%s, %s: the message has %d bytes", name, what, len(e.Error()))
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > bombAllocation {
				t.Errorf("%s, %s: %d bytes allocated", name, what, used)
			}
		}
		for what, value := range values {
			refused(what, value)
			for _, member := range members {
				refused(member+": "+what, `{"`+member+`":`+value)
				refused(strings.ToUpper(member)+": "+what, `{"`+strings.ToUpper(member)+`":`+value+"}")
			}
		}
	}
	t.Logf("%d bodies", tried)
}
