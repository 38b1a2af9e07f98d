package proxy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Ids that the canned registry knows, and some that nobody does.
var (
	knownLog    = mustName("test:component").LogID().String()
	knownRecord = warg.PackageRecordID([]byte("record")).String()
	otherLog    = mustName("test:other").LogID().String()
	noDigest    = warg.Sum([]byte("nothing has this digest")).String()
)

const (
	parsePrefix = "Failed to parse the request body as JSON: "
	shapePrefix = "Failed to deserialize the JSON body into the target type: "
	largeText   = "Failed to buffer the request body: length limit exceeded"
	mediaText   = "Expected request with `Content-Type: application/json`"
	digestText  = "Invalid URL: expected a digest of 32 bytes; found "
)

// escaped is the JSON of a generic error, with what needs escapes escaped.
func escaped(status int, text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	s := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
	return fmt.Sprintf(`{"status":%d,"message":%s}`, status, s)
}

func typed(kind, id string) string { return fmt.Sprintf(`{"status":404,"type":%q,"id":%q}`, kind, id) }

// jsonPaths are the routes that take a JSON body, with a body that is in order.
func jsonPaths() map[string]string {
	return map[string]string{
		"/v1/fetch/logs":                      `{"logLength":3}`,
		"/v1/fetch/names":                     `{"packages":[]}`,
		"/v1/package/" + knownLog + "/record": newCannedBody("test:component", ""),
		"/v1/proof/consistency":               `{"from":1,"to":2}`,
		"/v1/proof/inclusion":                 `{"logLength":3,"leafs":[2]}`,
		"/v1/verify/checkpoint":               string(api.AppendCheckpoint(nil, cannedSigned())),
	}
}

func cannedSigned() warg.SignedCheckpoint {
	key, err := warg.ParsePrivateKey(operatorKeyText)
	if err != nil {
		panic(err)
	}
	return (&canned{}).checkpoint().Sign(key)
}

func newCannedBody(name, sources string) string {
	key, err := warg.ParsePrivateKey(operatorKeyText)
	if err != nil {
		panic(err)
	}
	return (&canned{key: key}).publishBody(name, sources)
}

// parseFault is the answer to a body that the route's parser refuses; it begins
// with one of the two texts of the protocol.
func parseFault(path, body string) string {
	var err error
	switch in := []byte(body); {
	case strings.HasSuffix(path, "/logs"):
		_, err = api.ParseLogsRequest(in)
	case strings.HasSuffix(path, "/names"):
		_, err = api.ParseNamesRequest(in)
	case strings.HasSuffix(path, "/record"):
		_, err = api.ParsePublishRequest(in)
	case strings.HasSuffix(path, "/consistency"):
		_, _, err = api.ParseConsistencyRequest(in)
	case strings.HasSuffix(path, "/inclusion"):
		_, _, err = api.ParseInclusionRequest(in)
	default:
		_, err = api.ParseVerifyRequest(in)
	}
	if err == nil {
		panic(fmt.Sprintf("%s takes %.100q", path, body))
	}
	text := string(api.AppendError(nil, api.AsError(err)))
	if !strings.HasPrefix(text, `{"status":400,"message":"`+parsePrefix) && !strings.HasPrefix(text, `{"status":422,"message":"`+shapePrefix) {
		panic(fmt.Sprintf("%s refuses %.100q with %s", path, body, text))
	}
	return text
}

