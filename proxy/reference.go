package proxy

import (
	"fmt"
	"strings"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// referenceHead opens the reference page.
const referenceHead = `# The HTTP interface

This page is made from the route table in ` + "`proxy/endpoint.go`" + `; a test keeps the two equal. The same table is served as OpenAPI at
` + "`/openapi.json`" + `. Where we differ from the reference registry on purpose stands in [differences.md](differences.md).

## For every request

* Routes answer at the root and, where ` + "`base_url`" + ` has a path, below it as well. Paths are matched as they were sent: no redirects, no
  clean-up, a trailing slash is another path. Parameters are percent-decoded once.
* ` + "`Warg-Registry: <domain>`" + ` on a route of the ` + "`/v1`" + ` API names the registry to answer for; absent, or our own domain, means our own. It is
  echoed. The first thing that is wrong decides, in this order: path parameters, this header, content type, length, body.
* Answers for another registry carry ` + "`Age`" + `, the seconds since its checkpoint was last known to be the newest, and
  ` + "`Entrepot-Checkpoint-Time`" + `, when that checkpoint was signed.
* ` + "`Cache-Control: only-if-cached`" + ` on the checkpoint of another registry asks for the newest that was ever accepted, without that registry being
  asked. If there is none the answer is 504 with ` + "`Entrepot-Held: none`" + `. Peers ask so.
* JSON answers and errors have the content type ` + "`application/json`" + ` and nothing else. The HTTP status equals ` + "`status`" + ` in the body.
* JSON requests need ` + "`application/json`" + ` or ` + "`application/*+json`" + `, have at most 2 MiB, no member twice, and valid UTF-8.
* An unknown path below ` + "`/v1/`" + ` is 404 with a JSON body, any other unknown path an empty 404. A known path with a wrong method is an empty
  405 with ` + "`Allow`" + `. OPTIONS is always the CORS answer. HEAD is GET without the body.
* Every answer may be read by web pages (` + "`Access-Control-Allow-Origin: *`" + `). Answers of 500 and above have an ` + "`X-Request-Id`" + ` that stands
  in the log.
* A request that two HTTP implementations could read differently is refused and the connection closed:

`

// Reference returns the reference page of the HTTP interface in Markdown.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(referenceHead)
	writeRefusals(&b)
	for _, e := range endpoints() {
		e.writeReference(&b)
	}
	b.WriteString(referenceAdmin)
	for _, c := range adminCalls() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.pattern, ticked(c.in), ticked(c.out), c.about)
	}
	return []byte(b.String())
}

// referenceAdmin opens the part about the admin listener.
const referenceAdmin = `
## The admin listener

It is a Unix socket or a loopback port, and who reaches it may do everything. Requests with ` + "`Origin`" + ` or ` + "`Sec-Fetch-Site`" + ` come from web
pages and get 403. POST needs ` + "`application/json`" + `. Errors are ` + "`{\"status\":…,\"message\":\"…\"}`" + ` and tell the operator everything.

| call | request | answer | |
| --- | --- | --- | --- |
`

// ticked sets JSON in code style, and words as they are.
func ticked(body string) string {
	if !strings.HasPrefix(body, "{") {
		return body
	}
	return "`" + body + "`"
}

func writeRefusals(b *strings.Builder) {
	b.WriteString("| status | message |\n| --- | --- |\n")
	for why := accepted + 1; why < refusalCount; why++ {
		fmt.Fprintf(b, "| %d | %s |\n", refusals[why].status, refusals[why].message)
	}
}

func (e *endpoint) writeReference(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s `%s`\n\n%s.", strings.ReplaceAll(e.Methods, ",", ", "), e.Template, strings.ToUpper(e.summary[:1])+e.summary[1:])
	if e.about != "" {
		b.WriteString(" " + e.about)
	}
	b.WriteString("\n\n")
	if e.request != "" {
		fmt.Fprintf(b, "Request: `%s`%s.\n\n", e.request, ofSchema(e.schema))
	}
	b.WriteString("| status | body | when |\n| --- | --- | --- |\n")
	for _, a := range e.answers {
		fmt.Fprintf(b, "| %d | %s | %s |\n", a.status, bodyOf(a.media, a.schema), a.when)
	}
	for _, f := range e.faults {
		fmt.Fprintf(b, "| %d | `%s` | %s |\n", api.Status(f.kind), exampleOf(f.kind), f.when)
	}
	for _, n := range e.empty {
		fmt.Fprintf(b, "| %d | %s | %s |\n", n.status, bodyOf("", ""), n.when)
	}
}

func ofSchema(name string) string {
	if name == "" {
		return ""
	}
	return ", schema `" + name + "`"
}

func bodyOf(media, schema string) string {
	if media == "" {
		return "empty"
	}
	return "`" + media + "`" + ofSchema(schema)
}

// exampleOf shows the shape of the body that tells a kind of error.
func exampleOf(kind warg.Kind) string {
	e := &warg.Error{Kind: kind, ID: "…", Number: 7, Message: "…"}
	body := string(api.AppendError(nil, e))
	body = strings.ReplaceAll(body, warg.Digest{}.String(), "sha256:…")
	return body
}
