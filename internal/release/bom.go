package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

// bomSuffix ends the name of the list of what is in a binary.
const bomSuffix = ".cdx.json"

// bom is a list of what is in a binary: CycloneDX 1.6, JSON. It says what the Go command
// noted in the binary, nothing else, so it has neither licenses nor a time.
type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"` // made from the binary's SHA-256
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"` // hex
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// writeBOM writes the list of what is in a binary beside it.
func writeBOM(file, version string) error {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading what is in %s: %w", file, err)
	}
	digest, err := sum(file)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(newBOM(info, version, digest), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file+bomSuffix, append(text, '\n'), 0o644)
}

// newBOM describes a binary with a SHA-256.
func newBOM(info *debug.BuildInfo, version, digest string) bom {
	whole := component{
		Type: "application", Ref: purl(info.Main.Path, version), Name: info.Main.Path, Version: version,
		PURL: purl(info.Main.Path, version), Hashes: []hash{{"SHA-256", digest}},
	}
	for _, s := range info.Settings {
		whole.Properties = append(whole.Properties, property{"go:build:" + s.Key, s.Value})
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	parts := []component{{Type: "library", Ref: purl("stdlib", goVersion), Name: "stdlib", Version: goVersion, PURL: purl("stdlib", goVersion)}}
	for _, m := range info.Deps {
		parts = append(parts, module(m))
	}
	slices.SortFunc(parts, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	tree := dependency{Ref: whole.Ref}
	list := []dependency{}
	for _, p := range parts {
		tree.DependsOn = append(tree.DependsOn, p.Ref)
		list = append(list, dependency{Ref: p.Ref})
	}
	return bom{
		Format: "CycloneDX", SpecVersion: "1.6", SerialNumber: "urn:uuid:" + uuid(digest), Version: 1,
		Metadata: metadata{whole}, Components: parts, Dependencies: append([]dependency{tree}, list...),
	}
}

// module describes a module as it was built: what replaces another is what is there.
func module(m *debug.Module) component {
	built := m
	if m.Replace != nil {
		built = m.Replace
	}
	c := component{Type: "library", Ref: purl(built.Path, built.Version), Name: built.Path, Version: built.Version, PURL: purl(built.Path, built.Version)}
	if built.Sum != "" {
		c.Properties = append(c.Properties, property{"go:sum", built.Sum})
	}
	if m.Replace != nil {
		c.Properties = append(c.Properties, property{"go:replaces", m.Path + "@" + m.Version})
	}
	return c
}

// purl returns the package URL of a Go module. Upper case has no meaning there.
func purl(path, version string) string {
	return "pkg:golang/" + strings.ToLower(path) + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// uuid makes a UUID of version 8 out of a hash in hex, so that it is the same for the
// same binary.
func uuid(digest string) string {
	b := []byte(digest[:32])
	b[12], b[16] = '8', "89ab"[strings.IndexByte("0123456789abcdef", b[16])%4]
	return fmt.Sprintf("%s-%s-%s-%s-%s", b[:8], b[8:12], b[12:16], b[16:20], b[20:])
}
