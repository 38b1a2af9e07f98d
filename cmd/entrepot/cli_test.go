package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/warg"
)

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// person is somebody with a home and a working folder of their own.
type person struct {
	folder string
	env    []string
	ahead  time.Duration // of the clock of what is run
}

func newPerson(t *testing.T) *person {
	t.Helper()
	folder := t.TempDir()
	return &person{folder: folder, env: []string{"HOME=" + filepath.Join(folder, "home")}}
}

func (u *person) process(stdout, stderr *bytes.Buffer) *process {
	return &process{env: u.env, folder: u.folder, stdin: strings.NewReader(""), stdout: stdout, stderr: stderr, now: func() time.Time { return time.Now().Add(u.ahead) }}
}

// run executes a command line in-process. One that goes on where it should have refused
// is told to stop after a while, and then says that all went well.
func (u *person) run(t *testing.T, args ...string) result {
	t.Helper()
	const longest = 2 * time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, u.process(&stdout, &stderr))
	return result{code, stdout.String(), stderr.String()}
}

// ok executes a command line that must succeed and returns what it printed.
func (u *person) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := u.run(t, args...)
	if r.code != exitOK {
		t.Fatalf("entrepot %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func (u *person) path(name string) string { return filepath.Join(u.folder, name) }

func (u *person) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(u.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(u.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCommandLineErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		code int
		want string // first line of standard error
	}{
		{"unknown command", "serv", 2, "unexpected argument serv"},
		{"unknown sub-command", "key nu", 2, "see `entrepot key --help`"},
		{"unknown flag", "version --jason", 2, "unknown flag --jason"},
		{"missing argument", "key id", 2, "expected \"<file>\""},
		{"too many arguments", "version now", 2, "unexpected argument now"},
		{"flag without value", "key new --out", 2, "expected string value"},
		{"unknown shell", "completion tcsh", 2, "must be one of"},
		{"key file is missing", "key id gone.key", 74, "entrepot: reading key file: open "},
		{"key file is no key", "key id bad.key", 1, "holds neither a private key"},
		{"key file is too large", "key id big.key", 1, "larger than any key"},
		{"key would be overwritten", "key new --out bad.key", 1, "exists already and is not overwritten"},
		{"key in a folder that is not there", "key new --out no/such.key", 74, "writing a new key"},
		{"configuration is missing", "check-config --config gone.toml", 78, "gone.toml: reading the configuration: no such file"},
		{"configuration is bad", "check-config --config bad.toml", 78, "bad.toml:1:1: unknown key `listn`"},
		{"policy is bad", "check-config --config policy.toml", 78, "bad.toml:1:1: unknown key `listn`"},
		{"kind that is not served", "check-config --config oci.toml", 78, "oci.toml:2:8: upstream `g.example` of kind `oci`: not served by this version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newPerson(t)
			u.write(t, "bad.key", "ecdsa-p256:AAAA")
			u.write(t, "big.key", strings.Repeat("x", maxKeyFile+1))
			u.write(t, "bad.toml", "listn = 1\n")
			u.write(t, "policy.toml", "[authority]\npolicy_file = \"bad.toml\"\n")
			u.write(t, "oci.toml", "[upstream.\"g.example\"]\nkind = \"oci\"\nurl = \"https://g.example\"\n")
			r := u.run(t, strings.Fields(test.args)...)
			first, rest, _ := strings.Cut(r.stderr, "\n")
			if r.code != test.code || !strings.Contains(first, test.want) || rest != "" || r.stdout != "" {
				t.Errorf("exit %d, standard error %q, output %q; want %d and %q", r.code, r.stderr, r.stdout, test.code, test.want)
			}
		})
	}
}

func TestNoCommand(t *testing.T) {
	r := newPerson(t).run(t)
	if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "Commands:") {
		t.Errorf("got %+v", r)
	}
}

func TestExitCodes(t *testing.T) {
	_, missing := os.Open("/no/such/file")
	_, refused := (&net.Dialer{}).DialContext(t.Context(), "unix", "/no/such/socket")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"any other", fmt.Errorf("no"), 1},
		{"said by the command", fmt.Errorf("doing: %w", exitf(exitVerification, "lie")), 65},
		{"configuration", &config.Error{Problems: []config.Problem{{}}}, 78},
		{"file", fmt.Errorf("opening: %w", missing), 74},
		{"connection", fmt.Errorf("asking: %w", refused), 75},
		{"stopped", canceled.Err(), 75},
		{"not authorized", warg.Errorf(warg.KindUnauthorized, "no"), 1},
		{"too many", warg.Errorf(warg.KindTooMany, "no"), 75},
		{"unavailable", warg.Errorf(warg.KindUnavailable, "no"), 75},
		{"server broke", warg.Errorf(warg.KindInternal, "no"), 75},
		{"registry lied", warg.Errorf(warg.KindUpstreamInvalid, "no"), 65},
		{"unavailable because of a file", &warg.Error{Kind: warg.KindUnavailable, Err: missing}, 75},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}

