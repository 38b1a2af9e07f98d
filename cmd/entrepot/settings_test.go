package main

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/warg/api"
)

// upstreamOf reads the configuration of a person with one upstream.
func upstreamOf(t *testing.T, u *person) config.Upstream {
	t.Helper()
	conf, err := config.Load(config.Options{Folder: u.folder})
	if err != nil {
		t.Fatal(err)
	}
	return conf.Upstreams[0]
}

// Every setting of how an upstream is reached gets to where it acts.
func TestHowUpstreamsAreReached(t *testing.T) {
	u := newPerson(t)
	u.write(t, "token", "  secret\n")
	u.write(t, "entrepot.toml", `[upstream."x.example"]
url = "https://x.example/base"
trust_first_key = true
token_file = "token"
http_proxy = "http://proxy.example:3128"
max_bandwidth = "2MiB"
max_connections = 3
allow_private_addresses = true
`)
	p := u.process(nil, nil)
	if err := os.Chmod(u.path("token"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.clientOptions(upstreamOf(t, u)); exitCode(err) != exitConfig || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a token that others can read: %v", err)
	}
	if err := os.Chmod(u.path("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := p.clientOptions(upstreamOf(t, u))
	if err != nil {
		t.Fatal(err)
	}
	if o.Domain != "x.example" || o.URL != "https://x.example/base" || o.Token != "secret" || o.Proxy.String() != "http://proxy.example:3128" ||
		o.MaxBandwidth != 2<<20 || o.MaxConnections != 3 || !o.AllowPrivateAddresses || o.RootCAs != nil {
		t.Errorf("got %+v", o)
	}
}

// A registry with a certificate of a private authority is reached with ca_file and not
// without.
func TestPrivateAuthority(t *testing.T) {
	up, front := behind(t, "")
	w := newWire(t, up.url, (*httptest.Server).StartTLS)
	front.through(t, up, w.URL)
	if r := front.run(t, "check-config"); r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	front.ok(t, "init", "--config", "own.toml", "--domain", "front.example", "--namespace", "acme")
	if r := front.run(t, "mirror", "sync"); r.code != exitTemporary || len(w.requests("/")) != 0 {
		t.Errorf("without ca_file: %+v", r)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw})
	front.write(t, "ca.pem", string(text))
	front.write(t, "entrepot.toml", front.read(t, "entrepot.toml")+"ca_file = \"ca.pem\"\n")
	front.ok(t, "mirror", "sync")
	if len(w.requests(api.PathCheckpoint)) == 0 {
		t.Error("the registry was not asked")
	}
}

// A proxy is told names that only it can resolve.
func TestThroughAProxy(t *testing.T) {
	up, front := behind(t, "")
	w := newWire(t, up.url, (*httptest.Server).Start)
	front.through(t, up, "http://registry.invalid")
	front.write(t, "entrepot.toml", front.read(t, "entrepot.toml")+fmt.Sprintf("http_proxy = %q\n", w.URL))
	home := front.serve(t)
	newPerson(t).ok(t, "info", "--registry", home.url, "--on-behalf", "up.example", "local:tool")
	if asked := w.requests(api.PathCheckpoint); len(asked) == 0 || asked[0].URL.Host != "registry.invalid" {
		t.Errorf("the proxy was asked for %v", asked)
	}
}

// What is held is served for ever, or not at all beyond max_stale.
func TestStale(t *testing.T) {
	for _, test := range []struct {
		more string
		want int
	}{
		{"", http.StatusOK},
		{"max_stale = \"2ms\"", http.StatusOK},
		{"max_stale = \"2ms\"\non_stale = \"refuse\"", http.StatusServiceUnavailable},
	} {
		t.Run(test.more, func(t *testing.T) {
			up, front := behind(t, test.more)
			front.maxAge(t, "1ms")
			home := front.serve(t)
			ask := func() *http.Response {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, home.url+"/"+api.PathCheckpoint, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set(api.HeaderRegistry, "up.example")
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				return answer
			}
			if a := ask(); a.StatusCode != http.StatusOK && test.want == http.StatusOK {
				t.Fatalf("while upstream is there: %s", a.Status)
			}
			front.ok(t, "mirror", "sync")
			up.end(t)
			var a *http.Response
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
				if a = ask(); a.StatusCode == test.want && a.Header.Get("Age") != "" || test.want != http.StatusOK && a.StatusCode == test.want {
					break
				}
			}
			if a.StatusCode != test.want || (test.want != http.StatusOK) != (a.Header.Get("Retry-After") != "") {
				t.Errorf("got %s, %v", a.Status, a.Header)
			}
		})
	}
}

// An upstream that is offline is never asked.
func TestOfflineUpstream(t *testing.T) {
	up, front := behind(t, `mirror_packages = ["local:tool"]`)
	w := newWire(t, up.url, (*httptest.Server).Start)
	front.through(t, up, w.URL)
	front.maxAge(t, "1ms")
	front.ok(t, "init", "--config", "own.toml", "--domain", "front.example", "--namespace", "acme")
	front.ok(t, "mirror", "sync")
	front.write(t, "entrepot.toml", front.read(t, "entrepot.toml")+"offline = true\n")
	asked := len(w.requests("/"))
	home := front.serve(t)
	v := newPerson(t)
	through := []string{"--registry", home.url, "--on-behalf", "up.example"}
	r := v.run(t, with(through, "download", "local:tool")...)
	if r.code != exitOK || !strings.Contains(r.stderr, "offline") {
		t.Errorf("what is held: %+v", r)
	}
	if r := v.run(t, with(through, "download", "local:other")...); r.code != exitTemporary {
		t.Errorf("what is not held: %+v", r)
	}
	v.ok(t, "key", "new")
	if r := v.run(t, with(through, "publish", "local:mine@1.0.0", "tool.wasm")...); r.code == exitOK {
		t.Errorf("published: %+v", r)
	}
	if n := len(w.requests("/")); n != asked {
		t.Errorf("it was asked %d times", n-asked)
	}
}
