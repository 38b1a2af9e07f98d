//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The pinned clients: the same versions stand in clients.sh, and TestClientsPinned
// fails when the two lists differ.
const (
	wargServer = "warg-server-0.10.0" // the reference registry
	warg010    = "warg-cli-0.10.0"    // the last release
	warg09     = "warg-cli-0.9.2"     // what wkg and wac embed
	warg07     = "warg-cli-0.7.0"     // the oldest that reads the well-known document; prompts on hints
	wkg015     = "wkg-0.15.1"         // the last wkg that speaks Warg
	wac010     = "wac-cli-0.10.1"     // the only Warg client that is still released
)

// tools says where the programs under test are.
type tools struct {
	entrepot string // the binary built by make
	clients  string // the folder that make clients fills: <crate>-<version>/bin/<program>
}

// findTools returns the programs, or fails with what to run: a run that skipped a
// client would prove nothing.
func findTools(t *testing.T) tools {
	t.Helper()
	found := tools{entrepot: os.Getenv("ENTREPOT_BIN"), clients: clientsDir(t)}
	var missing []string
	if found.entrepot == "" {
		missing = append(missing, "the entrepot binary: set ENTREPOT_BIN, or run make e2e")
	} else if abs, err := filepath.Abs(found.entrepot); err != nil || !executable(abs) {
		missing = append(missing, fmt.Sprintf("the entrepot binary %s: run make build", found.entrepot))
	} else {
		found.entrepot = abs
	}
	for _, program := range []string{
		found.program(wargServer, "warg-server"), found.program(warg010, "warg"), found.program(warg09, "warg"),
		found.program(warg07, "warg"), found.program(wkg015, "wkg"), found.program(wac010, "wac"),
	} {
		if !executable(program) {
			missing = append(missing, program+": run make clients")
		}
	}
	if len(missing) > 0 {
		t.Fatalf("these are missing, and nothing is skipped:\n  %s", strings.Join(missing, "\n  "))
	}
	return found
}

// program returns the path of a program of a pinned client.
func (t tools) program(client, name string) string {
	return filepath.Join(t.bin(client), name)
}

// bin returns the folder with a pinned client's programs.
func (t tools) bin(client string) string {
	return filepath.Join(t.clients, client, "bin")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// clientsDir is the folder that clients.sh installs into.
func clientsDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("ENTREPOT_CLIENTS"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatalf("finding the home folder, below which make clients installs: %v", err)
	}
	return filepath.Join(home, ".cache", "entrepot-clients")
}

// TestClientsPinned holds the list above and the list that clients.sh installs together.
func TestClientsPinned(t *testing.T) {
	script, err := os.ReadFile("clients.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{wargServer, warg010, warg09, warg07, wkg015, wac010} {
		cut := strings.LastIndexByte(client, '-')
		if line := "install " + client[:cut] + " " + client[cut+1:] + " "; !strings.Contains(string(script), "\n"+line) {
			t.Errorf("clients.sh has no line %q", line)
		}
	}
	if got := strings.Count(string(script), "\ninstall "); got != 6 {
		t.Errorf("clients.sh installs %d clients, this package uses 6", got)
	}
}