// bodyRows are bodies that are wrong on every route that takes JSON.
func bodyRows() (rows []rawRow) {
	for path, good := range jsonPaths() {
		name := func(what string) string { return what + " to " + strings.ReplaceAll(path, knownLog, "LOG") }
		bad := func(what, raw string, status int, body string) {
			rows = append(rows, rawRow{name(what), raw, status, body, true})
		}
		for what, body := range map[string]string{
			"no body": "", "not JSON": "x", "half a body": `{"`, "half an escape": `{"a\u12`, "NaN": "NaN", "a comment": "/**/{}", "single quotes": "{'a':1}",
			"invalid UTF-8": "{\"\xff\":1}", "a lone surrogate": `{"\ud800":1}`, "a byte order mark": "\ufeff{}", "a NUL": "\x00",
			"null": "null", "a list": "[]", "a string": `"{}"`, "a number": "1",
			"deep nesting": strings.Repeat("[", 100000), "many objects": strings.Repeat(`{"x":`, 100000),
		} {
			text := parseFault(path, body)
			status := 400
			if strings.Contains(text, shapePrefix) {
				status = 422
			}
			bad(what, post(path, body), status, text)
		}
		bad("no content type", request("POST", path, &good), 415, escaped(415, mediaText))
		bad("text", request("POST", path, &good, "Content-Type: text/plain"), 415, escaped(415, mediaText))
		bad("JSON with a typo", request("POST", path, &good, "Content-Type: application/jsonx"), 415, escaped(415, mediaText))
		bad("a form", request("POST", path, &good, "Content-Type: application/x-www-form-urlencoded"), 415, escaped(415, mediaText))
		bad("a type before a bad body", request("POST", path, ptr("x"), "Content-Type: text/plain"), 415, escaped(415, mediaText))
		bad("an unknown registry", post(path, good, "Warg-Registry: nobody.example"), 404, escaped(404, "registry `nobody.example` is not served here"))
		bad("an unknown registry before a bad type", request("POST", path, &good, "Warg-Registry: nobody.example"), 404, escaped(404, "registry `nobody.example` is not served here"))
		rows = append(rows, rawRow{name("a length beyond the limit"), post(path, strings.Repeat(" ", 2<<20)+good), 413, message(413, largeText), false})
	}
	return rows
}

func ptr(s string) *string { return &s }

func TestBodies(t *testing.T) {
	st := newSite(t)
	rows := bodyRows()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.check(t, st)
		})
	}
	if _, accepted := st.own.counts(); accepted != 0 {
		t.Errorf("%d records were accepted", accepted)
	}
	t.Logf("%d rows", len(rows))
}

// TestGoodBodies: what clients may vary.
func TestGoodBodies(t *testing.T) {
	st := newSite(t)
	for path, good := range jsonPaths() {
		want := st.post(path, good)
		if want.status != 200 && want.status != 202 {
			t.Fatalf("%s: %d %s", path, want.status, want.body)
		}
		for _, media := range []string{
			"application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json", "application/json;",
		} {
			if r := st.one("POST", request("POST", path, &good, "Content-Type: "+media)); r.status != want.status || r.body != want.body {
				t.Errorf("%s with %s: %d %s", path, media, r.status, r.body)
			}
		}
		if r := st.post(path, " "+good+" trailing bytes"); r.status != want.status {
			t.Errorf("%s with trailing bytes: %d %s", path, r.status, r.body)
		}
		chunks := "POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
		if r := st.one("POST", chunks+chunkedBody(good, 7)+"0\r\n\r\n"); r.status != want.status || r.body != want.body {
			t.Errorf("%s chunked: %d %s", path, r.status, r.body)
		}
		extended := fmt.Sprintf("%x;name=value\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n", len(good), good)
		if r := st.one("POST", chunks+extended); r.status != want.status || r.body != want.body {
			t.Errorf("%s chunked with an extension and a trailer: %d %s", path, r.status, r.body)
		}
		if r := st.post(path, good, "Warg-Registry: "+ownDomain); r.status != want.status || r.header.Get("Warg-Registry") != ownDomain {
			t.Errorf("%s with our own domain: %d %v", path, r.status, r.header)
		}
		if want.header.Get("Warg-Registry") != "" {
			t.Errorf("%s: a header that was not sent is echoed", path)
		}
	}
}

