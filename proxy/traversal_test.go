package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// TestC06Traversal: parameters that try to leave their segment. Whatever is answered with
// success was asked for by the one spelling that the builders make from its parameters,
// percent-encoding within a segment apart; and nothing that climbs out is.
func TestC06Traversal(t *testing.T) {
	s, own := fuzzServer(t)
	digest := own.put([]byte("more content"))
	const target = "/v1/fetch/checkpoint"
	climbs := []string{"..", ".", "%2e%2e", "%2E%2e", ".%2e", "%252e%252e", "..%00", "%00", "..\\", "\\..", "%5c..", "..%2f", "%2f..", "%2F", "..;", ";", "..;x=1",
		"%c0%ae%c0%ae", "%c0%af", "%e2%88%95", "%ef%bc%8f", "．．", "․․", "\u2025", "%u002e", "..%ff", "...", "....", "..%09", "%20..", "..%0d%0a", "~", "*", "%", "%2", "%zz"}
	var asked, found int
	try := func(path string) {
		t.Helper()
		asked++
		replies := parseReplies(t, "GET", play(t, s, []byte(get(path))))
		if len(replies) != 1 {
			return // not a request at all
		}
		r := replies[0]
		if r.status >= 500 || r.status >= 300 && r.status < 400 {
			t.Errorf("%q is answered with %d", path, r.status)
		}
		if r.status < 300 {
			if found++; !canonical(strings.TrimPrefix(path, "/warg")) {
				t.Errorf("%q is answered with %d", path, r.status)
			}
		}
	}
	for _, e := range endpoints() {
		whole := fill(e.Template)
		segments := strings.Split(strings.TrimPrefix(whole, "/"), "/")
		try(whole)
		for _, climb := range climbs {
			for i := range segments {
				changed := append([]string{}, segments...)
				changed[i] = climb
				try("/" + strings.Join(changed, "/"))
				changed[i] = segments[i] + climb
				try("/" + strings.Join(changed, "/"))
				changed[i] = climb + "/" + segments[i]
				try("/" + strings.Join(changed, "/"))
				changed[i] = segments[i] + "/" + climb + target
				try("/" + strings.Join(changed, "/"))
			}
			try(whole + "/" + climb)
			try("/" + climb + whole)
			try(climb + whole)
		}
		try(whole + "/")
		try("/" + whole)
		try(strings.ToUpper(whole))
	}
	// Encoded within a segment, a digest is the same digest.
	hex := digest.Hex()
	for i := range len(hex) {
		try(fmt.Sprintf("/content/sha256-%s%%%02x%s", hex[:i], hex[i], hex[i+1:]))
	}
	if found < len(hex) {
		t.Errorf("only %d of %d paths lead anywhere", found, asked)
	}
	t.Logf("%d paths, %d of them lead somewhere", asked, found)
}

// TestC07RegistryHeader: the header names exactly one registry that is served, or the
// request is refused; whose answer came back is told by the answer; and nobody else's
// store takes part.
func TestC07RegistryHeader(t *testing.T) {
	st := newSite(t)
	const path = "/v1/fetch/checkpoint"
	foreign := st.up.c.put([]byte("foreign"))
	own := st.own.put([]byte("own"))
	rows := []struct {
		name   string
		lines  []string
		status int
		echo   string // the registry that the answer says it is of
	}{
		{"none", nil, 200, ""},
		{"our own", []string{"Warg-Registry: " + ownDomain}, 200, ownDomain},
		{"another", []string{"Warg-Registry: " + upDomain}, 200, upDomain},
		{"in another case", []string{"wARG-rEGISTRY: " + upDomain}, 200, upDomain},
		{"with blanks around", []string{"Warg-Registry: \t " + upDomain + " \t"}, 200, upDomain},
		{"domain in another case", []string{"Warg-Registry: UP.example"}, 404, ""},
		{"unknown", []string{"Warg-Registry: nobody.example"}, 404, ""},
		{"an address", []string{"Warg-Registry: 127.0.0.1"}, 404, ""},
		{"the metadata of a cloud machine", []string{"Warg-Registry: 169.254.169.254"}, 404, ""},
		{"an IPv6 address", []string{"Warg-Registry: [::1]"}, 404, ""},
		{"with a port", []string{"Warg-Registry: " + upDomain + ":443"}, 404, ""},
		{"our own with a port", []string{"Warg-Registry: " + ownDomain + ":80"}, 404, ""},
		{"twice", []string{"Warg-Registry: " + upDomain, "Warg-Registry: " + ownDomain}, 400, ""},
		{"twice the same", []string{"Warg-Registry: " + upDomain, "Warg-Registry: " + upDomain}, 400, ""},
		{"twice, once in another case", []string{"Warg-Registry: " + upDomain, "warg-registry: " + ownDomain}, 400, ""},
		{"a list", []string{"Warg-Registry: " + upDomain + ", " + ownDomain}, 400, ""},
		{"empty", []string{"Warg-Registry: "}, 400, ""},
		{"a folded line", []string{"Warg-Registry: up", " .example"}, 400, ""},
		{"a bare carriage return", []string{"Warg-Registry: " + upDomain + "\rX: y"}, 400, ""},
		{"a blank before the colon", []string{"Warg-Registry : " + upDomain}, 400, ""},
		{"a byte of nothing", []string{"Warg-Registry: up\x00.example"}, 400, ""},
		{"not ASCII", []string{"Warg-Registry: ｕp.example"}, 400, ""},
		{"a path", []string{"Warg-Registry: up.example/../own.example"}, 400, ""},
		{"a URL", []string{"Warg-Registry: https://up.example"}, 400, ""},
		{"under another name", []string{"Warg_Registry: " + upDomain, "X-Warg-Registry: " + upDomain}, 200, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			replies := st.exchange("GET", get(path, append(row.lines, "Connection: close")...), false)
			if len(replies) != 1 || replies[0].status != row.status || replies[0].header.Get("Warg-Registry") != row.echo {
				t.Fatalf("got %+v, want %d of %q", replies, row.status, row.echo)
			}
		})
	}
	// What a digest leads to is decided by the registry first.
	for _, row := range []struct {
		registry string
		digest   warg.Digest
		status   int
	}{{"", own, 200}, {upDomain, foreign, 200}, {upDomain, own, 404}, {"", foreign, 404}, {ownDomain, own, 200}, {ownDomain, foreign, 404}} {
		lines := []string{}
		if row.registry != "" {
			lines = append(lines, "Warg-Registry: "+row.registry)
		}
		for range 2 { // the second answer could come from what the first one left
			if r := st.get("/v1/content/"+row.digest.String(), lines...); r.status != row.status {
				t.Errorf("%s of %q: %d", row.digest, row.registry, r.status)
			}
		}
	}
	if r := st.get(path, "Warg-Registry: "+upDomain); !strings.Contains(strings.ToLower(r.header.Get("Vary")), "warg-registry") || r.status != http.StatusOK {
		t.Errorf("a cache is not told that the registry decides: %+v", r)
	}
}