// Every command explains itself with an example.
func TestHelp(t *testing.T) {
	var c cli
	u := newPerson(t)
	parser, err := newParser(&c, u.process(new(bytes.Buffer), new(bytes.Buffer)))
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(true)
	if len(leaves) < 5 {
		t.Fatalf("only %d commands", len(leaves))
	}
	for _, leaf := range leaves {
		text := u.ok(t, append(strings.Fields(leaf.Path()), "--help")...)
		if !strings.Contains(text, "Example:") || !strings.Contains(text, "    entrepot "+leaf.Path()) {
			t.Errorf("the help of `%s` has no example of it:\n%s", leaf.Path(), text)
		}
		if leaf.Help == "" || !strings.HasSuffix(leaf.Help, ".") {
			t.Errorf("`%s` is summarised as %q", leaf.Path(), leaf.Help)
		}
		if prints := hasFlag(leaf, "json"); !prints && !silent(leaf.Path()) {
			t.Errorf("`%s` has no --json", leaf.Path())
		}
	}
	if text := u.ok(t, "--help"); !strings.Contains(text, "check-config") {
		t.Errorf("help does not list commands:\n%s", text)
	}
}

// silent reports whether a command prints no data.
func silent(path string) bool { return path == "completion" || path == "serve" }

func hasFlag(n *kong.Node, name string) bool {
	for _, f := range n.Flags {
		if f.Name == name {
			return true
		}
	}
	return false
}

func TestKeys(t *testing.T) {
	u := newPerson(t)
	var made, shown shownKey
	decode(t, u.ok(t, "key", "new", "--out", "my.key", "--json"), &made)
	decode(t, u.ok(t, "key", "id", "my.key", "--json"), &shown)
	if made.KeyID == "" || shown.KeyID != made.KeyID || shown.PublicKey != made.PublicKey || made.File != "my.key" {
		t.Errorf("made %+v, shown %+v", made, shown)
	}
	s, err := os.Stat(u.path("my.key"))
	if err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key is %v, %v", s.Mode(), err)
	}
	text, err := os.ReadFile(u.path("my.key"))
	if err != nil || strings.ContainsAny(string(text), "\r\n") {
		t.Errorf("the key file has a line break: other programs take it as part of the key")
	}
	u.write(t, "public.key", "\n"+made.PublicKey+"\n")
	if out := u.ok(t, "key", "id", "public.key"); !strings.Contains(out, string(made.KeyID)) {
		t.Errorf("id of the public key: %s", out)
	}
	u.ok(t, "key", "new")
	if s, err := os.Stat(u.path("home/.config/entrepot/publish.key")); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("the default key: %v", err)
	}
	if r := u.run(t, "key", "new"); r.code != exitFailed {
		t.Errorf("the default key was overwritten: %+v", r)
	}
}

