package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// repeat returns n comma-separated pieces made by f.
func repeat(n int, f func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = f(i)
	}
	return strings.Join(parts, ",")
}

func keyOf(i int) string { return `"` + digest(fmt.Sprint(i)).String() + `"` }

// TestRefusedRequests: a bad request body is told as 400 or 422, with a fixed
// beginning.
func TestRefusedRequests(t *testing.T) {
	ignore := map[string]func([]byte) error{
		"logs":        func(b []byte) error { _, err := ParseLogsRequest(b); return err },
		"names":       func(b []byte) error { _, err := ParseNamesRequest(b); return err },
		"publish":     func(b []byte) error { _, err := ParsePublishRequest(b); return err },
		"inclusion":   func(b []byte) error { _, _, err := ParseInclusionRequest(b); return err },
		"consistency": func(b []byte) error { _, _, err := ParseConsistencyRequest(b); return err },
		"verify":      func(b []byte) error { _, err := ParseVerifyRequest(b); return err },
	}
	signature := checkpoint().Signature().String()
	rec := func(content string) string {
		return `{"contentBytes":"` + content + `","keyId":"k","signature":"` + signature + `"}`
	}
	key := `"sha256:` + hexA + `"`
	const syntax, shape = warg.KindBadRequest, warg.KindUnprocessable
	tests := []struct {
		parser, name, body string
		kind               warg.Kind
		text               string // part of the message
	}{
		{"logs", "empty", ``, syntax, "unexpected end"},
		{"logs", "web page", `<html>`, syntax, "expected a value"},
		{"logs", "array", `[]`, shape, "expected an object"},
		{"logs", "unknown member", `{"logLength":1,"extra":1}`, shape, "unknown member \"extra\""},
		{"logs", "no length", `{}`, shape, "missing member `logLength`"},
		{"logs", "packages null", `{"logLength":1,"packages":null}`, shape, "packages: expected an object"},
		{"logs", "duplicate log", `{"logLength":1,"packages":{` + key + `:null,` + key + `:"t"}}`, shape, "duplicate member"},
		{"logs", "short log id", `{"logLength":1,"packages":{"sha256:ab":null}}`, shape, `packages["sha256:ab"]: expected a digest of 32 bytes`},
		{"logs", "upper-case log id", `{"logLength":1,"packages":{"sha256:` + strings.ToUpper(hexA) + `":null}}`, shape, "uppercase"},
		{"logs", "token is a number", `{"logLength":1,"operator":5}`, shape, "operator: expected a string"},
		{"logs", "too many logs", `{"logLength":1,"packages":{` + repeat(warg.MaxFetchLogs+1, func(i int) string { return keyOf(i) + ":null" }) + `}}`, shape, "more than 10000 logs"},
		{"names", "null", `{"packages":null}`, shape, "packages: expected an array"},
		{"names", "missing", `{}`, shape, "missing member `packages`"},
		{"names", "bad id among those dropped", `{"packages":[` + repeat(warg.MaxNames+1, func(i int) string { return keyOf(min(i, 1)) }) + `,"x"]}`, shape, "packages[1001]"},
		{"publish", "bad name", `{"packageName":"Test:a","record":` + rec("") + `}`, shape, "packageName: invalid package name `Test:a`"},
		{"publish", "long name", `{"packageName":"test:` + strings.Repeat("a", 124) + `","record":` + rec("") + `}`, shape, "more than 128"},
		{"publish", "bad base64", `{"packageName":"test:a","record":` + rec("*") + `}`, shape, "record.contentBytes: invalid base64"},
		{"publish", "large record", `{"packageName":"test:a","record":` + rec(strings.Repeat("AAAA", warg.MaxRecordBytes/3+1)) + `}`, shape, "record.contentBytes: a record of"},
		{"publish", "bad signature", `{"packageName":"test:a","record":{"contentBytes":"","keyId":"k","signature":"ecdsa-p256:AAAA"}}`, shape, "record.signature: "},
		{"publish", "sources null", `{"packageName":"test:a","record":` + rec("") + `,"contentSources":null}`, shape, "contentSources: expected an object"},
		{"inclusion", "no leaves", `{"logLength":1}`, shape, "missing member `leafs`"},
		{"inclusion", "negative leaf", `{"logLength":1,"leafs":[0,-1]}`, shape, "leafs[1]: expected an unsigned integer"},
		{"inclusion", "too many", `{"logLength":1,"leafs":[` + repeat(warg.MaxLeaves+1, func(int) string { return "0" }) + `]}`, shape, "more than 10000 leaves"},
		{"consistency", "text", `{"from":"1","to":2}`, shape, "from: expected an unsigned integer"},
		{"consistency", "cut", `{"from":1,"to":2`, syntax, "end of the container"},
		{"verify", "bad root", `{"contents":{"logRoot":"sha256:0","logLength":1,"mapRoot":"sha256:00","timestamp":1},"keyId":"k","signature":"` + signature + `"}`, shape, "contents.logRoot: hexadecimal"},
	}
	for _, tt := range tests {
		t.Run(tt.parser+"/"+tt.name, func(t *testing.T) {
			err := ignore[tt.parser]([]byte(tt.body))
			e, ok := errors.AsType[*warg.Error](err)
			if !ok || e.Kind != tt.kind {
				t.Fatalf("got %v, want kind %d", err, tt.kind)
			}
			prefix := map[warg.Kind]string{syntax: syntaxPrefix, shape: shapePrefix}[tt.kind]
			if !strings.HasPrefix(e.Message, prefix) || !strings.Contains(e.Message, tt.text) {
				t.Errorf("got %q, want %q and %q in it", e.Message, prefix, tt.text)
			}
		})
	}
}

