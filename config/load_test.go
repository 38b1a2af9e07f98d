package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// everything sets each key of each section.
const everything = `
listen   = "127.0.0.1:8090"
base_url = "https://127.0.0.1:8090"
data     = "data"
admin    = "unix:run/admin.sock"
tls      = { cert_file = "secret", key_file = "secret" }

[authority]
domain        = "pkg.example.com"
key_file      = "secret"
namespaces    = ["acme", "tools"]
checkpoint_max_idle = "1h"
anchor_file   = ""
peers         = ["wasi.example"]
policy_file   = "secret"

[content]
max_size   = "256MiB"
policy     = "any"

[cache]
max_size   = "20GiB"

[upstream."wasi.example"]
kind         = "warg"
url          = "https://warg.wasi.example"
operator_key = "` + testKeyID + `"
trust_first_key = false
namespaces   = ["wasi"]
mode         = "pass-through"
mirror       = "on-demand"
max_age      = "60s"
max_stale    = "7d"
on_stale     = "refuse"
offline      = false
token_file   = ""
http_proxy   = ""
max_bandwidth = "20MiB"
max_connections = 8
mirror_packages = ["wasi:http@^0.2", "wasi:io"]
allow_private_addresses = false

[upstream."ghcr.io"]
kind = "oci"
url  = "https://ghcr.io"
tag_ttl    = "5m"
fetch      = "fallback"
on_missing = "drop"
allow      = ["webassembly/**"]
deny       = []
username   = ""
password_file = ""
docker_config = ""
ca_file    = "secret"

[upstream."go.example"]
kind = "goproxy"
url  = "https://proxy.go.example"
[upstream."npm.example"]
kind = "npm"
url  = "https://npm.example"
namespaces = ["@acme"]

[prefetch]
allowed_repos     = ["https://git.example/acme/**"]
managers          = ["git-submodule", "gomod", "npm", "yarn", "pip", "rubygems", "wkg", "warg", "oci-wasm"]
default_managers  = ["npm"]
user_header       = "X-Remote-User"
workers           = ["w"]
representatives   = ["r"]
go_command        = "go"
strict            = true
max_source_size   = "2GiB"
max_artifact_size = 1024
max_open_requests = 1_000
keep              = "24h"

[oci]
max_blob_size = "16GiB"

[bridge]
enabled  = true
yanked   = "warn"
key_file = ""
exclude  = ["tools"]

[access]
read        = "anonymous"
push        = "auto"
users_file  = ""
tokens_file = ""
[[access.rule]]
who          = ["alice", "robot:ci"]
repositories = ["acme/**"]
can          = ["pull", "push", "delete"]
[[access.rule]]
who          = ["anonymous"]
repositories = ["tools/*"]
can          = ["pull"]

[limits]
connections             = 16384
connections_per_address = 1024
trusted_proxies         = ["10.0.0.0/8", "::1"]
body_memory             = "64MiB"
pending_per_key         = 256
pending                 = 65536
pending_ttl             = "24h"
free_space              = ""
header_timeout          = "10s"
`

func load(t *testing.T, text string, o Options) *Config {
	t.Helper()
	if o.Folder == "" {
		o.Folder = t.TempDir()
	}
	write(t, filepath.Join(o.Folder, DefaultFile), text)
	c, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEverything(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "secret"), "s")
	c := load(t, everything, Options{Folder: folder})
	in := func(name string) string { return filepath.Join(folder, name) }
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"data", c.Data, in("data")},
		{"admin", c.Admin, "unix:" + in("run/admin.sock")},
		{"tls", c.TLS, TLS{in("secret"), in("secret")}},
		{"authority", c.Authority, Authority{
			"pkg.example.com", in("secret"), []string{"acme", "tools"}, time.Hour, "", []string{"wasi.example"}, in("secret")}},
		{"content", c.Content, Content{256 << 20, "any"}},
		{"cache", c.Cache, Cache{20 << 30}},
		{"number of upstreams", len(c.Upstreams), 4},
		{"order of upstreams", c.Upstreams[2].Domain, "go.example"},
		{"pin", string(c.Upstreams[0].OperatorKey), testKeyID},
		{"max_stale", c.Upstreams[0].MaxStale, 7 * 24 * time.Hour},
		{"bandwidth", c.Upstreams[0].MaxBandwidth, int64(20 << 20)},
		{"oci", c.Upstreams[1].OnMissing + c.Upstreams[1].Fetch, "dropfallback"},
		{"default managers", c.Prefetch.DefaultManagers, []string{"npm"}},
		{"go command is looked for in PATH", c.Prefetch.GoCommand, "go"},
		{"bare number of bytes", c.Prefetch.MaxArtifactSize, int64(1024)},
		{"number with underscores", c.Prefetch.MaxOpenRequests, 1000},
		{"rules", len(c.Access.Rules), 2},
		{"second rule", c.Access.Rules[1].Repositories, []string{"tools/*"}},
		{"free space", c.Limits.FreeSpace, int64(0)},
		{"proxies", c.Limits.TrustedProxies, []string{"10.0.0.0/8", "::1"}},
		{"warnings", len(c.Warnings), 0},
		{"key file", c.KeyFile(), in("secret")},
	} {
		if !reflect.DeepEqual(test.got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, test.got, test.want)
		}
	}
	if at := c.Where("upstream", "wasi.example", "operator_key").String(); at != "entrepot.toml:27:16" {
		t.Errorf("operator_key stands at %s", at)
	}
	if at := c.Where("upstream", "wasi.example", "no such key").String(); at != "entrepot.toml:24:11" {
		t.Errorf("a key that is not there is placed at %s", at)
	}
}

