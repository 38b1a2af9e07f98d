package proxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/entrepot/entrepot/warg/api"
)

// openAPIDocument renders the route table as an OpenAPI 3.1 document.
func openAPIDocument(rows []endpoint, baseURL, version string) []byte {
	paths := map[string]map[string]any{}
	for i := range rows {
		item := paths[rows[i].Template]
		if item == nil {
			item = map[string]any{}
			paths[rows[i].Template] = item
		}
		for _, method := range rows[i].methods() {
			item[strings.ToLower(method)] = rows[i].operation(method)
		}
	}
	if version == "" {
		version = "0"
	}
	document := map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "entrepot", "version": version,
			"description": "A federating registry for WebAssembly packages. Requests that no HTTP implementation should send get 400, 408, 417, 431 or 505 on every path.",
		},
		"servers":    []map[string]any{{"url": baseURL}},
		"paths":      paths,
		"components": map[string]any{"schemas": schemas()},
	}
	b, err := json.Marshal(document)
	if err != nil {
		panic(fmt.Sprintf("rendering the route table: %v", err)) // it holds strings and numbers only
	}
	return b
}

// operation describes one method of a row.
func (e *endpoint) operation(method string) map[string]any {
	op := map[string]any{
		"operationId": e.operationID(method),
		"summary":     e.summary,
		"responses":   e.responses(),
	}
	if e.about != "" {
		op["description"] = e.about
	}
	if params := e.parameters(); len(params) > 0 {
		op["parameters"] = params
	}
	if e.request != "" {
		media := map[string]any{}
		if e.schema != "" {
			media["schema"] = ref(e.schema)
		}
		op["requestBody"] = map[string]any{"required": true, "content": map[string]any{e.request: media}}
	}
	return op
}

// operationID is unique: the first method has the row's name alone.
func (e *endpoint) operationID(method string) string {
	if method == e.methods()[0] {
		return e.Name
	}
	return e.Name + "_" + strings.ToLower(method)
}

func (e *endpoint) parameters() []map[string]any {
	var params []map[string]any
	for _, name := range e.params() {
		params = append(params, map[string]any{"name": name, "in": "path", "required": true, "schema": paramSchema(name)})
	}
	if e.Header {
		params = append(params, map[string]any{
			"name": api.HeaderRegistry, "in": "header", "required": false,
			"schema":      text("domain of the registry to answer for; absent: our own"),
			"description": "echoed in the answer",
		})
	}
	return params
}

func paramSchema(name string) schema {
	switch name {
	case "log_id", "record_id", "digest":
		return ref("Digest")
	case "start":
		return natural("index of the first entry")
	case "capability":
		return text("from the state of a record")
	case "file":
		return schema{"type": "string", "pattern": "^sha256-[0-9a-f]{64}$"}
	}
	return text("domain of a registry")
}

// responses describes every answer of a row, by status.
func (e *endpoint) responses() map[string]any {
	whens := map[int][]string{}
	content := map[int]map[string]any{}
	for _, a := range e.answers {
		whens[a.status] = append(whens[a.status], a.when)
		if a.media != "" {
			media := map[string]any{}
			if a.schema != "" {
				media["schema"] = ref(a.schema)
			}
			content[a.status] = map[string]any{a.media: media}
		}
	}
	for _, f := range e.faults {
		status := api.Status(f.kind)
		whens[status] = append(whens[status], f.when)
		content[status] = map[string]any{api.ContentTypeJSON: map[string]any{"schema": ref("Error")}}
	}
	for _, n := range e.empty {
		whens[n.status] = append(whens[n.status], n.when)
	}
	responses := map[string]any{}
	for _, status := range slices.Sorted(maps.Keys(whens)) {
		r := map[string]any{"description": strings.Join(whens[status], "; or ")}
		if content[status] != nil {
			r["content"] = content[status]
		}
		responses[strconv.Itoa(status)] = r
	}
	return responses
}