// chunkedBody encodes s in chunks of n bytes, without the last chunk.
func chunkedBody(s string, n int) string {
	var b strings.Builder
	for len(s) > 0 {
		part := s[:min(n, len(s))]
		s = s[len(part):]
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	return b.String()
}

// pathRows are paths and parameters that are wrong.
func pathRows() []rawRow {
	row := func(name, raw string, status int, body string) rawRow { return rawRow{name, raw, status, body, true} }
	digest := func(name, in, text string) rawRow {
		return row(name, get("/v1/content/"+in), 400, escaped(400, "Invalid URL: "+text))
	}
	missing := message(404, "the requested resource was not found")
	hex63 := strings.Repeat("a", 63)
	return []rawRow{
		digest("no colon", "abc", "expected two parts for hash; found 1"),
		digest("another algorithm", "sha512:ab", "unable to parse hash algorithm: Illegal hash algorithm 'sha512'"),
		digest("upper-case hexadecimal", "sha256:AB", "hash contained uppercase hex values"),
		digest("an odd number of digits", "sha256:"+hex63, "hexadecimal decode failed: Odd number of digits"),
		digest("a letter that is no digit", "sha256:g"+hex63, "hexadecimal decode failed: Invalid character 'g' at position 0"),
		digest("a short digest", "sha256:ab", "expected a digest of 32 bytes; found 1"),
		digest("an empty digest", "sha256:", "expected a digest of 32 bytes; found 0"),
		digest("a long digest", "sha256:"+strings.Repeat("ab", 33), "expected a digest of 32 bytes; found 33"),
		digest("an encoded slash", "..%2f..%2fetc%2fpasswd", "expected two parts for hash; found 1"),
		digest("a digest behind an encoded slash", "..%2fsha256:"+strings.Repeat("ab", 32), "unable to parse hash algorithm: Illegal hash algorithm '../sha256'"),
		digest("an encoded NUL", "sha256%3a%00", "hexadecimal decode failed: Odd number of digits"),
		digest("encoded twice", "sha256%253Aab", "expected two parts for hash; found 1"),
		digest("a percent sign alone", "%", "expected two parts for hash; found 1"),
		row("an encoded colon", get("/v1/content/sha256%3A"+strings.TrimPrefix(noDigest, "sha256:")), 404, typed("contentDigest", noDigest)),
		row("an encoded digit", get("/v1/content/"+strings.Replace(noDigest, "sha256:", "sh%61256:", 1)), 404, typed("contentDigest", noDigest)),
		row("an encoded route", get("/v1/%66etch/checkpoint"), 404, missing),
		row("dots", get("/v1/../v1/ledger"), 404, missing),
		row("a dot", get("/v1/./ledger"), 404, missing),
		row("encoded dots", get("/v1/%2e%2e/ledger"), 404, missing),
		row("two slashes", get("/v1//ledger"), 404, missing),
		row("two slashes at the start", get("//v1/ledger"), 404, ""),
		row("a trailing slash", get("/v1/ledger/"), 404, missing),
		row("a trailing slash behind a parameter", get("/v1/content/"+noDigest+"/"), 404, missing),
		row("a missing parameter", get("/v1/content/"), 404, missing),
		row("an empty parameter", get("/v1/package//record/"+knownRecord), 404, missing),
		row("another case", get("/V1/ledger"), 404, ""),
		row("an unknown path of the API", get("/v1/nothing"), 404, missing),
		row("the API itself", get("/v1"), 404, ""),
		row("the API itself with a slash", get("/v1/"), 404, ""),
		row("an unknown path", get("/nothing"), 404, ""),
		row("an unknown path below the base path", get("/warg/nothing"), 404, ""),
		row("an unknown path of the API below the base path", get("/warg/v1/nothing"), 404, missing),
		row("the well-known folder", get("/.well-known/"), 404, ""),
		row("another well-known document", get("/.well-known/warg/registry.json"), 404, ""),
		row("the debug pages of the reference", get("/debug/packages"), 404, ""),
		row("metrics are not public", get("/metrics"), 404, ""),
		row("profiles are not public", get("/debug/pprof/"), 404, ""),
		row("status is not public", get("/statusz"), 404, ""),
		row("admin calls are not public", get("/admin/namespaces"), 404, ""),
		row("a log id that does not parse", get("/v1/package/x/record/"+knownRecord), 400, escaped(400, "Invalid URL: expected two parts for hash; found 1")),
		row("a record id that does not parse", get("/v1/package/"+knownLog+"/record/x"), 400, escaped(400, "Invalid URL: expected two parts for hash; found 1")),
		row("a log id that does not parse, on publish", post("/v1/package/x/record", "{}"), 400, escaped(400, "Invalid URL: expected two parts for hash; found 1")),
		row("a path before an unknown registry", get("/v1/content/x", "Warg-Registry: nobody.example"), 400, escaped(400, "Invalid URL: expected two parts for hash; found 1")),
		row("a start that is no number", get("/v1/ledger/records/abc"), 400, escaped(400, "Invalid URL: Cannot parse `\"abc\"` to a `u64`")),
		row("a negative start", get("/v1/ledger/records/-1"), 400, escaped(400, "Invalid URL: Cannot parse `\"-1\"` to a `u64`")),
		row("a start with a plus", get("/v1/ledger/records/+1"), 400, escaped(400, "Invalid URL: Cannot parse `\"+1\"` to a `u64`")),
		row("a start beyond 64 bits", get("/v1/ledger/records/18446744073709551616"), 400, escaped(400, "Invalid URL: Cannot parse `\"18446744073709551616\"` to a `u64`")),
		row("a start beyond the end", get("/v1/ledger/records/18446744073709551615"), 200, ""),
		row("a ledger of nobody", get("/v1/ledger/nobody.example/records/0"), 404, escaped(404, "registry `nobody.example` is not served here")),
		row("a ledger of a name with a slash", get("/v1/ledger/a%2fb/records/0"), 400, escaped(400, "Invalid URL: invalid registry domain \"a/b\": it has characters other than letters, digits and . - _ : [ ]")),
		row("a content file that is none", get("/content/passwd"), 404, ""),
		row("a content file with a short digest", get("/content/sha256-ab"), 404, ""),
		row("a content file with a colon", get("/content/"+noDigest), 404, ""),
		row("a content file in upper case", get("/content/sha256-"+strings.Repeat("AB", 32)), 404, ""),
		row("a content file that is not here", get("/content/sha256-"+strings.Repeat("ab", 32)), 404, ""),
		row("content of nobody", get("/content/nobody.example/sha256-"+strings.Repeat("ab", 32)), 404, ""),
		row("content of a malformed domain", get("/content/.../sha256-"+strings.Repeat("ab", 32)), 404, ""),
		row("content behind dots", get("/content/../content/sha256-"+strings.Repeat("ab", 32)), 404, ""),
		row("content behind an encoded slash", get("/content/..%2f..%2fetc%2fpasswd"), 404, ""),
		row("content behind a backslash", get("/content/..\\..\\etc"), 404, ""),
		row("the content folder", get("/content"), 404, ""),
		row("the content folder with a slash", get("/content/"), 404, ""),
		row("content with a trailing slash", get("/content/sha256-"+strings.Repeat("ab", 32)+"/"), 404, ""),
	}
}

func TestPaths(t *testing.T) {
	st := newSite(t)
	rows := pathRows()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.check(t, st) })
	}
	t.Logf("%d rows", len(rows))
}

