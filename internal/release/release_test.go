package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func built() *debug.BuildInfo {
	return &debug.BuildInfo{
		GoVersion: "go1.26.0",
		Main:      debug.Module{Path: "example.com/Program", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.com/b", Version: "v1.0.0+incompatible", Sum: "h1:b"},
			{Path: "example.com/a", Version: "v1.1.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1", Sum: "h1:f"}},
		},
		Settings: []debug.BuildSetting{{Key: "CGO_ENABLED", Value: "0"}},
	}
}

const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// valid checks what the schema of CycloneDX 1.6 requires, and that everything referred
// to is there once.
func valid(t *testing.T, text []byte) (names []string) {
	t.Helper()
	var b struct {
		Format       string                        `json:"bomFormat"`
		SpecVersion  string                        `json:"specVersion"`
		SerialNumber string                        `json:"serialNumber"`
		Version      int                           `json:"version"`
		Metadata     struct{ Component component } `json:"metadata"`
		Components   []component                   `json:"components"`
		Dependencies []dependency                  `json:"dependencies"`
	}
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.SpecVersion != "1.6" || b.Version < 1 {
		t.Errorf("it says %s %s, version %d", b.Format, b.SpecVersion, b.Version)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(b.SerialNumber) {
		t.Errorf("serial number %s", b.SerialNumber)
	}
	refs := map[string]bool{}
	for i, c := range append([]component{b.Metadata.Component}, b.Components...) {
		kind := "library"
		if i == 0 {
			kind = "application"
		}
		if c.Type != kind || c.Name == "" || c.Version == "" || c.Ref == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") || refs[c.Ref] {
			t.Errorf("component %+v", c)
		}
		refs[c.Ref] = true
		names = append(names, c.Name+"@"+c.Version)
	}
	if h := b.Metadata.Component.Hashes; len(h) != 1 || h[0].Algorithm != "SHA-256" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(h[0].Content) {
		t.Errorf("hashes %v", h)
	}
	for _, d := range b.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !refs[ref] {
				t.Errorf("it depends on %s, which is not there", ref)
			}
		}
	}
	if len(b.Dependencies) != len(refs) || len(b.Dependencies[0].DependsOn) != len(refs)-1 {
		t.Errorf("%d dependencies of %d components", len(b.Dependencies), len(refs))
	}
	return names
}

func TestBOM(t *testing.T) {
	text, err := json.Marshal(newBOM(built(), "v1.2.3", digest))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"example.com/Program@v1.2.3", "example.com/b@v1.0.0+incompatible", "example.com/fork@v1.0.1", "stdlib@1.26.0"}
	if names := valid(t, text); !slices.Equal(names, want) {
		t.Errorf("in it are %v, want %v", names, want)
	}
	for _, part := range []string{`"go:sum","value":"h1:f"`, `"go:replaces","value":"example.com/a@v1.1.0"`, `pkg:golang/example.com/b@v1.0.0%2Bincompatible`, `pkg:golang/example.com/program@`, digest} {
		if !strings.Contains(string(text), part) {
			t.Errorf("it lacks %s", part)
		}
	}
}

// TestBOMOfABinary describes a real one: this test.
func TestBOMOfABinary(t *testing.T) {
	file := filepath.Join(t.TempDir(), "binary")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, file); err != nil {
		t.Fatal(err)
	}
	if err := writeBOM(file, "v1"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file + bomSuffix)
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if names := valid(t, text); len(names) != 2+len(info.Deps) {
		t.Errorf("in it are %v; the binary has %d modules", names, len(info.Deps))
	}
}
