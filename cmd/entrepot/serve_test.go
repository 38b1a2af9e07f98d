package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// logText is what a server writes, readable while it does. seen is closed at the
// first line that has the word "ready".
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen chan struct{}
	once sync.Once
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if strings.Contains(l.text.String(), "warg config --registry") { // the last line of a start
		l.once.Do(func() { close(l.seen) })
	}
	return len(p), nil
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a server in this process.
type running struct {
	log  *logText
	url  string
	stop context.CancelFunc
	code chan int
}

// serve starts a server and waits until it is ready. It is stopped with the test.
func (u *person) serve(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{log: &logText{seen: make(chan struct{})}, stop: stop, code: make(chan int, 1)}
	p := u.process(new(bytes.Buffer), new(bytes.Buffer))
	p.stderr = r.log
	go func() { r.code <- run(ctx, append([]string{"serve"}, args...), p) }()
	t.Cleanup(func() { r.end(t) })
	select {
	case <-r.log.seen:
	case code := <-r.code:
		t.Fatalf("the server ended with %d:\n%s", code, r.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("the server is not ready:\n%s", r.log)
	}
	r.url = regexp.MustCompile(`warg config --registry (http[^\s"]*)`).FindStringSubmatch(r.log.String())[1]
	return r
}

// end asks the server to end, as SIGTERM does, and wants exit code 0. It may be
// called again.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case code := <-r.code:
		if code != exitOK {
			t.Errorf("the server ended with %d:\n%s", code, r.log)
		}
		r.code <- code
	case <-time.After(30 * time.Second):
		t.Fatalf("the server does not end:\n%s", r.log)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestFirstStart(t *testing.T) {
	u := newPerson(t)
	u.env = append(u.env, "ENTREPOT_LISTEN=127.0.0.1:0")
	s := u.serve(t)
	var key shownKey
	decode(t, u.ok(t, "key", "id", "entrepot-data/operator.key", "--json"), &key)
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	ready, last := lines[len(lines)-2], lines[len(lines)-1]
	if last != "warg config --registry "+s.url {
		t.Errorf("the start ends with %q", last)
	}
	for _, want := range []string{"msg=ready", s.url, string(key.KeyID)} {
		if !strings.Contains(ready, want) {
			t.Errorf("the ready line has no %s: %s", want, ready)
		}
	}
	if mode, err := os.Stat(u.path("entrepot-data/operator.key")); err != nil || mode.Mode().Perm() != 0o600 {
		t.Errorf("operator key: %v, %v", mode, err)
	}
	listen, err := os.ReadFile(u.path("entrepot-data/run/listen"))
	if err != nil || "http://"+strings.TrimSpace(string(listen)) != s.url {
		t.Errorf("run/listen: %q, %v", listen, err)
	}
	if code, body := get(t, s.url+"/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if out := u.ok(t, "namespace", "list"); out != "local  defined\n" {
		t.Errorf("namespaces: %q", out)
	}
	var shown presented
	decode(t, u.ok(t, "key", "of", s.url, "--json"), &shown)
	if shown.KeyID != key.KeyID || len(shown.Namespaces) != 1 || shown.LogLength != 1 {
		t.Errorf("key of: %+v", shown)
	}
	s.end(t)
	if _, err := os.Stat(u.path("entrepot-data/run/listen")); err == nil {
		t.Error("run/listen is still there after the end")
	}

	again := u.serve(t)
	decode(t, u.ok(t, "key", "of", again.url, "--json"), &shown)
	if shown.KeyID != key.KeyID || shown.LogLength != 1 {
		t.Errorf("after a restart: %+v", shown)
	}
}

func TestSecondProcess(t *testing.T) {
	u := newPerson(t)
	u.serve(t, "--listen", "127.0.0.1:0")
	r := u.run(t, "serve", "--listen", "127.0.0.1:0")
	if r.code != exitConfig || !regexp.MustCompile(`entrepot-data is in use by entrepot serve, process \d+, since `).MatchString(r.stderr) {
		t.Errorf("got %+v", r)
	}
}

func TestBaseURLs(t *testing.T) {
	u := newPerson(t)
	u.write(t, "entrepot.toml", "listen = \"127.0.0.1:1\"\nbase_url = \"http://localhost:1/file\"\n[authority]\ndomain = \"own.example\"\nnamespaces = [\"acme\"]\n")
	s := u.serve(t, "--listen", "127.0.0.1:0", "--base-url", "http://localhost:9/flag", "--data", "other")
	if s.url != "http://localhost:9/flag" {
		t.Errorf("base URL is %s", s.url)
	}
	if _, err := os.Stat(u.path("other/run/listen")); err != nil {
		t.Error(err)
	}
}

func TestJSONLog(t *testing.T) {
	u := newPerson(t)
	s := u.serve(t, "--listen", "127.0.0.1:0", "--log-format", "json")
	s.end(t)
	ready := false
	for line := range strings.Lines(s.log.String()) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil || event["time"] == nil || event["level"] == nil || event["msg"] == nil {
			t.Errorf("%v: %s", err, line)
		}
		ready = ready || event["msg"] == "ready" && event["base_url"] == s.url
	}
	if !ready {
		t.Errorf("no ready event:\n%s", s.log)
	}
}

