package api

import (
	"fmt"
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// MaxDomain is the longest domain of a registry in bytes. A domain names a folder
// on disk, and file systems end there.
const MaxDomain = 255

// ParseDomain checks that s can name a registry, as the Warg-Registry header does,
// and returns it unchanged. Besides host names these are the labels that clients
// make from a URL: a port after a hyphen or a colon, and a path after underscores,
// for example "pkg.example.com", "127.0.0.1-8090", "host:8091", "[::1]-8090" and
// "host_team_a". It consists of letters, digits and . - _ : [ ], begins and ends
// with neither of the first four, and has no two dots in a row, so it can leave
// neither a folder, nor a header, nor a path segment.
//
// The error is KindBadRequest.
func ParseDomain(s string) (string, error) {
	if reason := domainFault(s); reason != "" {
		return "", warg.Errorf(warg.KindBadRequest, "invalid registry domain %s: %s", quoteClipped(s), reason)
	}
	return s, nil
}

func domainFault(s string) string {
	switch {
	case s == "":
		return "it is empty"
	case len(s) > MaxDomain:
		return fmt.Sprintf("it is longer than %d bytes", MaxDomain)
	case strings.Contains(s, ".."):
		return "it has an empty label"
	case !isAlnum(s[0]) && s[0] != '[' || !isAlnum(s[len(s)-1]) && s[len(s)-1] != ']':
		return "it must begin and end with a letter or digit"
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte(".-_:[]", s[i]) < 0 {
			return "it has characters other than letters, digits and . - _ : [ ]"
		}
	}
	return ""
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// quoteClipped quotes text from outside for a message, no more of it than helps.
func quoteClipped(s string) string {
	const enough = 64
	if len(s) > enough {
		return fmt.Sprintf("%q…", s[:enough])
	}
	return fmt.Sprintf("%q", s)
}
