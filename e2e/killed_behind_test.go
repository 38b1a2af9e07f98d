//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// killedBehindRounds is how often the server is killed while it answers for another
// registry.
const killedBehindRounds = 6

// behind is a reference registry behind a server of ours that is killed again and again,
// with people at both.
type behind struct {
	t       *testing.T
	found   tools
	dir     string
	address string // of ours
	url     string // of the reference registry
	wasm    string
	path    []string
	direct  *client // somebody who asks the reference registry itself
}

// TestKilledWhileFederating kills the server with SIGKILL at random moments while it
// follows another registry that goes on, serves its packages to warm and cold clients, and
// takes records for it. No client may ever be shown less than it was shown before, and what
// was called published must be there.
func TestKilledWhileFederating(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	watcher, cold, author := b.seeded("watcher"), b.seeded("cold"), b.seeded("author")
	b.release(0)
	stop, releasing := make(chan struct{}), sync.WaitGroup{}
	releasing.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
				b.release(n)
			}
		}
	})
	end := sync.OnceFunc(func() { close(stop); releasing.Wait() })
	defer end()
	var through []string
	var shown []string
	for round := range killedBehindRounds {
		s := b.start()
		if round == 0 {
			mustRun(t, watcher, s, "warg", "download", "up:steady", "-o", "./steady.wasm")
		}
		shown = b.showsMore(watcher, s, shown)
		published := make(chan string, 1000)
		var people sync.WaitGroup
		people.Go(func() { b.publishThrough(author, s, round, published) })
		people.Go(func() {
			for running(s) {
				_, _ = runAs(t, watcher, "warg", "update")
				_, _ = runAs(t, cold, "sh", "-c", "warg reset && warg clear && warg download up:steady -o ./steady.wasm")
			}
		})
		if round%2 == 1 { // soon after an answer that has to be true
			select {
			case version := <-published:
				through = append(through, version)
			case <-time.After(commandWithin):
				t.Errorf("round %d: nothing was published through", round)
			}
		}
		time.Sleep(time.Duration(rand.IntN(2500)) * time.Millisecond)
		if err := s.signal(syscall.SIGKILL); !killed(err) {
			t.Fatalf("the server was to die by SIGKILL: %v", err)
		}
		people.Wait()
		close(published)
		for version := range published {
			through = append(through, version)
		}
	}
	s := b.start()
	shown = b.showsMore(watcher, s, shown)
	end()
	b.has(s, through)
	t.Logf("published through over %d kills: %v; of the registry behind was shown at the end:\n%s", killedBehindRounds, through, strings.Join(shown, "\n"))
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	b := &behind{t: t, found: findTools(t), dir: t.TempDir()}
	b.wasm = filepath.Join(b.dir, "wasm")
	b.path = []string{b.found.bin(warg010), filepath.Dir(b.found.entrepot), "/usr/bin", "/bin"}
	if err := writeWasm(b.wasm); err != nil {
		t.Fatal(err)
	}
	theirs, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	if b.address, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	content := filepath.Join(b.dir, "up-content")
	if err := os.Mkdir(content, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(b.found.program(wargServer, "warg-server"), "--listen", theirs, "--content-dir", content, "--namespace", "up")
	cmd.Env = []string{"PATH=" + systemPath, "NO_COLOR=1", "WARG_OPERATOR_KEY=" + operatorKey("up")}
	up, err := startServer("up", filepath.Join(b.dir, "up.log"), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.end)
	if b.url, err = up.awaitReady(readyWithin, readyByAddress(theirs)); err != nil {
		t.Fatal(err)
	}
	if b.direct, err = newClient(filepath.Join(b.dir, "direct"), b.url, nil, b.path); err != nil {
		t.Fatal(err)
	}
	config := "[authority]\ndomain = \"home.example\"\nnamespaces = [\"test\"]\n[upstream.\"up.example\"]\nurl = \"" + b.url +
		"\"\ntrust_first_key = true\nnamespaces = [\"up\"]\nmax_age = \"200ms\"\nallow_private_addresses = true\n"
	if err := writeFile(filepath.Join(b.dir, "entrepot.toml"), []byte(config)); err != nil {
		t.Fatal(err)
	}
	return b
}

