package upstream

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"log `a` is not there":  "log `a` is not there",
		"größer":                "größer",
		"a\nb\x1b[2J\x00":       `a\nb\x1b[2J\x00`,
		"a\u202eb\u200bc\u2028": `a\u202eb\u200bc\u2028`,
		"a\xffb\xc3":            `a\xffb\xc3`,
		"\ufffd":                `\ufffd`,
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, c := range []string{"a", "é", "\x00", "\U000e0001"} {
		got := printable(strings.Repeat(c, 10_000))
		if len(got) > maxPrinted+20 || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) {
			t.Errorf("%q: %d bytes, ending in %q", c, len(got), got[len(got)-10:])
		}
	}
}

// TestHostileNamesAreRefused: a name that could be taken for another, or does harm where
// it is printed, is refused; and what is said of it, to whomever, is plain text.
func TestHostileNamesAreRefused(t *testing.T) {
	id := wargtest.Name("test:a").LogID()
	for i, hostile := range []string{
		"test:\u0430", "test:a\u202e", "test:a\u200b", "test:a\x00", "test:a\n", "test:\x1b[2Ja", "test:a\u2028level=ERROR", "TEST:A",
		"test%3aa", "test:a/../b", "test:" + strings.Repeat("\u202e", 10_000), strings.Repeat("a", 10_000), "",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s, _ := filled(t)
			quoted := strconv.QuoteToASCII(hostile)
			quoted = strings.NewReplacer(`\x00`, `\u0000`, `\x1b`, `\u001b`).Replace(quoted)
			s.change = func(op api.Op, body []byte) []byte {
				if op == api.OpNames {
					return fmt.Appendf(nil, `{"packages":{%q:%s}}`, id, quoted)
				}
				return body
			}
			var text bytes.Buffer
			r, err := Open(t.Context(), Options{
				Domain: "up.example", Transport: s.client(t, nil), Store: newMemStore(), OperatorKey: wargtest.Alice().Public().ID(),
				Dir: t.TempDir(), EvidenceDir: t.TempDir(), TempDir: t.TempDir(), Log: slog.New(slog.NewJSONHandler(&text, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			names, err := r.Names(t.Context(), []warg.LogID{id})
			if ClassOf(err) != ClassAnswer {
				t.Errorf("served as %q, %v", names, err)
			}
			said := r.Status().LastError
			r.Close() // nothing is logged any more
			for where, said := range map[string]string{"to the reader": err.Error(), "in the status": said, "in the log": strings.ReplaceAll(text.String(), "\n", "")} {
				if strings.ContainsFunc(said, unprintable) || len(said) > 3*maxPrinted || said == "" {
					t.Errorf("%s: %.300q", where, said)
				}
			}
		})
	}
}

// TestHostileErrorsArePlain: what a registry says in its errors gets to logs and to our
// clients as plain text.
func TestHostileErrorsArePlain(t *testing.T) {
	s, _ := filled(t)
	c := s.client(t, nil)
	s.setAttack(jsonAnswer(api.OpCheckpoint, 500, "application/json", `{"status":500,"message":"down\u202e\u0000\nlevel=ERROR"}`))
	_, err := c.Checkpoint(t.Context())
	if err == nil || strings.ContainsFunc(err.Error(), unprintable) || !strings.Contains(err.Error(), `down\u202e\x00\nlevel`) {
		t.Errorf("%q", err)
	}
}