// TestRefusedAnswers: what a hostile registry may send.
func TestRefusedAnswers(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"checkpoint":  func(b []byte) error { _, err := ParseCheckpoint(b); return err },
		"logs":        func(b []byte) error { _, err := ParseLogsPage(b); return err },
		"names":       func(b []byte) error { _, err := ParseNames(b); return err },
		"status":      func(b []byte) error { _, err := ParseRecordStatus(b); return err },
		"sources":     func(b []byte) error { _, err := ParseSources(b); return err },
		"inclusion":   func(b []byte) error { _, err := ParseInclusion(b); return err },
		"consistency": func(b []byte) error { _, err := ParseConsistency(b); return err },
		"verify":      func(b []byte) error { _, err := ParseVerification(b); return err },
		"ledger":      func(b []byte) error { _, err := ParseLedger(b); return err },
		"wellknown":   func(b []byte) error { _, err := ParseWellKnown(b); return err },
	}
	key := `"sha256:` + hexA + `"`
	rec := string(AppendRecord(nil, record(1)))
	noToken := string(AppendRecord(nil, warg.Record{Envelope: envelope("x"), Index: 1}))
	status := func(rest string) string { return `{"recordId":` + key + `,"state":` + rest + `}` }
	source := func(first, last string) string {
		return `{"firstRegistryIndex":` + first + `,"lastRegistryIndex":` + last + `,"url":"u","contentType":"c"}`
	}
	ledger := func(sources string) string { return `{"hashAlgorithm":"sha256","sources":[` + sources + `]}` }
	many := func(n int, s string) string { return repeat(n, func(int) string { return s }) }
	tests := []struct{ parser, name, body, text string }{
		{"checkpoint", "no signature", `{"contents":{"logRoot":"sha256:00","logLength":1,"mapRoot":"sha256:00","timestamp":1},"keyId":"k"}`, "missing member `signature`"},
		{"logs", "no more", `{}`, "missing member `more`"},
		{"logs", "more is text", `{"more":"no"}`, "more: expected a boolean"},
		{"logs", "no token", `{"more":false,"operator":[` + noToken + `]}`, "operator[0]: missing member `fetchToken`"},
		{"logs", "empty token", `{"more":false,"operator":[` + strings.TrimSuffix(noToken, "}") + `,"fetchToken":""}]}`, "operator[0]: an empty fetch token"},
		{"logs", "duplicate log", `{"more":false,"packages":{` + key + `:[],` + key + `:[]}}`, "duplicate member"},
		{"logs", "too many records", `{"more":false,"packages":{` + key + `:[` + many(warg.MaxFetchLimit+1, rec) + `]}}`, "more than 1000 records"},
		{"logs", "too many logs", `{"more":false,"packages":{` + repeat(warg.MaxFetchLogs+1, func(i int) string { return keyOf(i) + ":[]" }) + `}}`, "more than 10000 logs"},
		{"logs", "too many warnings", `{"more":false,"warnings":[` + many(maxWarnings+1, `{"message":""}`) + `]}`, "more than 100 warnings"},
		{"logs", "list null", `{"more":false,"operator":null}`, "operator: expected an array"},
		{"names", "name of another log", `{"packages":{` + key + `:"test:a"}}`, "has another log id"},
		{"names", "bad name", `{"packages":{` + key + `:"test"}}`, "invalid package name"},
		{"names", "duplicate", `{"packages":{` + key + `:null,` + key + `:null}}`, "duplicate member"},
		{"names", "too many", `{"packages":{` + repeat(warg.MaxNames+1, func(i int) string { return keyOf(i) + ":null" }) + `}}`, "more than 1000 names"},
		{"status", "unknown state", status(`"sleeping"`), `unknown state "sleeping"`},
		{"status", "published nowhere", status(`"published"`), "missing member `registryIndex` in state published"},
		{"status", "rejected without reason", status(`"rejected","registryIndex":1`), "missing member `reason`"},
		{"status", "sourcing nothing", status(`"sourcing"`), "missing member `missingContent`"},
		{"status", "upload without url", status(`"sourcing","missingContent":{` + key + `:{"upload":[{"type":"http","method":"POST"}]}}`), "missing member `method` or `url`"},
		{"status", "url with a line break", status(`"sourcing","missingContent":{` + key + `:{"upload":[{"type":"http","method":"POST","url":"a\r\nb"}]}}`), "control characters"},
		{"status", "too many missing", status(`"sourcing","missingContent":{` + repeat(warg.MaxMissingContents+1, func(i int) string { return keyOf(i) + `:{"upload":[]}` }) + `}`), "more than 128 missing contents"},
		{"status", "duplicate missing", status(`"sourcing","missingContent":{` + key + `:{"upload":[]},` + key + `:{"upload":[]}}`), "duplicate member"},
		{"status", "too many sites", status(`"sourcing","missingContent":{` + key + `:{"upload":[` + many(maxUploadSites+1, `{"type":"x"}`) + `]}}`), "more than 128 upload sites"},
		{"sources", "no url", `{"contentSources":{` + key + `:[{"type":"httpGet"}]}}`, "missing member `url`"},
		{"sources", "long url", `{"contentSources":{` + key + `:[{"type":"httpGet","url":"` + strings.Repeat("x", maxURL+1) + `"}]}}`, "more than 8192 bytes"},
		{"sources", "negative size", `{"contentSources":{` + key + `:[{"type":"httpGet","url":"u","size":-1}]}}`, "size: expected an unsigned integer"},
		{"sources", "huge size", `{"contentSources":{` + key + `:[{"type":"httpGet","url":"u","size":9223372036854775808}]}}`, "is more than"},
		{"sources", "duplicate digest", `{"contentSources":{` + key + `:[],` + key + `:[]}}`, "duplicate member"},
		{"sources", "too many", `{"contentSources":{` + key + `:[` + many(maxSources+1, `{"type":"x"}`) + `]}}`, "more than 128 sources"},
		{"sources", "too many digests", `{"contentSources":{` + repeat(maxSourceDigests+1, func(i int) string { return keyOf(i) + ":[]" }) + `}}`, "more than 1000 digests"},
		{"inclusion", "no map", `{"log":""}`, "missing member `map`"},
		{"inclusion", "line break", `{"log":"AA\nAA","map":""}`, "log: invalid base64"},
		{"consistency", "trailing bits", `{"proof":"/x=="}`, "proof: invalid base64"},
		{"consistency", "too much padding", `{"proof":"AAAA="}`, "proof: invalid base64"},
		{"consistency", "one character too many", `{"proof":"AAAAA==="}`, "proof: invalid base64"},
		{"verify", "unknown verdict", `{"checkpoint":"maybe","signature":"verified"}`, `checkpoint: unknown verdict "maybe"`},
		{"ledger", "other hash", `{"hashAlgorithm":"md5","sources":[]}`, `unknown hash algorithm "md5"`},
		{"ledger", "gap", ledger(source("0", "9") + "," + source("11", "12")), "sources[1]: indexes 11 to 12 do not follow index 10"},
		{"ledger", "overlap", ledger(source("0", "9") + "," + source("9", "12")), "do not follow"},
		{"ledger", "does not begin at 0", ledger(source("1", "9")), "do not follow"},
		{"ledger", "backwards", ledger(source("0", "9") + "," + source("10", "9")), "do not follow"},
		{"ledger", "beyond any log", ledger(source("0", "18446744073709551615")), "do not follow"},
		{"wellknown", "web page", `<html>`, "expected a value"},
		{"wellknown", "text for an object", `{"warg":"u"}`, "warg: expected an object"},
	}
	for _, tt := range tests {
		t.Run(tt.parser+"/"+tt.name, func(t *testing.T) {
			err := parsers[tt.parser]([]byte(tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q in it", err, tt.text)
			}
		})
	}
}

func TestEmptyToken(t *testing.T) {
	for _, body := range []string{`{"logLength":1,"operator":""}`, `{"logLength":1,"packages":{"sha256:` + hexA + `":""}}`} {
		if _, err := ParseLogsRequest([]byte(body)); !errors.Is(err, &warg.Error{Kind: warg.KindFetchTokenUnknown}) {
			t.Errorf("%s: got %v", body, err)
		}
	}
}
