package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (-X main.version=…); nothing else writes it.
var version = ""

// protocol names what is spoken: the version in the paths of the HTTP surface,
// and that in every record.
const protocol = "warg v1, records version 0"

type versionCmd struct{ jsonFlag }

func (versionCmd) Help() string {
	return "Example:\n\n    entrepot version --json\n"
}

// build describes the binary.
type build struct {
	Version  string `json:"version"`
	Protocol string `json:"protocol"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified"` // the tree had changes that were not committed
}

func (c versionCmd) Run(p *process) error {
	b := thisBuild()
	return p.print(c.jsonFlag, b, func(w io.Writer) {
		fmt.Fprintf(w, "entrepot %s\n", b.Version)
		fmt.Fprintf(w, "protocol\t%s\n", b.Protocol)
		fmt.Fprintf(w, "go\t%s %s\n", b.Go, b.Platform)
		if b.Commit != "" {
			fmt.Fprintf(w, "commit\t%s%s\n", b.Commit, map[bool]string{true: " (modified)"}[b.Modified])
		}
	})
}

// thisBuild reads what the Go toolchain noted in the binary.
func thisBuild() build {
	b := build{Version: version, Protocol: protocol, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if noted, ok := debug.ReadBuildInfo(); ok {
		for _, s := range noted.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		if b.Version == "" {
			b.Version = noted.Main.Version
		}
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "unknown"
	}
	return b
}