// seeded is a client of ours that knows where the namespace is.
func (b *behind) seeded(name string) *client {
	b.t.Helper()
	c, err := newClient(filepath.Join(b.dir, name), "http://"+b.address, nil, b.path)
	if err != nil {
		b.t.Fatal(err)
	}
	cache := filepath.Join(c.dir, "cache", "warg")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := writeFile(filepath.Join(cache, "namespaces"), []byte(`{"up":"up.example"}`)); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// release releases a version at the reference registry itself.
func (b *behind) release(n int) {
	version := fmt.Sprintf("0.%d.0", n)
	if _, err := runAs(b.t, b.direct, "warg", "publish", "release", "--name", "up:steady", "--version", version, filepath.Join(b.wasm, "leaf.wasm")); err != nil {
		b.t.Errorf("releasing at the registry behind: %v", err)
	}
}

// publishThrough publishes versions of a package of the registry behind through our
// server until that is dead, and tells of those that the client called published.
func (b *behind) publishThrough(c *client, s *server, round int, published chan<- string) {
	for n := 0; running(s); n++ {
		version := fmt.Sprintf("%d.%d.0", round, n)
		_, err := runAs(b.t, c, "warg", "publish", "release", "--name", "up:through", "--version", version, filepath.Join(b.wasm, "plug.wasm"))
		if err == nil {
			published <- version
			continue
		}
		// The registry behind takes one record of a package between two of its checkpoints.
		time.Sleep(10 * pollEvery)
	}
}

// start starts our server on what there is.
func (b *behind) start() *server {
	b.t.Helper()
	data := filepath.Join(b.dir, "data")
	cmd := exec.Command(b.found.entrepot, "serve", "--config", filepath.Join(b.dir, "entrepot.toml"), "--data", data, "--listen", b.address)
	cmd.Dir, cmd.Env = b.dir, []string{"PATH=" + systemPath, "HOME=" + b.dir}
	s, err := startServer("home", filepath.Join(b.dir, "home.log"), cmd)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.end)
	if _, err := s.awaitReady(readyWithin, readyByFile(data)); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// showsMore demands that a client is shown all versions that it was shown before, and
// returns what it is shown now.
func (b *behind) showsMore(c *client, s *server, before []string) []string {
	b.t.Helper()
	mustRun(b.t, c, s, "warg", "update")
	shown := versions(mustRun(b.t, c, s, "warg", "info", "up:steady"))
	for _, version := range before {
		if !slices.Contains(shown, version) {
			b.t.Fatalf("%s was shown, and is not any more: %v", version, shown)
		}
	}
	return shown
}

// has demands that what was called published is at the registry behind, and that this is
// still believed.
func (b *behind) has(s *server, through []string) {
	b.t.Helper()
	if len(through) > 0 {
		mustRun(b.t, b.direct, s, "warg", "download", "up:through", "-o", "./through.wasm")
		there := versions(mustRun(b.t, b.direct, s, "warg", "info", "up:through"))
		for _, version := range through {
			if !slices.Contains(there, version) {
				b.t.Errorf("%s was called published, and is not there: %v", version, there)
			}
		}
	}
	status := mustRun(b.t, b.direct, s, "entrepot", "mirror", "status",
		"--config", filepath.Join(b.dir, "entrepot.toml"), "--data", filepath.Join(b.dir, "data"))
	if strings.Contains(status, "quarantined") {
		b.t.Errorf("an honest registry is not believed any more:\n%s", status)
	}
}

var infoVersion = regexp.MustCompile(`(?m)^\s+(\d+\.\d+\.\d+) \(sha256:`)

// versions returns the versions that the client's info lists.
func versions(info string) []string {
	var all []string
	for _, found := range infoVersion.FindAllStringSubmatch(info, -1) {
		all = append(all, found[1])
	}
	return all
}

func running(s *server) bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}