func TestInit(t *testing.T) {
	u := newPerson(t)
	var made founded
	decode(t, u.ok(t, "init", "--config", "site/entrepot.toml", "--domain", "pkg.example", "--namespace", "acme", "--namespace", "tools", "--json"), &made)
	if made.Domain != "pkg.example" || len(made.Namespaces) != 2 || made.Data != u.path("site/entrepot-data") {
		t.Errorf("got %+v", made)
	}
	for _, args := range []string{"", " --domain pkg.example --namespace acme --namespace tools"} {
		r := u.run(t, strings.Fields("init --config site/entrepot.toml"+args)...)
		if r.code != exitConfig || !strings.Contains(r.stderr, "site/entrepot.toml exists already") {
			t.Errorf("init again: %+v", r)
		}
	}
	u.ok(t, "check-config", "--config", "site/entrepot.toml")
	s := u.serve(t, "--config", "site/entrepot.toml", "--listen", "127.0.0.1:0")
	var shown presented
	decode(t, u.ok(t, "key", "of", s.url, "--json"), &shown)
	if shown.KeyID != made.KeyID || shown.LogLength != 1 {
		t.Errorf("the registry that was made is not the one that runs: %+v", shown)
	}
}

func TestInitGoesOn(t *testing.T) {
	u := newPerson(t)
	text, err := config.Template{Listen: config.DefaultListen, Data: config.DefaultData, Domain: "pkg.example", Namespaces: []string{"acme"}}.Text()
	if err != nil {
		t.Fatal(err)
	}
	u.write(t, "entrepot.toml", string(text)) // all that an init had time for
	u.ok(t, "init", "--domain", "pkg.example", "--namespace", "acme")
	if out := u.ok(t, "namespace", "list"); out != "acme  defined\n" {
		t.Errorf("namespaces: %q", out)
	}
}

func TestInitRefuses(t *testing.T) {
	for _, test := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"domain", "--domain Not/Valid", 2, "--domain is not the name of a registry"},
		{"namespace", "--namespace Acme", 2, "`Acme` is not a namespace"},
		{"another file in the way", "--config mine.toml", 78, "mine.toml exists already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newPerson(t)
			u.write(t, "mine.toml", "# mine\n")
			r := u.run(t, append([]string{"init"}, strings.Fields(test.args)...)...)
			if r.code != test.code || !strings.Contains(r.stderr, test.want) {
				t.Errorf("got %+v", r)
			}
			if _, err := os.Stat(u.path("entrepot-data")); err == nil {
				t.Error("a data directory was made all the same")
			}
		})
	}
}

