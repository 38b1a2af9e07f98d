package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testKeyID = "sha256:d6d9b4cd077a829c0275233bf3843c8294e250dfcc82b8ea15745e92982a820d"

// up is an upstream that is fine; tests put lines below it.
const up = "[upstream.\"x.example\"]\nurl = \"https://x.example\"\noperator_key = \"" + testKeyID + "\"\n"

// badFiles are configurations with every complaint that is expected, as
// "line:column part of the message".
var badFiles = []struct {
	name string
	text string
	want []string
}{
	// Syntax.
	{"no value", "listen =\n", []string{"1:9 "}},
	{"open text", "listen = \"abc\n", []string{"1:"}},
	{"key twice", "listen = \"a:1\"\nlisten = \"a:2\"\n", []string{"2:1 already defined"}},
	{"table twice", "[cache]\n[content]\n[cache]\n", []string{"3:2 already exists"}},
	{"not TOML", "listen: 1\n", []string{"1:7 "}},
	{"open list", "[authority]\nnamespaces = [\"a\"\n", []string{"2:18 array is incomplete"}},
	{"not UTF-8", "data = \"\xff\"\n", []string{"1:9 "}},

	// Unknown keys.
	{"unknown key", "listn = \"127.0.0.1:1\"\n", []string{"1:1 unknown key `listn`; did you mean `listen`?"}},
	{"unknown key without a near one", "\n  zzzzzzz = 1\n", []string{"2:3 unknown key `zzzzzzz`"}},
	{"unknown table", "[autority]\n", []string{"1:2 unknown key `autority`; did you mean `authority`?"}},
	{"unknown key in a table", "[authority]\ndomian = \"a\"\n", []string{"2:1 unknown key `authority.domian`; did you mean `domain`?"}},
	{"unknown key in an inline table", "tls = { cert = \"a\" }\n", []string{"1:9 unknown key `tls.cert`"}},
	{"unknown dotted key", "limits.conections = 5\n", []string{"1:8 unknown key `limits.conections`; did you mean `connections`?"}},
	{"unknown key of an upstream", up + "mirrors = \"full\"\n", []string{"4:1 unknown key `upstream.x.example.mirrors`; did you mean `mirror`?"}},
	{"key of another kind", up + "tag_ttl = \"5m\"\n", []string{"4:1 kind `warg` has no `tag_ttl`, that belongs to kind `oci`"}},
	{"operator key of an oci upstream", "[upstream.\"g.example\"]\nkind = \"oci\"\nurl = \"https://g.example\"\noperator_key = \"x\"\n", []string{"4:1 kind `oci` has no `operator_key`"}},
	{"unknown key of a rule", "[[access.rule]]\nwho = [\"a\"]\nrepos = [\"b\"]\nrepositories = [\"b\"]\ncan = [\"pull\"]\n", []string{"3:1 unknown key `access.rule.0.repos`"}},
	{"three complaints in order", "zz = 1\n[cache]\nmax_size = \"x\"\n[limits]\npending = 0\n", []string{"1:1 unknown key", "3:12 is not a size", "5:11 whole number"}},

	// Kinds of values.
	{"number for a text", "data = 5\n", []string{"1:8 data must be a text, not a whole number `5`"}},
	{"text for a number", "[limits]\nconnections = \"5\"\n", []string{"2:15 connections must be a whole number, not a text `5`"}},
	{"text for a switch", up + "offline = \"yes\"\n", []string{"4:11 offline must be true or false, not a text `yes`"}},
	{"text for a list", "[authority]\nnamespaces = \"acme\"\n", []string{"2:14 namespaces must be a list, not a text `acme`"}},
	{"number in a list", "[authority]\nnamespaces = [\"acme\",\n  7]\n", []string{"3:3 an entry of namespaces must be a text, not a whole number `7`"}},
	{"date for a text", "data = 1979-05-27\n", []string{"1:8 data must be a text, not a fraction or date"}},
	{"fraction for a size", "[cache]\nmax_size = 1.5\n", []string{"2:12 max_size must be a text, not a fraction or date"}},
	{"table for a text", "[data]\n", []string{"1:2 data must be a text, not a table"}},
	{"text for a table", "authority = \"a\"\n", []string{"1:13 authority must be a table, not a text `a`"}},
	{"list of tables for a table", "[[authority]]\n", []string{"1:3 authority must be a table, not a list"}},
	{"table for a list of tables", "[access]\nrule = { who = [\"a\"] }\n", []string{"2:8 access.rule must be a list of tables, not a table"}},
	{"upstream is not a table", "[upstream]\nx = 1\n", []string{"2:1 upstream.\"x\" must be a table"}},

	// Values.
	{"listen without port", "listen = \"127.0.0.1\"\n", []string{"1:10 is not an address"}},
	{"listen with a port out of range", "listen = \"127.0.0.1:65536\"\n", []string{"1:10 is not an address"}},
	{"listen on everything without base_url", "listen = \":8090\"\n", []string{"1:10 base_url must say"}},
	{"listen on every IPv6 address without base_url", "listen = \"[::]:8090\"\n", []string{"1:10 base_url must say"}},
	{"base_url without scheme", "base_url = \"pkg.example.com\"\n", []string{"1:12 is not a URL"}},
	{"base_url of another scheme", "base_url = \"ftp://pkg.example.com\"\n", []string{"1:12 is not a URL"}},
	{"base_url with a query", "base_url = \"https://pkg.example.com/?a\"\n", []string{"1:12 query"}},
	{"base_url with a password", "base_url = \"https://u:p@pkg.example.com\"\n", []string{"1:12 user name or password"}},
	{"data empty", "data = \"\"\n", []string{"1:8 must not be empty"}},
	{"admin on a network", "admin = \"0.0.0.0:9090\"\n", []string{"1:9 loopback"}},
	{"admin without a path", "admin = \"unix:\"\n", []string{"1:9 unix:PATH"}},
	{"log format", "log_format = \"xml\"\n", []string{"1:14 must be one of `text`, `json`, not `xml`"}},
	{"certificate without key", "[tls]\ncert_file = \"entrepot.toml\"\n", []string{"2:13 needs a key_file"}},
	{"key without certificate", "tls = { key_file = \"entrepot.toml\" }\n", []string{"1:20 needs a cert_file"}},
	{"certificate is missing", "[tls]\ncert_file = \"no.crt\"\nkey_file = \"entrepot.toml\"\n", []string{"2:13 does not exist"}},
	{"domain in upper case", "[authority]\ndomain = \"Example.com\"\n", []string{"2:10 is not the name of a registry"}},
	{"domain that is a path", "[authority]\ndomain = \"../etc\"\n", []string{"2:10 is not the name of a registry"}},
	{"domain with a bad port", "[authority]\ndomain = \"example.com:http\"\n", []string{"2:10 is no port"}},
	{"key file is missing", "[authority]\nkey_file = \"no.key\"\n", []string{"2:12 make a key with `entrepot key new --out "}},
	{"policy file is missing", "[authority]\npolicy_file = \"no.toml\"\n", []string{"2:15 does not exist"}},
	{"policy file is a folder", "[authority]\npolicy_file = \".\"\n", []string{"2:15 is a folder"}},
	{"namespace in upper case", "[authority]\nnamespaces = [\"ok\", \"Acme\"]\n", []string{"2:21 is not a namespace"}},
	{"namespace twice", "[authority]\nnamespaces = [\"a\", \"b\", \"a\"]\n", []string{"2:25 `a` is listed twice"}},
	{"idle too short", "[authority]\ncheckpoint_max_idle = \"10ms\"\n", []string{"2:23 must be at least 1s"}},
	{"peer that is no upstream", "[authority]\npeers = [\"peer.example\"]\n", []string{"2:10 is not an upstream"}},
	{"content policy", "[content]\npolicy = \"jar\"\n", []string{"2:10 must be one of `wasm`, `any`"}},
	{"size of nothing", "[content]\nmax_size = 0\n", []string{"2:12 at least 1 bytes"}},
	{"size with a strange unit", "[content]\nmax_size = \"5 potatoes\"\n", []string{"2:12 is not a size"}},
	{"size beyond all bounds", "[content]\nmax_size = \"99999999999GiB\"\n", []string{"2:12 too large a size"}},
	{"size below zero", "[content]\nmax_size = -1\n", []string{"2:12 is not a size"}},
	{"duration without unit", up + "max_age = \"60\"\n", []string{"4:11 is not a duration"}},
	{"duration below zero", up + "max_age = \"-1s\"\n", []string{"4:11 must not be negative"}},
	{"limit of zero", "[limits]\nconnections = 0\n", []string{"2:15 whole number from 1"}},
	{"limit beyond integers", "[limits]\nconnections = 9223372036854775807\n", []string{"2:15 whole number from 1"}},
	{"body memory below one body", "[limits]\nbody_memory = \"1KiB\"\n", []string{"2:15 at least 2097152 bytes"}},
	{"proxy that is no network", "[limits]\ntrusted_proxies = [\"10.0.0.0/8\", \"lb.example\"]\n", []string{"2:34 neither an address nor a network"}},
	{"free space", "[limits]\nfree_space = \"much\"\n", []string{"2:14 is not a size"}},

	// Upstreams.
	{"upstream with a bad name", "[upstream.\"a b\"]\nurl = \"https://x.example\"\n", []string{"1:11 is not the name of a registry"}},
	{"upstream of an unknown kind", "[upstream.\"x.example\"]\nkind = \"cargo\"\nurl = 5\n", []string{"2:8 must be one of `warg`, `oci`, `goproxy`"}},
	{"upstream without url", "[upstream.\"x.example\"]\ntrust_first_key = true\n", []string{"1:11 needs a url"}},
	{"upstream without pin", "[upstream.\"x.example\"]\nurl = \"https://x.example\"\n", []string{"1:11 neither operator_key nor trust_first_key = true"}},
	{"upstream with trust_first_key = false", "[upstream.\"x.example\"]\nurl = \"https://x.example\"\ntrust_first_key = false\n", []string{"1:11 `entrepot key of https://x.example` prints"}},
	{"pin and trust", up + "trust_first_key = true\n", []string{"4:19 contradicts operator_key"}},
	{"pin is a key", "[upstream.\"x.example\"]\nurl = \"https://x.example\"\noperator_key = \"ecdsa-p256:A1OfZz5Y9Ny7VKPVwroCTQPAr9tmlI4U/UTYHZHA87AF\"\n", []string{"3:16 is a key where its id is wanted"}},
	{"pin is too short", "[upstream.\"x.example\"]\nurl = \"https://x.example\"\noperator_key = \"sha256:ab\"\n", []string{"3:16 is not a key id"}},
	{"pin is empty", "[upstream.\"x.example\"]\nurl = \"https://x.example\"\noperator_key = \"\"\n", []string{"3:16 is not a key id"}},
	{"upstream is this registry", "[authority]\ndomain = \"x.example\"\n" + up, []string{"3:11 has the name of this registry itself"}},
	{"upstream at our own address", "listen = \"127.0.0.1:8090\"\n[upstream.\"x.example\"]\nurl = \"http://localhost:8090\"\ntrust_first_key = true\nallow_private_addresses = true\n", []string{"3:7 leads to this server itself"}},
	{"upstream at our base_url", "base_url = \"https://pkg.example.com\"\n[authority]\ndomain = \"pkg.example.com\"\n[upstream.\"x.example\"]\nurl = \"https://PKG.example.com:443/\"\ntrust_first_key = true\n", []string{"5:7 leads to this server itself"}},
	{"upstream on loopback", "[upstream.\"x.example\"]\nurl = \"http://127.0.0.1:8091\"\ntrust_first_key = true\n", []string{"2:7 allow_private_addresses"}},
	{"upstream on a private network", "[upstream.\"x.example\"]\nurl = \"http://10.1.2.3\"\ntrust_first_key = true\n", []string{"2:7 allow_private_addresses"}},
	{"namespace of two upstreams", up + "namespaces = [\"wasi\"]\n[upstream.\"y.example\"]\nurl = \"https://y.example\"\ntrust_first_key = true\nnamespaces = [\"a\", \"wasi\"]\n", []string{"8:20 namespace `wasi` belongs to `x.example` already"}},
	{"namespace of ours and theirs", "[authority]\nnamespaces = [\"acme\"]\n" + up + "namespaces = [\"acme\"]\n", []string{"6:15 namespace `acme` belongs to `localhost` already"}},
	{"mode", up + "mode = \"steal\"\n", []string{"4:8 must be one of `pass-through`, `adopt`"}},
	{"adopt nothing", up + "mode = \"adopt\"\n", []string{"4:8 needs namespaces"}},
	{"adopt what is not there", up + "namespaces = [\"a\"]\nadopt = [\"b\"]\n", []string{"5:10 `b` is to be adopted and is not among namespaces"}},
	{"adopt all and some", up + "namespaces = [\"a\"]\nmode = \"adopt\"\nadopt = [\"a\"]\n", []string{"6:1 mode = \"adopt\" adopts all"}},
	{"stale before old", up + "max_age = \"1h\"\nmax_stale = \"1m\"\n", []string{"5:13 max_stale (1m0s) is less than max_age (1h0m0s)"}},
	{"refuse what is never stale", up + "on_stale = \"refuse\"\n", []string{"4:12 needs a max_stale"}},
	{"mirrored package with a bad name", up + "mirror_packages = [\"wasi:http\", \"Wasi\"]\n", []string{"4:33 invalid package name"}},
	{"mirrored package with a bad requirement", up + "mirror_packages = [\"wasi:http@^x.y\"]\n", []string{"4:20 is not a version requirement"}},
	{"token file is missing", up + "token_file = \"no.token\"\n", []string{"4:14 does not exist"}},
	{"proxy that is no URL", up + "http_proxy = \"proxy:3128\"\n", []string{"4:14 is not a URL"}},
	{"too many connections", up + "max_connections = 100000\n", []string{"4:19 from 1 to 1024"}},
	{"bandwidth", up + "max_bandwidth = \"1B\"\n", []string{"4:17 at least 1024 bytes"}},
	{"user without password", "[upstream.\"g.example\"]\nkind = \"oci\"\nurl = \"https://g.example\"\nusername = \"u\"\n", []string{"4:12 needs a password_file"}},
	{"password without user", "[upstream.\"g.example\"]\nkind = \"oci\"\nurl = \"https://g.example\"\npassword_file = \"entrepot.toml\"\n", []string{"4:17 needs a username"}},
	{"two credentials", "[upstream.\"g.example\"]\nkind = \"oci\"\nurl = \"https://g.example\"\ntoken_file = \"entrepot.toml\"\ndocker_config = \"entrepot.toml\"\n", []string{"1:11 more than one of"}},
	{"pattern of repositories", "[upstream.\"g.example\"]\nkind = \"oci\"\nurl = \"https://g.example\"\nallow = [\"a/b**\"]\ndeny = [\"/a\"]\n", []string{"4:10 must stand alone", "5:9 is not a pattern"}},
	{"npm scope", "[upstream.\"n.example\"]\nkind = \"npm\"\nurl = \"https://n.example\"\nnamespaces = [\"acme\"]\n", []string{"4:15 is not an npm scope"}},

	// Other sections.
	{"repository pattern without scheme", "[prefetch]\nallowed_repos = [\"git.example/**\"]\n", []string{"2:18 is not a pattern of URLs"}},
	{"repository pattern for any host", "[prefetch]\nallowed_repos = [\"https://**\"]\n", []string{"2:18 must name a host"}},
	{"unknown package manager", "[prefetch]\nmanagers = [\"cargo\"]\n", []string{"2:13 must be one of"}},
	{"header name", "[prefetch]\nuser_header = \"X Remote\"\n", []string{"2:15 is not the name of a header"}},
	{"bridge", "[bridge]\nyanked = \"show\"\n", []string{"2:10 must be one of `hide`, `warn`"}},
	{"reading that nobody could", "[access]\nread = \"authenticated\"\n", []string{"2:8 needs a users_file or a tokens_file"}},
	{"rule without right", "[[access.rule]]\nwho = [\"a\"]\nrepositories = [\"b\"]\n", []string{"1:10 a rule needs `can`"}},
	{"rule with an unknown right", "[[access.rule]]\nwho = [\"a\"]\nrepositories = [\"b\"]\ncan = [\"pull\", \"own\"]\n", []string{"4:16 must be one of `pull`, `push`, `delete`"}},
	{"pending", "[limits]\npending = 10\npending_per_key = 11\n", []string{"3:19 is more than pending"}},
	{"connections", "[limits]\nconnections = 10\n", []string{"1:2 connections_per_address (1024) is more than connections (10)"}},
}

func TestBadFiles(t *testing.T) {
	for _, test := range badFiles {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, filepath.Join(folder, DefaultFile), test.text)
			_, err := Load(Options{Folder: folder})
			var list *Error
			if !errors.As(err, &list) {
				t.Fatalf("got error %v, want complaints", err)
			}
			if len(list.Problems) != len(test.want) {
				t.Errorf("got %d complaints, want %d:\n%v", len(list.Problems), len(test.want), err)
			}
			for i, p := range list.Problems[:min(len(list.Problems), len(test.want))] {
				at, message, _ := strings.Cut(test.want[i], " ")
				got := fmt.Sprintf("%d:%d", p.Line, p.Column)
				if p.Name != DefaultFile || !strings.HasPrefix(got, at) || (got != at && !strings.HasSuffix(at, ":")) || !strings.Contains(p.Message, message) {
					t.Errorf("complaint %d:\n got %v\nwant %s", i+1, p, test.want[i])
				}
			}
		})
	}
	if len(badFiles) < 50 {
		t.Errorf("only %d bad files", len(badFiles))
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