func TestWithoutFile(t *testing.T) {
	folder := t.TempDir()
	c, err := Load(Options{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	if c.File != "" || c.Listen != DefaultListen || c.Data != filepath.Join(folder, DefaultData) || c.Authority.Domain != DefaultDomain {
		t.Errorf("got %+v", c)
	}
	if c.KeyFile() != filepath.Join(folder, DefaultData, "operator.key") {
		t.Errorf("key file is %s", c.KeyFile())
	}
}

func TestNamedFileMissing(t *testing.T) {
	_, err := Load(Options{File: "gone.toml", Folder: t.TempDir()})
	var list *Error
	if !errors.As(err, &list) || err.Error() != "gone.toml: reading the configuration: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

func TestFileTooLarge(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "big.toml"), strings.Repeat("#\n", maxFile/2+1))
	_, err := Load(Options{File: "big.toml", Folder: folder})
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

func TestOrder(t *testing.T) {
	o := Options{
		Env:   []string{"ENTREPOT_LISTEN=127.0.0.1:2", "ENTREPOT_BASE_URL=http://localhost:2", "ENTREPOT_DATA=", "ENTREPOT_LIMITS_PENDING=300", "PATH=/bin"},
		Flags: map[string]string{"listen": "127.0.0.1:3"},
	}
	c := load(t, "listen = \"127.0.0.1:1\"\nbase_url = \"http://localhost:1\"\ndata = \"d\"\n", o)
	for _, test := range []struct{ name, got, want string }{
		{"flag wins over all", c.Listen, "127.0.0.1:3"},
		{"environment wins over file", c.BaseURL, "http://localhost:2"},
		{"empty variable is none", filepath.Base(c.Data), "d"},
		{"where the flag is", c.Where("listen").String(), "--listen"},
		{"where the variable is", c.Where("base_url").String(), "ENTREPOT_BASE_URL"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, test.got, test.want)
		}
	}
	if c.Limits.Pending != 300 {
		t.Errorf("limits.pending is %d", c.Limits.Pending)
	}
}

func TestRelativePaths(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "etc", "e.toml"), "admin = \"unix:a.sock\"\n")
	c, err := Load(Options{File: "etc/e.toml", Folder: folder, Flags: map[string]string{"data": "here"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Admin != "unix:"+filepath.Join(folder, "etc", "a.sock") || c.Data != filepath.Join(folder, "here") {
		t.Errorf("admin %s, data %s", c.Admin, c.Data)
	}
}

func TestBadEnvironment(t *testing.T) {
	_, err := Load(Options{Folder: t.TempDir(), Env: []string{"ENTREPOT_LIMITS_PENDING=many", "ENTREPOT_TLS_CERT_FILE=/no/cert"}, Flags: map[string]string{"listen": "8090"}})
	want := `--listen: listen is not an address, which is host:port, for example "127.0.0.1:8090": ` + "`8090`" + `
ENTREPOT_LIMITS_PENDING: limits.pending must be a whole number from 1 to 2147483647, not ` + "`many`" + `
ENTREPOT_TLS_CERT_FILE: cert_file needs a key_file beside it
ENTREPOT_TLS_CERT_FILE: cert_file: /no/cert does not exist`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ name, text, env, want string }{
		{"upstream named like its namespace", "[upstream.wasi]\nurl=\"https://w.example\"\ntrust_first_key=true\nnamespaces=[\"wasi\"]\n", "", "entrepot.toml:1:11: upstream `wasi` is named like a namespace"},
		{"upstream named like a namespace of ours", "[authority]\nnamespaces=[\"acme\"]\n[upstream.acme]\nurl=\"https://w.example\"\ntrust_first_key=true\n", "", "entrepot.toml:3:11: upstream `acme` is named like a namespace"},
		{"base_url without domain", "base_url=\"https://pkg.example.com\"\n", "", "calls itself `localhost`"},
		{"plain http to others", "base_url=\"http://pkg.example.com\"\n[authority]\ndomain=\"pkg.example.com\"\n", "", "entrepot.toml:1:10: clients of the protocol refuse plain http"},
		{"plain http with a certificate", "base_url=\"http://localhost:1\"\ntls={cert_file=\"entrepot.toml\",key_file=\"entrepot.toml\"}\n[authority]\ndomain=\"a.example\"\n", "", "entrepot.toml:1:10: base_url begins with http://"},
		{"variable that is no setting", "", "ENTREPOT_LISTN=x", "ENTREPOT_LISTN: is not a setting"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, test.text, Options{Env: []string{test.env}})
			if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Error(), test.want) {
				t.Errorf("got %v, want one with %q", c.Warnings, test.want)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	text, err := Template{Listen: DefaultListen, Data: DefaultData, Domain: "pkg.example.com", Namespaces: []string{"a", "b"}}.Text()
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, string(text), Options{})
	if c.Authority.Domain != "pkg.example.com" || !slices.Equal(c.Authority.Namespaces, []string{"a", "b"}) || len(c.Warnings) != 0 {
		t.Errorf("got %+v", c)
	}
	// What the comments show as defaults is accepted and changes nothing.
	all := regexp.MustCompile(`(?m)^# (\[|[a-z_]+ = )`).ReplaceAllString(string(text), "$1")
	all = strings.ReplaceAll(all, `"sha256:"`, `"`+testKeyID+`"`)
	folder := t.TempDir()
	for _, name := range []string{"server.crt", "server.key", "operator.key", "policy.toml"} {
		write(t, filepath.Join(folder, name), "")
	}
	d := load(t, all, Options{Folder: folder})
	if d.Limits.Pending != c.Limits.Pending || !reflect.DeepEqual(d.Content, c.Content) || d.Cache != c.Cache || d.LogFormat != c.LogFormat {
		t.Errorf("the comments of the template are not the defaults:\n%+v\n%+v", d, c)
	}
	if u := d.Upstreams[0]; u.MaxAge != newUpstream("", KindWarg).MaxAge {
		t.Errorf("max_age of the template is %s", u.MaxAge)
	}
}

func TestSizesAndDurations(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "7": 7, "7B": 7, "1KiB": 1024, "2 MiB": 2 << 20, "3GiB": 3 << 30, "4TiB": 4 << 40, "5kB": 5000, "6MB": 6e6, "7GB": 7e9} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5GiB", "1KB ", "1mib", "-1", "+1", "9223372036854775808", "8388608TiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
	for text, want := range map[string]time.Duration{"0s": 0, "90s": 90 * time.Second, "7d": 168 * time.Hour, "1h30m": 90 * time.Minute} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-1s", "-1d", "36501d", "1.5d", "x"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %s", text, got)
		}
	}
}

