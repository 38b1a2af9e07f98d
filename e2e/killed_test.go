//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killRounds is how often the server is killed; every round starts it again on what is left.
const killRounds = 10

// TestKilledWhilePublishing kills the server with SIGKILL at random moments while a client
// publishes one release after the other. What the client was told is published must be there
// after every start, and no client may ever be shown a shorter or another history: an update
// of the real client fails on both.
func TestKilledWhilePublishing(t *testing.T) {
	t.Parallel()
	found := findTools(t)
	dir := t.TempDir()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	home := "http://" + address
	path := []string{found.bin(warg010), "/usr/bin", "/bin"}
	publisher, err := newClient(filepath.Join(dir, "publisher"), home, nil, path)
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := newClient(filepath.Join(dir, "watcher"), home, nil, path)
	if err != nil {
		t.Fatal(err)
	}
	wasm := filepath.Join(dir, "wasm")
	if err := writeWasm(wasm); err != nil {
		t.Fatal(err)
	}
	var published []string
	for round := range killRounds {
		s := startHome(t, found, dir, address)
		if round == 0 {
			mustRun(t, publisher, s, "warg", "publish", "release", "--name", "local:steady", "--version", "0.99.0", filepath.Join(wasm, "leaf.wasm"))
			mustRun(t, watcher, s, "warg", "download", "local:steady", "-o", "./steady.wasm")
		}
		mustRun(t, watcher, s, "warg", "update")
		shown := mustRun(t, watcher, s, "warg", "info", "local:steady")
		for _, version := range published {
			if !strings.Contains(shown, version+" ") {
				t.Fatalf("round %d: %s was published and is gone:\n%s", round, version, shown)
			}
		}
		moment := time.AfterFunc(time.Duration(500+rand.IntN(3000))*time.Millisecond, func() {
			_ = s.signal(syscall.SIGKILL)
		})
		published = append(published, publishUntilKilled(t, publisher, s, wasm, round)...)
		moment.Stop()
		s.end()
	}
	if len(published) < killRounds/2 {
		t.Errorf("only %d releases were published in %d rounds: this proves little", len(published), killRounds)
	}
	t.Logf("published over %d kills: %v", killRounds, published)
}

// startHome starts our binary on the folder, with the namespace that is there by default.
func startHome(t *testing.T, found tools, dir, address string) *server {
	t.Helper()
	data := filepath.Join(dir, "data")
	cmd := exec.Command(found.entrepot, "serve", "--data", data, "--listen", address)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + systemPath, "HOME=" + dir}
	s, err := startServer("home", filepath.Join(dir, "home.log"), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	if _, err := s.awaitReady(readyWithin, readyByFile(data)); err != nil {
		t.Fatal(err)
	}
	return s
}

// publishUntilKilled publishes versions until one fails, and returns those that the client
// called published. Small and large content take turns, so that kills hit uploads as well.
func publishUntilKilled(t *testing.T, c *client, s *server, wasm string, round int) []string {
	var done []string
	for n := 0; ; n++ {
		version := fmt.Sprintf("0.%d.%d", round, n)
		file := filepath.Join(wasm, []string{"leaf.wasm", "big.wasm"}[n%2])
		_, err := runAs(t, c, "warg", "publish", "release", "--name", "local:steady", "--version", version, file)
		if err != nil {
			select {
			case <-s.done:
				return done
			case <-time.After(stopWithin):
				t.Fatalf("publishing %s failed while the server ran: %v; its log ends:\n%s", version, err, s.tail())
			}
		}
		done = append(done, version)
	}
}

func runAs(t *testing.T, c *client, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandWithin)
	defer cancel()
	cmd, err := c.command(ctx, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func mustRun(t *testing.T, c *client, s *server, program string, args ...string) string {
	t.Helper()
	out, err := runAs(t, c, program, args...)
	if err != nil {
		t.Fatalf("%v\nthe server's log ends:\n%s", err, s.tail())
	}
	return out
}
