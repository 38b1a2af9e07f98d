package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func TestRoutes(t *testing.T) {
	all := Routes()
	if len(all) != Ops-1 {
		t.Fatalf("%d routes for %d operations", len(all), Ops-1)
	}
	for i, r := range all {
		if r.Op != Op(i+1) || r.Op.Route() != r || r.Op.String() != r.Name || r.Op.Family() != r.Family {
			t.Errorf("row %d is %+v", i, r)
		}
		if again := slices.IndexFunc(all, func(o Route) bool { return o.Template == r.Template || o.Name == r.Name }); again != i {
			t.Errorf("%s stands twice", r.Template)
		}
	}
	for _, o := range []Op{OpNone, opCount, 255} {
		if o.Route() != (Route{}) || o.String() != "none" {
			t.Errorf("operation %d has a route", o)
		}
	}
	all[0].Name = "changed"
	if Routes()[0].Name == "changed" {
		t.Error("the table can be changed")
	}
}

// TestPathsMatchTemplates builds every path and finds its template by the pattern
// matcher of the standard library.
func TestPathsMatchTemplates(t *testing.T) {
	mux := http.NewServeMux()
	for _, r := range Routes() {
		mux.HandleFunc(r.Template, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Op", r.Name) })
	}
	log, id, d := warg.LogID(digest("a")), warg.RecordID(digest("b")), digest("c")
	paths := map[Op]string{
		OpCheckpoint: PathCheckpoint, OpLogs: PathLogs, OpNames: PathNames, OpPublish: PathPublish(log), OpRecord: PathRecord(log, id),
		OpUpload: PathUpload(log, id, d), OpUploadCapability: PathUploadCapability("a/b"), OpSources: PathSources(d), OpConsistency: PathConsistency,
		OpInclusion: PathInclusion, OpVerify: PathVerify, OpLedger: PathLedger, OpLedgerRecords: PathLedgerRecords(1000),
		OpUpstreamLedgerRecords: PathUpstreamLedgerRecords("[::1]-80", 0), OpContent: PathContent(d), OpUpstreamContent: PathUpstreamContent("host:80", d), OpWellKnown: PathWellKnown,
	}
	if len(paths) != Ops-1 {
		t.Fatalf("%d paths", len(paths))
	}
	base := &url.URL{Scheme: "http", Host: "h.example", Path: "/"}
	for op, path := range paths {
		ref, err := base.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(path, "/") || ref.Host != base.Host {
			t.Errorf("%s is not relative", path)
		}
		_, pattern := mux.Handler(&http.Request{Method: "GET", URL: ref, Host: base.Host})
		if pattern != op.Route().Template {
			t.Errorf("%s matches %q, want %q", path, pattern, op.Route().Template)
		}
	}
}

func TestSegments(t *testing.T) {
	const plain = "sha256:" + hexA
	escaped := strings.Replace(plain, ":", "%3A", 1)
	tests := []struct{ name, raw, want string }{ // want: the message, "" for success
		{"plain", plain, ""},
		{"escaped colon", escaped, ""},
		{"escaped colon, lower case", strings.ToLower(escaped), ""},
		{"escaped twice", strings.Replace(plain, ":", "%253A", 1), "Invalid URL: expected two parts for hash; found 1"},
		{"no colon", "abc", "Invalid URL: expected two parts for hash; found 1"},
		{"other algorithm", "sha512:ab", "Invalid URL: unable to parse hash algorithm: Illegal hash algorithm 'sha512'"},
		{"upper case", "sha256:" + strings.ToUpper(hexA), "Invalid URL: hash contained uppercase hex values"},
		{"odd", "sha256:abc", "Invalid URL: hexadecimal decode failed: Odd number of digits"},
		{"not hex", "sha256:gg", "Invalid URL: hexadecimal decode failed: Invalid character 'g' at position 0"},
		{"short", "sha256:ab", "Invalid URL: expected a digest of 32 bytes; found 1"},
		{"empty digest", "sha256:", "Invalid URL: expected a digest of 32 bytes; found 0"},
		{"percent at the end", "sha256:ab%", "Invalid URL: hexadecimal decode failed: Odd number of digits"},
		{"slash", plain + "%2f..", "Invalid URL: hexadecimal decode failed: Odd number of digits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := SegmentDigest(tt.raw)
			log, logErr := SegmentLogID(tt.raw)
			rec, recErr := SegmentRecordID(tt.raw)
			if tt.want == "" {
				if err != nil || d != digest("a") || warg.Digest(log) != d || warg.Digest(rec) != d {
					t.Errorf("got %s, %v", d, err)
				}
				return
			}
			for _, err := range []error{err, logErr, recErr} {
				e, ok := errors.AsType[*warg.Error](err)
				if !ok || e.Kind != warg.KindBadRequest || e.Message != tt.want {
					t.Errorf("got %v, want %q", err, tt.want)
				}
			}
		})
	}
}

