//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// world is what one running script has started and made; it ends with the script.
type world struct {
	tools    tools
	work     string
	servers  map[string]*server
	home     map[string]string // server name -> its address, kept over restarts
	clients  map[string]*client
	taps     map[string]*tap
	passages map[string]*passage
	errands  map[string]*errand // client name -> what it is doing while the script goes on
}

type worldKey struct{}

// TestScriptsGoToTheEnd: testscript's own stop and skip end a script early as passed. No story
// may do that, and a server is halted, not stopped.
func TestScriptsGoToTheEnd(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	early := regexp.MustCompile(`(?m)^[^#\n]*\b(stop|skip)\b`)
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		commands, _, _ := strings.Cut(string(text), "\n-- ")
		if line := early.FindString(commands); line != "" {
			t.Errorf("%s ends early by %q", script, line)
		}
	}
}

// TestFaultsUsed: a fault that no story turns on is none.
func TestFaultsUsed(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for name := range faults() {
		if !regexp.MustCompile(`(?m)^fault \w+ ` + name + `$`).MatchString(all.String()) {
			t.Errorf("no story turns the fault %s on", name)
		}
	}
}

// TestScripts runs every story. ENTREPOT_BIN names the binary (make e2e sets it).
func TestScripts(t *testing.T) {
	found := findTools(t)
	testscript.Run(t, testscript.Params{
		Dir:                "scripts",
		RequireUniqueNames: true,
		TestWork:           os.Getenv("E2E_KEEP") != "",
		Setup: func(env *testscript.Env) error {
			w := &world{
				tools: found, work: env.WorkDir,
				servers: map[string]*server{}, home: map[string]string{}, clients: map[string]*client{},
				taps: map[string]*tap{}, passages: map[string]*passage{}, errands: map[string]*errand{},
			}
			env.Values[worldKey{}] = w
			env.Defer(func() { w.close(env.T()) })
			env.Vars = append(env.Vars, w.vars()...)
			return writeWasm(filepath.Join(env.WorkDir, "wasm"))
		},
		Cmds: commands(),
	})
}

// vars is what a script sees beside testscript's own: no configuration of the person who
// runs the tests, our binary in front of the path, and the fixtures.
func (w *world) vars() []string {
	return []string{
		"PATH=" + filepath.Dir(w.tools.entrepot) + string(os.PathListSeparator) + systemPath,
		"HOME=" + filepath.Join(w.work, "home"),
		"XDG_STATE_HOME=" + filepath.Join(w.work, "home", "state"),
		"XDG_CONFIG_HOME=" + filepath.Join(w.work, "home", "config"),
		"XDG_CACHE_HOME=" + filepath.Join(w.work, "home", "cache"),
		"WASM=" + filepath.Join(w.work, "wasm"),
		"VERSION=" + os.Getenv("ENTREPOT_VERSION"),
		"NO_COLOR=1",
	}
}

// close ends what still runs. Where the script failed, the ends of the server logs
// are printed: the client's message alone seldom says why.
func (w *world) close(t testscript.T) {
	result, ok := t.(interface{ Failed() bool })
	for _, s := range w.servers {
		if ok && result.Failed() {
			t.Log("log of ", s.name, " ends:\n", s.tail())
		}
		s.end()
	}
	for _, t := range w.taps {
		t.close()
	}
	for _, p := range w.passages {
		_ = p.server.Close()
	}
	for _, e := range w.errands {
		e.end()
	}
}

// of returns the world of a running script.
func of(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// urlVar is the name of the variable with a server's base URL: up -> UP_URL.
func urlVar(name string) string { return strings.ToUpper(name) + "_URL" }