func TestSecretsAreSecret(t *testing.T) {
	u := newPerson(t)
	u.ok(t, "key", "new", "--out", "my.key")
	p := u.process(new(bytes.Buffer), new(bytes.Buffer))
	if _, err := p.readPrivateKey(u.path("my.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(u.path("my.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := p.readPrivateKey(u.path("my.key")); exitCode(err) != exitConfig || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that the group can read: %v", err)
	}
	p.env = append(p.env, "CREDENTIALS_DIRECTORY="+u.folder)
	if _, err := p.readPrivateKey(u.path("my.key")); err != nil {
		t.Errorf("a credential of the service manager: %v", err)
	}
}

func TestCheckConfig(t *testing.T) {
	u := newPerson(t)
	if out := u.ok(t, "check-config"); out != "no configuration file, defaults and environment: ok\n" {
		t.Errorf("without a file: %q", out)
	}
	u.write(t, "entrepot.toml", "base_url = \"https://pkg.example.com\"\n")
	r := u.run(t, "check-config")
	if r.code != exitOK || r.stdout != "entrepot.toml: ok\n" || !strings.Contains(r.stderr, "warning: authority.domain is not set") {
		t.Errorf("got %+v", r)
	}
	var v verdict
	decode(t, u.ok(t, "check-config", "--json"), &v)
	if !v.OK || v.File != "entrepot.toml" || len(v.Warnings) != 1 || v.Problems == nil {
		t.Errorf("got %+v", v)
	}
	u.write(t, "entrepot.toml", "zz = 1\n[cache]\nmax_size = true\n")
	r = u.run(t, "check-config", "--json")
	decode(t, r.stdout, &v)
	if r.code != exitConfig || v.OK || len(v.Problems) != 2 || v.Problems[1].Line != 3 || v.Problems[1].Column != 12 {
		t.Errorf("exit %d, %+v", r.code, v)
	}
	if want := "entrepot.toml:1:1: unknown key `zz`\nentrepot.toml:3:12: max_size must be a text, not true or false `true`\n"; r.stderr != want {
		t.Errorf("got %q, want %q", r.stderr, want)
	}
}

// Whatever is valid and not built must be refused, never ignored.
func TestUnserved(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"package registry", "[upstream.n]\nkind = \"npm\"\nurl = \"https://n.example\"\n", "c.toml:2:8: upstream `n` of kind `npm`: not served"},
		{"prefetch", "[prefetch]\nallowed_repos = [\"https://git.example/**\"]\n", "c.toml:2:1: hermetic requests"},
		{"bridge", "[bridge]\nenabled = true\n", "c.toml:2:11: the bridge"},
		{"users", "[access]\nusers_file = \"c.toml\"\n", "c.toml:2:14: users"},
		{"tokens", "[access]\nread = \"authenticated\"\ntokens_file = \"c.toml\"\n", "c.toml:2:8: read = \"authenticated\""},
		{"rules", "[[access.rule]]\nwho = [\"a\"]\nrepositories = [\"a\"]\ncan = [\"pull\"]\n", "c.toml:1:10: access rules"},
		{"environment", "", "ENTREPOT_ACCESS_USERS_FILE: users"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newPerson(t)
			u.write(t, "c.toml", test.text)
			if test.name == "environment" {
				u.env = append(u.env, "ENTREPOT_ACCESS_USERS_FILE=c.toml")
			}
			r := u.run(t, "check-config", "--config", "c.toml")
			if r.code != exitConfig || !strings.HasPrefix(r.stderr, test.want) {
				t.Errorf("got %+v, want %q", r, test.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	u := newPerson(t)
	var b build
	decode(t, u.ok(t, "version", "--json"), &b)
	if b.Go == "" || b.Version == "" || b.Protocol != protocol {
		t.Errorf("got %+v", b)
	}
	if out := u.ok(t, "version"); !strings.HasPrefix(out, "entrepot "+b.Version+"\n") || !strings.Contains(out, b.Go) {
		t.Errorf("got %s", out)
	}
}

func TestCompletion(t *testing.T) {
	u := newPerson(t)
	for _, shell := range []string{"zsh", "fish"} {
		out := u.ok(t, "completion", shell)
		for _, want := range []string{"check-config", "key new", "json", "'bash'"} {
			if !strings.Contains(strings.ReplaceAll(out, "bash:bash", "bash'"), want) {
				t.Errorf("the %s script has no %q:\n%s", shell, want, out)
			}
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash to run the script with")
	}
	script := u.ok(t, "completion", "bash")
	for _, test := range []struct{ line, want string }{
		{"entrepot che", "check-config"},
		{"entrepot key ", "new id"},
		{"entrepot key new --o", "--out"},
		{"entrepot --help check-config --js", "--json"},
		{"entrepot completion z", "zsh"},
	} {
		words := strings.Split(test.line, " ")
		ask := fmt.Sprintf("%s\nCOMP_WORDS=(%s); COMP_CWORD=%d; _entrepot; echo ${COMPREPLY[*]}\n", script, strings.Join(quoteAll(words), " "), len(words)-1)
		out, err := exec.Command(bash, "-c", ask).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || !strings.HasPrefix(got, test.want) {
			t.Errorf("%q completes to %q, %v; want %q", test.line, got, err, test.want)
		}
	}
}

func quoteAll(words []string) []string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellQuote(w)
	}
	return quoted
}

// decode reads JSON that a command printed, with no unknown members.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	reflect.ValueOf(into).Elem().SetZero()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
