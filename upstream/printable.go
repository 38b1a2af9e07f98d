package upstream

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPrinted bounds, in bytes, what a refusal says of what a registry sent.
const maxPrinted = 2 << 10

// printable returns text for logs, pages and clients: what a registry sent may stand in
// it, so characters that are not seen, or change what is seen around them, are escaped
// as in Go, and it ends after maxPrinted bytes.
func printable(text string) string {
	if len(text) <= maxPrinted && !strings.ContainsFunc(text, unprintable) {
		return text
	}
	var b strings.Builder
	for i, c := range text {
		if b.Len() >= maxPrinted {
			b.WriteString("…")
			break
		}
		switch _, size := utf8.DecodeRuneInString(text[i:]); {
		case c == utf8.RuneError && size == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(text[i]), 16))
		case unprintable(c):
			quoted := strconv.QuoteRuneToASCII(c)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// unprintable reports whether a character is not seen as itself. A broken one counts.
func unprintable(c rune) bool { return !unicode.IsPrint(c) || c == utf8.RuneError }