// Every scalar that has a variable is reached by it, and no two share one.
func TestEveryScalarHasAVariable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range defaults("/").scalars() {
		name := EnvName(s.path...)
		if seen[name] {
			t.Errorf("%s stands for two settings", name)
		}
		seen[name] = true
	}
	for _, name := range []string{"ENTREPOT_LISTEN", "ENTREPOT_DATA", "ENTREPOT_AUTHORITY_DOMAIN", "ENTREPOT_TLS_KEY_FILE", "ENTREPOT_BRIDGE_ENABLED", "ENTREPOT_LIMITS_FREE_SPACE"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if len(seen) < 35 {
		t.Errorf("only %d variables", len(seen))
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(everything)
	f.Add("[[a.b]]\n[a.b.c]\nd = [{e = 1}]\n")
	f.Add("a.b = 1\n[a]\nc = 2\n")
	f.Add("[access]\nrule = [{who = [\"a\"]}, 5]\n")
	for _, test := range badFiles {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root, problem := parseTree("f", []byte(text))
		if problem != nil {
			if problem.Line < 1 || problem.Column < 1 {
				t.Fatalf("complaint without a place: %v", problem)
			}
			return
		}
		r := &reader{c: defaults("/"), folder: "/"}
		r.table(r.c.schema(), root)
		for _, p := range r.problems {
			if p.Line < 1 || p.Column < 1 || strings.ContainsFunc(p.Message, unicode.IsControl) {
				t.Fatalf("complaint without a place: %v", p)
			}
		}
		_, _ = parsePolicy("f", []byte(text))
	})
}