func TestSegmentStart(t *testing.T) {
	for raw, want := range map[string]uint64{"0": 0, "1000": 1000, "%31": 1, "18446744073709551615": 1<<64 - 1, "007": 7} {
		if got, err := SegmentStart(raw); err != nil || got != want {
			t.Errorf("%s: got %d, %v", raw, got, err)
		}
	}
	for raw, want := range map[string]string{
		"abc": "Invalid URL: Cannot parse `\"abc\"` to a `u64`", "": "Invalid URL: Cannot parse `\"\"` to a `u64`",
		"-1": "Invalid URL: Cannot parse `\"-1\"` to a `u64`", "+1": "Invalid URL: Cannot parse `\"+1\"` to a `u64`",
		"18446744073709551616": "Invalid URL: Cannot parse `\"18446744073709551616\"` to a `u64`",
	} {
		if _, err := SegmentStart(raw); err == nil || err.Error() != want || !errors.Is(err, &warg.Error{Kind: warg.KindBadRequest}) {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
}

func TestSegmentContent(t *testing.T) {
	if d, ok := SegmentContent(ContentFile(digest("a"))); !ok || d != digest("a") {
		t.Errorf("got %s, %v", d, ok)
	}
	for _, raw := range []string{"", "sha256-", "sha256-ab", "sha256:" + hexA, hexA, "sha256-" + strings.ToUpper(hexA), "sha256-" + hexA + ".tmp", "..", "%2e%2e"} {
		if _, ok := SegmentContent(raw); ok {
			t.Errorf("accepted %q", raw)
		}
	}
}

func TestParseDomain(t *testing.T) {
	for _, s := range []string{"pkg.example.com", "wasi.example", "127.0.0.1-8090", "host:8091", "localhost", "[::1]-8090", "[::1]", "host_team_a", "WASI.example", "a", strings.Repeat("a", MaxDomain)} {
		if got, err := ParseDomain(s); err != nil || got != s {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
		if got, err := SegmentDomain(url.PathEscape(s)); err != nil || got != s {
			t.Errorf("escaped %q: got %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", ".", "..", "a..b", "-a", "a-", ".a", "a.", "_", "a/b", `a\b`, "a b", "a\r\nb", "a\x00", "é.example", "a%2fb", "a=b", "a,b", "a;b", "]a", "a[", strings.Repeat("a", MaxDomain+1)} {
		if got, err := ParseDomain(s); got != "" || !errors.Is(err, &warg.Error{Kind: warg.KindBadRequest}) {
			t.Errorf("accepted %q: %v", s, err)
		}
	}
	if _, err := SegmentDomain("a%2Fb"); err == nil || !strings.HasPrefix(err.Error(), "Invalid URL: ") {
		t.Errorf("got %v", err)
	}
}

func TestHint(t *testing.T) {
	if ns, domain, ok := ParseHint(Hint("wasi", "wasi.example")); !ok || ns != "wasi" || domain != "wasi.example" {
		t.Errorf("got %q, %q, %v", ns, domain, ok)
	}
	for _, s := range []string{"", "wasi", "=x", "wasi=", "Wasi=x", "wasi=a/b", "wasi=a\r\nb", "wasi=x=y"} {
		if _, _, ok := ParseHint(s); ok {
			t.Errorf("accepted %q", s)
		}
	}
}

func TestContentType(t *testing.T) {
	for _, s := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON", " application/json ;x=y", "application/problem+json"} {
		if err := CheckContentType(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "text/plain", "application/jsonp", "json", "application/", "application/+json", "text/json", "application/octet-stream", "application/json;" + strings.Repeat("x", maxContentType)} {
		err := CheckContentType(s)
		if !errors.Is(err, &warg.Error{Kind: warg.KindUnsupportedMedia}) || err.Error() != "Expected request with `Content-Type: application/json`" {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := TooLargeBody(); !errors.Is(err, &warg.Error{Kind: warg.KindTooLarge}) {
		t.Errorf("got %v", err)
	}
}
