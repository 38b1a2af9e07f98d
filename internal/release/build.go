package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const program = "entrepot"

// platform is an operating system and an architecture, by their names in Go.
type platform struct{ os, arch string }

// platforms returns what binaries are made for.
func platforms() []platform { return []platform{{"linux", "amd64"}, {"linux", "arm64"}} }

// binary says what is built, where.
type binary struct {
	source  string // folder of the module
	out     string
	version string
	platform
	cache string // folder of the build cache, "" = the user's
}

// build makes one binary. What could tell one machine from another is left out: paths,
// the id of the link, the state of the working copy, symbols.
func (b binary) build(ctx context.Context) error {
	ldflags := "-s -w -buildid= -X main.version=" + b.version
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", b.out, "./cmd/"+program)
	cmd.Dir = b.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+b.os, "GOARCH="+b.arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOWORK=off")
	if b.cache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+b.cache)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building for %s/%s: %w\n%s", b.os, b.arch, err, out)
	}
	return nil
}

// sum returns the SHA-256 of a file in hex.
func sum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// makeAll makes the binaries, a list of what is in each, and the list of checksums, in
// the form that sha256sum -c reads.
func makeAll(ctx context.Context, version, out string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, p := range platforms() {
		name := strings.Join([]string{program, version, p.os, p.arch}, "-")
		file := filepath.Join(out, name)
		if err := (binary{source: root, out: file, version: version, platform: p}).build(ctx); err != nil {
			return err
		}
		if err := writeBOM(file, version); err != nil {
			return err
		}
		for _, made := range []string{name, name + bomSuffix} {
			digest, err := sum(filepath.Join(out, made))
			if err != nil {
				return err
			}
			fmt.Fprintf(&sums, "%s  %s\n", digest, made)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "SHA256SUMS"), sums.Bytes(), 0o644); err != nil {
		return err
	}
	_, err = fmt.Print(sums.String())
	return err
}

// moduleRoot returns the folder of the module that the command is run in.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("looking for go.mod: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", errors.New("run it in the module's folder")
	}
	return filepath.Dir(file), nil
}

// reproduce builds the tracked files of the module in two folders whose paths have
// nothing in common, once with the user's build cache and once with an empty one, and
// compares the bytes.
func reproduce(ctx context.Context, version string) (err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "repro-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	here := platform{runtime.GOOS, runtime.GOARCH}
	var sums []string
	for _, place := range []struct{ folder, cache string }{
		{"a", ""},
		{"another/folder/with a longer name", filepath.Join(temp, "cache")},
	} {
		folder, cache := place.folder, place.cache
		source, out := filepath.Join(temp, folder), filepath.Join(temp, fmt.Sprintf("out-%d", len(sums)))
		if err := copyTracked(ctx, root, source); err != nil {
			return err
		}
		if err := (binary{source, out, version, here, cache}).build(ctx); err != nil {
			return err
		}
		digest, err := sum(out)
		if err != nil {
			return err
		}
		fmt.Printf("%s  %s (%s/%s, in %q)\n", digest, program, here.os, here.arch, folder)
		sums = append(sums, digest)
	}
	if sums[0] != sums[1] {
		return errors.New("two builds of the same files are not the same")
	}
	return nil
}

// copyTracked copies the tracked files of a working copy, as they stand there.
func copyTracked(ctx context.Context, from, to string) error {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z")
	cmd.Dir = from
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("listing tracked files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