// registryRows are values of the Warg-Registry header.
func registryRows() (rows []rawRow) {
	const path = "/v1/fetch/checkpoint"
	malformed := func(value, text string) {
		rows = append(rows, rawRow{"malformed: " + value, get(path, "Warg-Registry:"+value), 400,
			escaped(400, "malformed Warg-Registry header: invalid registry domain "+text), true})
	}
	const set = "it has characters other than letters, digits and . - _ : [ ]"
	const ends = "it must begin and end with a letter or digit"
	malformed("", `"": it is empty`)
	malformed(" a b", `"a b": `+set)
	malformed(" a/b", `"a/b": `+set)
	malformed(" http://a", `"http://a": `+set)
	malformed(" a,b", `"a,b": `+set)
	malformed(" ..", `"..": it has an empty label`)
	malformed(" a..b", `"a..b": it has an empty label`)
	malformed(" -a", `"-a": `+ends)
	malformed(" a.", `"a.": `+ends)
	malformed(" *", `"*": `+ends)
	malformed(" a%00b", `"a%00b": `+set)
	malformed(" "+strings.Repeat("a", 256), `"`+strings.Repeat("a", 64)+"\"…: it is longer than 255 bytes")
	for _, value := range []string{"nobody.example", "127.0.0.1", "127.0.0.1-8090", "[::1]-8090", "OWN.EXAMPLE", "up.example:443", "localhost", "pkg.example.com_warg"} {
		rows = append(rows, rawRow{"unknown: " + value, get(path, "Warg-Registry: "+value), 404,
			escaped(404, "registry `"+value+"` is not served here"), true})
	}
	return rows
}

func TestRegistryHeader(t *testing.T) {
	st := newSite(t)
	for _, row := range registryRows() {
		t.Run(row.name, func(t *testing.T) {
			if r := row.check(t, st); r.header.Get("Warg-Registry") != "" {
				t.Errorf("a registry that is not served is echoed: %v", r.header)
			}
		})
	}
}

