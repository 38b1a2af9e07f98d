package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// wellKnown answers OpWellKnown.
func (c *call) wellKnown() error {
	c.json(func(dst []byte) []byte {
		return api.AppendWellKnown(dst, api.WellKnown{Preferred: "warg", WargURL: c.s.baseURL})
	})
	return nil
}

// health says that the process lives.
func (c *call) health() error {
	if err := c.s.dead(); err != nil {
		return err
	}
	return c.ok()
}

// dead returns why the process should be ended, or nil.
func (s *Server) dead() error {
	if s.alive == nil {
		return nil
	}
	if err := s.alive(); err != nil {
		return warg.Errorf(warg.KindUnavailable, "not alive: %w", err)
	}
	return nil
}

func (c *call) ok() error {
	c.json(func(dst []byte) []byte { return append(dst, `{"status":"ok"}`...) })
	return nil
}

// ready says whether the server can serve.
func (c *call) ready() error {
	if c.s.readiness != nil {
		if err := c.s.readiness(c.s.base); err != nil {
			return warg.Errorf(warg.KindUnavailable, "not ready: %w", err)
		}
	}
	text, err := json.Marshal(c.s.readyStatus())
	if err != nil {
		return err
	}
	c.json(func(dst []byte) []byte { return append(dst, text...) })
	return nil
}

// readyStatus says that the server is ready, and what should be looked at all the same.
type readyStatus struct {
	Status      string   `json:"status"`
	Quarantined []string `json:"quarantined,omitempty"` // domains of upstreams
}

func (s *Server) readyStatus() readyStatus {
	r := readyStatus{Status: "ok"}
	if s.quarantined != nil {
		r.Quarantined = s.quarantined()
	}
	return r
}

// openAPI answers with the route table.
func (c *call) openAPI() error {
	c.json(func(dst []byte) []byte { return append(dst, c.s.document...) })
	return nil
}

// page is what the page for people shows.
type page struct {
	Domain, BaseURL, Version string
	Upstreams                []pageUpstream
}

type pageUpstream struct {
	Domain     string
	Namespaces []string
}

// index shows the page for people.
func (c *call) index() error {
	h := &c.ctx.Response.Header
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	c.write(c.row.Type, cacheNever, func(dst []byte) []byte { return append(dst, *c.s.page.Load()...) })
	return nil
}

// renderPage makes the page for people.
func (s *Server) renderPage() error {
	f := s.federation
	p := page{Domain: f.own.Domain(), BaseURL: s.baseURL, Version: s.version}
	for _, domain := range f.domains() {
		p.Upstreams = append(p.Upstreams, pageUpstream{domain, f.namespacesOf(domain)})
	}
	var b bytes.Buffer
	if err := pageTemplate().Execute(&b, p); err != nil {
		return fmt.Errorf("rendering the index page: %w", err)
	}
	text := b.Bytes()
	s.page.Store(&text)
	return nil
}

// namespacesOf returns the namespaces that clients are hinted to domain for, sorted.
func (f *Federation) namespacesOf(domain string) (names []string) {
	for ns, d := range f.table.Load().domains {
		if d == domain {
			names = append(names, ns)
		}
	}
	slices.Sort(names)
	return names
}

// pageTemplate is read by screen readers, text browsers and phones alike: one
// language, one heading per level, no scripts, colours with enough contrast in
// both schemes.
func pageTemplate() *template.Template {
	return template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Domain}} – package registry</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: .25rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .25rem 1rem .25rem 0; }
</style>
</head>
<body>
<main>
<h1>{{.Domain}}</h1>
<p>This is a registry of WebAssembly packages. It speaks the Warg protocol.</p>
<h2>Use it</h2>
<pre tabindex="0"><code>warg config --registry {{.BaseURL}}
warg download NAMESPACE:NAME</code></pre>
{{if .Upstreams}}<h2>Other registries answered for here</h2>
<table>
<thead><tr><th scope="col">Registry</th><th scope="col">Namespaces</th></tr></thead>
<tbody>{{range .Upstreams}}
<tr><th scope="row">{{.Domain}}</th><td>{{range $i, $ns := .Namespaces}}{{if $i}}, {{end}}{{$ns}}{{else}}on request{{end}}</td></tr>{{end}}
</tbody>
</table>
<p>What they signed is handed on unchanged, after it was verified here.</p>
{{end}}<h2>For programs</h2>
<ul>
<li><a href="{{.BaseURL}}/openapi.json">Description of the HTTP interface</a> (OpenAPI)</li>
<li><a href="{{.BaseURL}}/v1/fetch/checkpoint">Latest signed checkpoint</a></li>
</ul>
</main>
<footer><p>entrepot{{with .Version}} {{.}}{{end}}</p></footer>
</body>
</html>
`))
}
