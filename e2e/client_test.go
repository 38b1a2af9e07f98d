//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// systemPath is what every program here finds beside its own folder.
	systemPath = "/usr/local/bin:/usr/bin:/bin"
	// commandWithin bounds one client command: the clients themselves have no timeout and
	// poll a record for ever. The longest honest one waits for a few five-second
	// checkpoints of the reference server.
	commandWithin = 2 * time.Minute
)

// client is one person with their own configuration, keyring and caches: a folder with
// home, config, cache and cwd. Nothing of the machine's user is visible from it.
type client struct {
	dir  string
	path string // the PATH of its programs
}

// newClient makes the folder: a warg configuration for the home registry, in which settings add
// or replace members, and a signing key in the flat-file keyring.
func newClient(dir, home string, settings map[string]any, path []string) (*client, error) {
	c := &client{dir: dir, path: strings.Join(path, string(os.PathListSeparator))}
	for _, sub := range []string{"home", "config/warg/keyring", "config/wasm-pkg", "cache", "state", "cwd"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	config := map[string]any{"homeUrl": home, "keys": []string{"default"}, "keyringAuth": false, "keyringBackend": "flat-file"}
	maps.Copy(config, settings)
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config", "warg", "config.json"), text, 0o600); err != nil {
		return nil, err
	}
	scalar := make([]byte, 32)
	if _, err := rand.Read(scalar); err != nil {
		return nil, err
	}
	scalar[0] &= 0x7f // below the order of the curve, whatever was drawn
	return c, c.keep("warg-signing-key", "default", "ecdsa-p256:"+base64.StdEncoding.EncodeToString(scalar))
}

// keep writes a secret into the flat-file keyring, where a line break at the end would be part of it.
func (c *client) keep(service, user, secret string) error {
	return os.WriteFile(c.keyring(service, user), []byte(secret), 0o600)
}

// keyring is the file of a secret; names are escaped as in the query of a URL.
func (c *client) keyring(service, user string) string {
	name := "service=" + url.QueryEscape(service) + "&user=" + url.QueryEscape(user)
	return filepath.Join(c.dir, "config", "warg", "keyring", name)
}

// keyFile is the signing key, in the form that our own command line reads as well.
func (c *client) keyFile() string {
	return c.keyring("warg-signing-key", "default")
}

// command is a program run as this client, in its own working folder, with an environment
// made from nothing.
func (c *client) command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	path := program
	if !filepath.IsAbs(program) {
		path = ""
		for _, dir := range filepath.SplitList(c.path) {
			if candidate := filepath.Join(dir, program); executable(candidate) {
				path = candidate
				break
			}
		}
		if path == "" {
			return nil, fmt.Errorf("no %s on %s", program, c.path)
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = filepath.Join(c.dir, "cwd")
	cmd.WaitDelay = time.Second // what a killed shell started may still hold its streams
	cmd.Env = []string{
		"PATH=" + c.path, "HOME=" + filepath.Join(c.dir, "home"),
		"XDG_CONFIG_HOME=" + filepath.Join(c.dir, "config"), "XDG_CACHE_HOME=" + filepath.Join(c.dir, "cache"),
		"XDG_STATE_HOME=" + filepath.Join(c.dir, "state"),
		"NO_PROXY=127.0.0.1,localhost", "NO_COLOR=1", "TERM=xterm", "RUST_BACKTRACE=0",
	}
	return cmd, nil
}