// semanticRows are requests in good form that a registry refuses.
func semanticRows() []rawRow {
	row := func(name, raw string, status int, body string) rawRow { return rawRow{name, raw, status, body, true} }
	logs := func(name, body string, status int, want string) rawRow {
		return row("logs: "+name, post("/v1/fetch/logs", body), status, want)
	}
	misshapen := func(name, path, body string) rawRow {
		return row(path+": "+name, post(path, body), 422, parseFault(path, body))
	}
	logPath := "/v1/package/" + knownLog + "/record"
	publish := func(name, log, body string, status int, want string) rawRow {
		return row("publish: "+name, post("/v1/package/"+log+"/record", body), status, want)
	}
	good := newCannedBody("test:component", "")
	limit := func(n string) string {
		return escaped(400, "invalid records limit value `"+n+"`: must be between 1 and 1000")
	}
	proof := func(name, path, body string, status int, want string) rawRow {
		return row(path+": "+name, post("/v1/proof/"+path, body), status, want)
	}
	failure := func(text string) string { return fmt.Sprintf(`{"status":422,"reason":"failure","message":%q}`, text) }
	return []rawRow{
		logs("limit 0", `{"logLength":3,"limit":0}`, 400, limit("0")),
		logs("limit 1001", `{"logLength":3,"limit":1001}`, 400, limit("1001")),
		logs("limit before everything else", `{"logLength":99,"limit":0,"operator":"x"}`, 400, limit("0")),
		misshapen("limit 65536", "/v1/fetch/logs", `{"logLength":3,"limit":65536}`),
		misshapen("a negative limit", "/v1/fetch/logs", `{"logLength":3,"limit":-1}`),
		misshapen("a fraction", "/v1/fetch/logs", `{"logLength":1.5}`),
		misshapen("a length as text", "/v1/fetch/logs", `{"logLength":"3"}`),
		misshapen("no length", "/v1/fetch/logs", `{}`),
		misshapen("a length in another case", "/v1/fetch/logs", `{"LogLength":3}`),
		misshapen("an unknown member", "/v1/fetch/logs", `{"logLength":3,"x":1}`),
		misshapen("a member twice", "/v1/fetch/logs", `{"logLength":3,"logLength":2}`),
		misshapen("a log twice", "/v1/fetch/logs", `{"logLength":3,"packages":{"`+knownLog+`":null,"`+knownLog+`":null}}`),
		misshapen("packages null", "/v1/fetch/logs", `{"logLength":3,"packages":null}`),
		misshapen("a log id that does not parse", "/v1/fetch/logs", `{"logLength":3,"packages":{"x":null}}`),
		misshapen("a short log id", "/v1/fetch/logs", `{"logLength":3,"packages":{"sha256:ab":null}}`),
		logs("a length of the future", `{"logLength":99}`, 404, `{"status":404,"type":"logLength","id":99}`),
		logs("length 0", `{"logLength":0}`, 404, `{"status":404,"type":"logLength","id":0}`),
		logs("an unknown log", `{"logLength":3,"packages":{"`+otherLog+`":null}}`, 404, typed("log", otherLog)),
		logs("an unknown operator token", `{"logLength":3,"operator":"tok\"en"}`, 404, `{"status":404,"type":"fetchToken","id":"tok\"en"}`),
		logs("an unknown package token", `{"logLength":3,"packages":{"`+knownLog+`":"sha256:00"}}`, 404, typed("fetchToken", "sha256:00")),

		row("names: an unknown log", post("/v1/fetch/names", `{"packages":["`+otherLog+`"]}`), 404, typed("log", otherLog)),
		misshapen("null", "/v1/fetch/names", `{"packages":null}`),
		misshapen("a number", "/v1/fetch/names", `{"packages":[1]}`),

		publish("another log", otherLog, good, 400, escaped(400, "package log identifier `"+knownLog+"` derived from `test:component` does not match provided log identifier `"+otherLog+"`")),
		publish("an undefined namespace", mustName("none:x").LogID().String(), newCannedBody("none:x", ""), 404, typed("namespace", "none")),
		publish("content sources", knownLog, newCannedBody("test:component", `{"`+noDigest+`":[]}`), 501, message(501, "specifying content sources is not supported")),
		publish("content sources and another log", otherLog, newCannedBody("test:component", `{"`+noDigest+`":[]}`), 400,
			escaped(400, "package log identifier `"+knownLog+"` derived from `test:component` does not match provided log identifier `"+otherLog+"`")),
		misshapen("a bad name", logPath, strings.Replace(good, "test:component", "Test:component", 1)),
		misshapen("a name without colon", logPath, strings.Replace(good, "test:component", "test", 1)),
		misshapen("no record", logPath, `{"packageName":"test:component"}`),
		misshapen("base64 with a newline", logPath, `{"packageName":"test:component","record":{"contentBytes":"AA\nA=","keyId":"k","signature":"ecdsa-p256:AA=="}}`),
		misshapen("base64url", logPath, `{"packageName":"test:component","record":{"contentBytes":"_-__","keyId":"k","signature":"ecdsa-p256:AA=="}}`),
		misshapen("null for the record", logPath, `{"packageName":"test:component","record":null}`),
		row("publish: through an upstream", post(logPath, good, "Warg-Registry: up.example"), 501, escaped(501, "publishing to registry `up.example` through this server is not supported")),

		row("record: an unknown log", get("/v1/package/"+otherLog+"/record/"+knownRecord), 404, typed("log", otherLog)),
		row("record: an unknown record", get("/v1/package/"+knownLog+"/record/"+noDigest), 404, typed("record", noDigest)),
		row("sources: unknown content", get("/v1/content/"+noDigest), 404, typed("contentDigest", noDigest)),

		proof("backwards", "consistency", `{"from":2,"to":1}`, 422, failure("tries to prove later value comes before earlier")),
		proof("from nothing", "consistency", `{"from":0,"to":1}`, 422, failure("A bundle can not be made from no proofs")),
		proof("beyond the end", "consistency", `{"from":1,"to":99}`, 404, `{"status":404,"type":"logLength","id":99}`),
		misshapen("a missing member", "/v1/proof/consistency", `{"from":1}`),
		misshapen("a number beyond 64 bits", "/v1/proof/consistency", `{"from":1,"to":18446744073709551616}`),
		proof("a leaf beyond the log", "inclusion", `{"logLength":3,"leafs":[99]}`, 404, `{"status":404,"type":"leaf","id":99}`),
		proof("a newer leaf", "inclusion", `{"logLength":1,"leafs":[2]}`, 422, failure("leaf newer than when it should be included")),
		proof("no leaves", "inclusion", `{"logLength":3,"leafs":[]}`, 422, failure("A bundle can not be made from no proofs")),
		proof("a length that is none", "inclusion", `{"logLength":99,"leafs":[2]}`, 404, `{"status":404,"type":"logLength","id":99}`),
		proof("a record that is not the head", "inclusion", `{"logLength":3,"leafs":[1]}`, 422,
			fmt.Sprintf(`{"status":422,"reason":"incorrectProof","root":%q,"found":%q}`, warg.Sum([]byte("map")), warg.Sum([]byte("old")))),
		misshapen("too many leaves", "/v1/proof/inclusion", `{"logLength":3,"leafs":[0`+strings.Repeat(",0", warg.MaxLeaves)+`]}`),

		misshapen("a bad signature", "/v1/verify/checkpoint", `{"contents":{"logRoot":"`+noDigest+`","logLength":1,"mapRoot":"`+noDigest+`","timestamp":1},"keyId":"k","signature":"x"}`),
		misshapen("no contents", "/v1/verify/checkpoint", `{"keyId":"k","signature":"ecdsa-p256:AA=="}`),
		misshapen("contents twice", "/v1/verify/checkpoint", `{"contents":{},"contents":{}}`),
	}
}

func TestSemantics(t *testing.T) {
	st := newSite(t)
	rows := semanticRows()
	count := 0
	for _, row := range rows {
		count++
		t.Run(row.name, func(t *testing.T) {
			row.check(t, st)
		})
	}
	if _, accepted := st.own.counts(); accepted != 0 {
		t.Errorf("%d records were accepted", accepted)
	}
	t.Logf("%d rows", count)
}

// TestBadInputRows keeps the promise of the size of these tables.
func TestBadInputRows(t *testing.T) {
	n := len(headRows()) + len(bodyRows()) + len(pathRows()) + len(registryRows()) + len(semanticRows()) + len(methodRows()) + len(uploadRows(newCanned(t, ownDomain)))
	if n < 150 {
		t.Errorf("%d rows of bad input; 150 were promised", n)
	}
	t.Logf("%d rows of bad input", n)
}
