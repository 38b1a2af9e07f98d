package config

import (
	_ "embed" // the template
	"strconv"
	"strings"
	"text/template"
)

//go:embed template.toml
var templateText string

// Template is what [Template.Text] writes into a new configuration file; the rest
// of the file is comments that show defaults.
type Template struct {
	Listen, BaseURL, Data, Domain string
	Namespaces                    []string
}

// Text returns a commented configuration file.
func (t Template) Text() ([]byte, error) {
	quoted := make([]string, len(t.Namespaces))
	for i, ns := range t.Namespaces {
		quoted[i] = strconv.Quote(ns)
	}
	values := map[string]string{
		"Listen": strconv.Quote(t.Listen), "Data": strconv.Quote(t.Data), "Domain": strconv.Quote(t.Domain),
		"Namespaces": strings.Join(quoted, ", "), "BaseURL": "",
	}
	if t.BaseURL != "" {
		values["BaseURL"] = strconv.Quote(t.BaseURL)
	}
	page, err := template.New("entrepot.toml").Parse(templateText)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = page.Execute(&b, values)
	return []byte(b.String()), err
}