func TestNamespaces(t *testing.T) {
	u := newPerson(t)
	const file = "[authority]\ndomain = \"own.example\"\nnamespaces = [\"acme\"]\n"
	u.write(t, "entrepot.toml", file)
	s := u.serve(t, "--listen", "127.0.0.1:0")
	u.ok(t, "namespace", "define", "tools")
	u.ok(t, "namespace", "import", "wasi", "wasi.example")
	var list []proxy.Namespace
	decode(t, u.ok(t, "namespace", "list", "--json"), &list)
	if len(list) != 3 || list[1].Name != "tools" || list[2].Registry != "wasi.example" {
		t.Errorf("while the server runs: %+v", list)
	}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"namespace define tools", 1, "defining namespace `tools`: "},
		{"namespace define Tools", 2, "`Tools` is not a namespace"},
		{"namespace import other not/valid", 2, "invalid registry domain"},
		{"namespace import other own.example", 1, "importing namespace `other`: "},
	} {
		if r := u.run(t, strings.Fields(test.args)...); r.code != test.code || !strings.Contains(r.stderr, test.want) {
			t.Errorf("%s: %+v", test.args, r)
		}
	}
	s.end(t)

	// A namespace in the file that the registry lacks keeps the server from starting,
	// and is added to the directory while it does not run.
	u.write(t, "entrepot.toml", strings.Replace(file, "acme\"", "acme\", \"late\"", 1))
	r := u.run(t, "serve", "--listen", "127.0.0.1:0")
	if r.code != exitConfig || !strings.Contains(r.stderr, "entrepot namespace define late") {
		t.Errorf("serve without the namespace: %+v", r)
	}
	u.ok(t, "namespace", "define", "late")
	s = u.serve(t, "--listen", "127.0.0.1:0")
	if out := u.ok(t, "namespace", "list"); !strings.Contains(out, "late   defined\n") {
		t.Errorf("namespaces: %q", out)
	}
	s.end(t)
}

func TestCommandsWithoutARegistry(t *testing.T) {
	u := newPerson(t)
	r := u.run(t, "namespace", "list")
	if r.code != exitConfig || !strings.Contains(r.stderr, "`entrepot init` or `entrepot serve` makes one") {
		t.Errorf("got %+v", r)
	}
	if _, err := os.Stat(u.path("entrepot-data/operator.key")); err == nil {
		t.Error("a command that only looks made a key")
	}
}

