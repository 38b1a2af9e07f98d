package main

import (
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// release is "NS:NAME@VERSION" on the command line.
type release struct {
	name    warg.PackageName
	version warg.Version
}

// parseRelease reads a release. Errors are those of usage.
func parseRelease(s string) (release, error) {
	name, version, ok := strings.Cut(s, "@")
	if !ok {
		return release{}, exitf(exitUsage, "`%s` has no version; write it as NS:NAME@VERSION, for example acme:tool@1.0.0", s)
	}
	n, err := parsePackage(name)
	if err != nil {
		return release{}, err
	}
	v, err := warg.ParseVersion(version)
	if err != nil {
		return release{}, exitf(exitUsage, "%w", err)
	}
	return release{n, v}, nil
}

func parsePackage(s string) (warg.PackageName, error) {
	n, err := warg.ParsePackageName(s)
	if err != nil {
		return n, exitf(exitUsage, "%w", err)
	}
	return n, nil
}

// wanted is "NS:NAME[@REQ]": which release of a package will do.
type wanted struct {
	name warg.PackageName
	want warg.Requirement
	text string // the requirement as it was written, "" if there was none
}

// parseWanted reads what to download. A bare version is exact; anything else is a
// requirement as cargo writes it. Without one any release will do.
func parseWanted(s string) (wanted, error) {
	name, text, ok := strings.Cut(s, "@")
	n, err := parsePackage(name)
	if err != nil {
		return wanted{}, err
	}
	requirement := text
	if _, bare := warg.ParseVersion(text); bare == nil {
		requirement = "=" + text
	}
	if !ok {
		requirement = "*"
	}
	r, err := warg.ParseRequirement(requirement)
	if err != nil {
		return wanted{}, exitf(exitUsage, "%w", err)
	}
	return wanted{n, r, text}, nil
}
