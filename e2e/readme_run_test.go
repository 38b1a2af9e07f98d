//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// blockWithin bounds one block of the README, a build in it.
	blockWithin = 5 * time.Minute
	// readmeAddress is where the README's server listens; its commands say so.
	readmeAddress = "127.0.0.1:8090"
)

// TestReadmeRuns follows the README as a new user would: every block of commands, in order
// and to the letter, in a fresh copy of this tree, in a shell that goes on in the folder and
// with the exported variables that the block before left.
func TestReadmeRuns(t *testing.T) {
	_, blocks := readReadme(t)
	if listener, err := net.Listen("tcp", readmeAddress); err != nil {
		t.Fatalf("the README's commands need %s for themselves: %v", readmeAddress, err)
	} else {
		listener.Close()
	}
	r := newReader(t)
	for _, b := range blocks {
		t.Logf("README.md:%d (%s)\n%s", b.line, b.mark, b.text)
		switch b.mark {
		case "run: serve":
			r.serve(b.text)
		case "run: tour", "run: warg":
			r.shell(b.text)
		case "file: entrepot.toml":
			r.upstream(b.text)
		case "run: upstream":
			r.shell(b.text)
		}
	}
}

// reader is the person who follows the README.
type reader struct {
	t      *testing.T
	tools  tools
	dir    string // everything they make
	clone  string // where they stand
	server *server
	behind *server // the registry that the README's example has as upstream
}

func newReader(t *testing.T) *reader {
	dir := t.TempDir()
	r := &reader{t: t, tools: findTools(t), dir: dir, clone: filepath.Join(dir, "entrepot")}
	t.Cleanup(r.stop)
	r.shell(`mkdir -p "$READER/home" "$CLONE"
cd "$REPOSITORY"
git ls-files -z --cached --others --exclude-standard --exclude '/.bench-*/' | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar -c --ignore-failed-read --null -T - | tar -x -C "$CLONE"
cd "$CLONE"
git init -q -b main . && git add -A
git -c user.name=reader -c user.email=reader@example.com commit -q -m "as it stands"`)
	return r
}

// shell runs commands in the shell that the reader has open.
func (r *reader) shell(text string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), blockWithin)
	defer cancel()
	cmd := r.command(ctx, text+"\n{ export -p; printf 'cd %q\\n' \"$PWD\"; } >\"$READER/shell\"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v\n%s\nprinted:\n%s\nthe server:\n%s", err, text, out, r.serverTail())
	}
}

// command is bash with the reader's environment: of the person who runs the test it has the
// path and the Go command's settings only.
func (r *reader) command(ctx context.Context, text string) *exec.Cmd {
	repository, err := filepath.Abs("..")
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c",
		"if [ -e \"$READER/shell\" ]; then . \"$READER/shell\"; fi\n"+text)
	path := []string{r.tools.bin(warg010), r.tools.bin(wkg015), r.tools.bin(wac010), filepath.Join(r.clone, "bin"), os.Getenv("PATH")}
	cmd.Env = append(goEnvironment(r.t),
		"PATH="+strings.Join(path, string(os.PathListSeparator)), "HOME="+filepath.Join(r.dir, "home"),
		"READER="+r.dir, "CLONE="+r.clone, "REPOSITORY="+repository, "NO_COLOR=1", "NO_PROXY=127.0.0.1,localhost",
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// goEnvironment keeps the Go command working with another home folder.
func goEnvironment(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS"} {
		value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatalf("asking go for %s: %v", name, err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

// serve runs a block that goes on, and waits until the server in it says that it is ready.
func (r *reader) serve(text string) {
	r.t.Helper()
	r.stopServer()
	log := filepath.Join(r.dir, "serve.log")
	if err := os.Remove(log); err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	s, err := startServer("the server of the README", log, r.command(context.WithoutCancel(r.t.Context()), text))
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = s
	_, err = s.awaitReady(blockWithin, func() (string, error) {
		printed, err := os.ReadFile(log)
		if err == nil && !bytes.Contains(printed, []byte("ready")) {
			err = fmt.Errorf("no line with ready")
		}
		return "", err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// upstream brings the example configuration to life: a reference registry plays the one in it,
// with its URL and its key put in the places of the example's, and the server is started with it.
func (r *reader) upstream(toml string) {
	r.t.Helper()
	address, err := freeAddress()
	if err != nil {
		r.t.Fatal(err)
	}
	content := filepath.Join(r.dir, "upstream-content")
	cmd := exec.Command(r.tools.program(wargServer, "warg-server"), "--listen", address, "--content-dir", content, "--namespace", "wasi")
	cmd.Env = []string{"PATH=" + systemPath, "NO_COLOR=1", "WARG_OPERATOR_KEY=" + operatorKey("wasi.example")}
	if err := os.Mkdir(content, 0o755); err != nil {
		r.t.Fatal(err)
	}
	if r.behind, err = startServer("the upstream of the README", filepath.Join(r.dir, "upstream.log"), cmd); err != nil {
		r.t.Fatal(err)
	}
	url, err := r.behind.awaitReady(readyWithin, readyByAddress(address))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, example := range []string{`"https://warg.wasi.example"`, `"sha256:…"`} {
		if !strings.Contains(toml, example) {
			r.t.Fatalf("the example configuration has no %s to put the test's own in its place", example)
		}
	}
	r.shell(`entrepot key of ` + url + ` | grep -o 'sha256:[0-9a-f]*' | head -n 1 | tr -d '\n' >"$READER/pin"
printf '\0asm\1\0\0\0' >http.wasm
entrepot key new --out wasi.key
entrepot publish --registry ` + url + ` --key wasi.key wasi:http@0.2.0 http.wasm`)
	pin, err := os.ReadFile(filepath.Join(r.dir, "pin"))
	if err != nil {
		r.t.Fatal(err)
	}
	toml = strings.NewReplacer(`"https://warg.wasi.example"`, `"`+url+`"`, `"sha256:…"`, `"`+string(pin)+`"`).Replace(toml)
	if err := writeFile(filepath.Join(r.clone, "entrepot.toml"), []byte(toml+"allow_private_addresses = true\n")); err != nil {
		r.t.Fatal(err)
	}
	r.serve("exec entrepot serve")
}

func (r *reader) serverTail() string {
	if r.server == nil {
		return "\tnone runs"
	}
	return r.server.tail()
}

// stopServer does what Ctrl-C does.
func (r *reader) stopServer() {
	if r.server != nil {
		_ = r.server.signal(syscall.SIGINT) // make reports the interrupt as a failure of its own
		r.server = nil
	}
}

func (r *reader) stop() {
	r.stopServer()
	if r.behind != nil {
		r.behind.end()
	}
}