// A directory that is held by something that takes no calls is busy, not broken.
func TestDirectoryHeld(t *testing.T) {
	u := newPerson(t)
	u.ok(t, "init")
	conf, err := config.Load(config.Options{Folder: u.folder})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := holdFolder(conf, "fsck", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := u.run(t, "namespace", "list")
	if r.code != exitTemporary || !strings.Contains(r.stderr, "in use by entrepot fsck, process ") {
		t.Errorf("got %+v", r)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	u.ok(t, "namespace", "list")
}

func TestOperatorKeys(t *testing.T) {
	u := newPerson(t)
	s := u.serve(t, "--listen", "127.0.0.1:0")
	var key shownKey
	decode(t, u.ok(t, "key", "new", "--out", "next.key", "--json"), &key)
	u.ok(t, "operator", "grant", key.PublicKey, "commit", "defineNamespace")
	if r := u.run(t, "operator", "grant", "next.key", "commit"); r.code != exitUsage || strings.Contains(r.stderr, "ecdsa") {
		t.Errorf("granting to a private key: %+v", r)
	}
	for _, test := range []struct {
		args string
		code int
	}{
		{"operator revoke " + string(key.KeyID) + " importNamespace", 1},
		{"operator revoke " + string(key.KeyID) + " everything", 2},
		{"operator revoke sha256:ab commit", 2},
		{"operator revoke " + string(key.KeyID) + " defineNamespace", 0},
	} {
		if r := u.run(t, strings.Fields(test.args)...); r.code != test.code {
			t.Errorf("%s: %+v", test.args, r)
		}
	}
	s.end(t)

	// The new key signs from now on; clients that pinned the old one need not care.
	u.write(t, "entrepot.toml", "[authority]\nkey_file = \"next.key\"\n")
	again := u.serve(t, "--listen", "127.0.0.1:0")
	u.ok(t, "namespace", "list")
	var shown presented
	decode(t, u.ok(t, "key", "of", again.url, "--json"), &shown)
	if shown.KeyID == key.KeyID || shown.Signer == "" {
		t.Errorf("got %+v", shown)
	}
}

func TestLostKey(t *testing.T) {
	u := newPerson(t)
	u.ok(t, "init")
	if err := os.Rename(u.path("entrepot-data/operator.key"), u.path("backup.key")); err != nil {
		t.Fatal(err)
	}
	r := u.run(t, "serve", "--listen", "127.0.0.1:0")
	if r.code != exitConfig || !strings.Contains(r.stderr, "restore the file from a backup") {
		t.Errorf("got %+v", r)
	}
}

func TestServeErrors(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, test := range []struct {
		name, file, args string
		code             int
		want             string
	}{
		{"address in use", "", "--listen " + busy.Addr().String(), 75, "set listen to another address"},
		{"bad flag value", "", "--listen nonsense", 78, "--listen: listen is not an address"},
		{"wildcard without base_url", "", "--listen :0", 78, "--listen: listen means every address"},
		{"certificate that is none", "[tls]\ncert_file = \"entrepot.toml\"\nkey_file = \"entrepot.toml\"\n", "--listen 127.0.0.1:0", 78, "reading the TLS certificate and key"},
		{"key that others can read", "[authority]\nkey_file = \"open.key\"\n", "--listen 127.0.0.1:0", 78, "chmod 600"},
		{"key that is none", "[authority]\nkey_file = \"entrepot.toml\"\n", "--listen 127.0.0.1:0", 78, "private key has no colon"},
		{"proxy URL", "[upstream.\"x.example\"]\nurl = \"https://x.example\"\ntrust_first_key = true\nca_file = \"entrepot.toml\"\n", "--listen 127.0.0.1:0", 78, "holds no certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newPerson(t)
			u.write(t, "open.key", "x")
			if err := os.Chmod(u.path("open.key"), 0o644); err != nil {
				t.Fatal(err)
			}
			u.write(t, "entrepot.toml", test.file)
			r := u.run(t, append([]string{"serve"}, strings.Fields(test.args)...)...)
			if lines := strings.Split(strings.TrimSpace(r.stderr), "\n"); r.code != test.code || !strings.Contains(lines[len(lines)-1], test.want) {
				t.Errorf("got %+v, want %d and %q", r, test.code, test.want)
			}
		})
	}
}

// A unix socket has room for about a hundred bytes of path; data directories of
// tests and containers are longer.
func TestLongSocketPath(t *testing.T) {
	u := newPerson(t)
	long := filepath.Join(strings.Repeat("d", 60), strings.Repeat("e", 60), "data")
	u.serve(t, "--listen", "127.0.0.1:0", "--data", long)
	if out := u.ok(t, "namespace", "list", "--data", long); !strings.Contains(out, "local") {
		t.Errorf("got %q", out)
	}
}

// TestHintsFollowImports: clients are sent to the registry of a namespace from the
// moment on that it is imported; and nothing is imported that the configuration gives to
// somebody else.
func TestHintsFollowImports(t *testing.T) {
	_, front := behind(t, "")
	text := front.read(t, "entrepot.toml")
	front.write(t, "entrepot.toml", strings.Replace(text, `namespaces = ["local"]`, `namespaces = ["given"]`, 1))
	home := front.serve(t)
	front.ok(t, "mirror", "sync")
	log := wargtest.Name("local:tool").LogID()
	hint := func() string {
		t.Helper()
		body := fmt.Sprintf(`{"logLength":1,"packages":{%q:null}}`, log.String())
		r, err := http.Post(home.url+"/v1/fetch/logs", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("status %d", r.StatusCode)
		}
		return r.Header.Get("Warg-Registry-Hint")
	}
	if h := hint(); h != "" {
		t.Errorf("before: %q", h)
	}
	front.ok(t, "namespace", "import", "local", "up.example")
	if h := hint(); h != "local=up.example" {
		t.Errorf("after the import: %q", h)
	}
	for _, args := range [][]string{{"namespace", "define", "given"}, {"namespace", "import", "given", "elsewhere.example"}} {
		if r := front.run(t, args...); r.code != exitFailed || !strings.Contains(r.stderr, "the configuration gives namespace `given` to `up.example`") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	front.ok(t, "namespace", "import", "given", "up.example")
	home.end(t)
	home = front.serve(t)
	if h := hint(); h != "local=up.example" {
		t.Errorf("after a restart: %q", h)
	}
}
