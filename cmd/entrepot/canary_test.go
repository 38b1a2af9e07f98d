package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// canaries are secrets in every form in which they could get somewhere, by what they are.
type canaries map[string][][]byte

func (c canaries) text(name, secret string) { c[name] = append(c[name], []byte(secret)) }

// key plants a private key: its text, its bytes, and their digits.
func (c canaries) key(t *testing.T, name, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, encoded, _ := strings.Cut(strings.TrimSpace(string(text)), ":")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	c[name] = append(c[name], []byte(encoded), raw, []byte(hex.EncodeToString(raw)))
}

// in fails the test for each secret that is in what somebody could see.
func (c canaries) in(t *testing.T, where string, text []byte) {
	t.Helper()
	for name, forms := range c {
		for _, form := range forms {
			if at := bytes.Index(text, form); at >= 0 {
				from, to := max(0, at-80), min(len(text), at+20)
				t.Errorf("%s is in %s: …%q…", name, where, text[from:to])
			}
		}
	}
}

// gossip stands before a registry and, while it is on, tells everybody what it was asked
// with.
type gossip struct {
	*wire
	how atomic.Int32 // 0: it is silent
}

func (g *gossip) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said := r.Header.Get("Authorization")
	switch g.how.Load() {
	case 1: // in an error
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"status":401,"message":"the token %s is not known"}`, said)
	case 2: // as a type
		w.Header().Set("Content-Type", said)
		w.WriteHeader(http.StatusOK)
	case 3: // in an encoding
		w.Header().Set("Content-Encoding", said)
		w.WriteHeader(http.StatusOK)
	case 4: // in a good answer
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"contents":{"logLength":1,"logRoot":%q}}`, said)
	case 5: // it hangs up
		panic(http.ErrAbortHandler)
	default:
		g.wire.ServeHTTP(w, r)
	}
}

// TestNoCanaryEscapes plants a secret wherever there is one, uses the server and the
// command line, lets things go wrong, and looks for the secrets in everything that is
// said, shown, logged or kept, but in the files that they belong to.
func TestNoCanaryEscapes(t *testing.T) {
	c := canaries{}
	up, front := behind(t, "token_file = \"up.token\"\nmirror = \"full\"")
	const token, client = "canary-of-the-upstream-token", "canary-of-the-client"
	c.text("the upstream's token", token)
	c.text("the client's credentials", client)
	front.write(t, "up.token", token+"\n")
	g := &gossip{wire: newWire(t, up.url, (*httptest.Server).Start)}
	teller := httptest.NewServer(g)
	defer teller.Close()
	front.through(t, up, teller.URL)
	front.env = append(front.env, "ENTREPOT_LOG_LEVEL=debug", "ENTREPOT_LOG_FORMAT=json")

	home := front.serve(t)
	c.key(t, "the operator's key", front.path("entrepot-data/operator.key"))
	capability := strings.TrimSpace(front.read(t, "entrepot-data/capability.key"))
	c.text("the key of upload addresses", capability)
	if raw, err := base64.StdEncoding.DecodeString(capability); err == nil {
		c.text("the key of upload addresses", string(raw))
	}
	if raw, err := hex.DecodeString(capability); err == nil {
		c.text("the key of upload addresses", string(raw))
	}
	author := newPerson(t)
	author.ok(t, "key", "new", "--out", "author.key")
	c.key(t, "the author's key", author.path("author.key"))

	seen := map[string][]byte{}
	say := func(u *person, args ...string) {
		r := u.run(t, args...)
		seen["the output of "+strings.Join(args, " ")] = []byte(r.stdout + r.stderr)
	}
	ask := func(method, path, body string) []byte {
		r, err := http.NewRequestWithContext(t.Context(), method, home.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+client)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Warg-Registry", "up.example")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return append(fmt.Appendf(nil, "%d %v\n", answer.StatusCode, answer.Header), text...)
	}

	// Everything goes well.
	author.write(t, "x", string(wargtest.Component("canary")))
	say(author, "publish", "--registry", home.url, "--key", "author.key", "acme:tool@1.0.0", "x", "--json")
	say(author, "publish", "--registry", home.url, "--on-behalf", "up.example", "--key", "author.key", "local:through@1.0.0", "x")
	say(author, "key", "id", "author.key", "--json")
	say(author, "info", "--registry", home.url, "acme:tool")
	say(front, "mirror", "sync")
	say(front, "archive", "export", "--own", "-o", "all.archive", "--json")
	say(front, "namespace", "define", "more", "--json")
	for _, path := range []string{"/", "/openapi.json", "/v1/fetch/checkpoint?token=" + client, "/nothing?" + client, "/v1/content/" + warg.Sum(nil).String()} {
		seen["the answer to "+path] = ask("GET", path, "")
	}

	// An address to upload to is a secret as well, but for whoever gets it.
	p := wargtest.NewPackage("local:waits")
	req := p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", []byte("waits"))))
	status, err := clientOf(t, home.url, "up.example", "up.example").Publish(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	sites := status.Uploads[warg.Sum([]byte("waits"))]
	if len(sites) != 1 {
		t.Fatalf("offered %+v", status)
	}
	c.text("the address of an upload", strings.TrimPrefix(sites[0].URL, "v1/upload/"))
	seen["the answer to wrong bytes"] = ask("POST", "/"+sites[0].URL, "other bytes")
	seen["the answer to a wrong method"] = ask("GET", "/"+sites[0].URL, "")
	seen["the answer to a longer address"] = ask("POST", "/"+sites[0].URL+"/more", "")

	// The other registry tells what it is asked with, in every way that it can.
	for how := int32(1); how <= 5; how++ {
		g.how.Store(how)
		say(front, "mirror", "sync", "--json")
		seen[fmt.Sprintf("the answer while it gossips (%d)", how)] = ask("POST", "/v1/fetch/names", `{"packages":["`+wargtest.NewPackage("local:none").LogID().String()+`"]}`)
		say(author, "publish", "--registry", home.url, "--on-behalf", "up.example", "--key", "author.key", fmt.Sprintf("local:gossip@1.0.%d", how), "x")
		say(front, "mirror", "status", "--json")
	}
	g.how.Store(0)

	for _, path := range []string{"/statusz", "/metrics", "/debug/pprof/cmdline", "/admin/mirrors", "/admin/namespaces", "/debug/pprof/goroutine?debug=2"} {
		seen["the admin's "+path] = adminAnswer(t, front, path)
	}

	// Mistakes with secrets in them.
	bad := newPerson(t)
	bad.write(t, "bad.key", "ecdsa-p256:"+base64.StdEncoding.EncodeToString([]byte(client)))
	say(bad, "key", "id", "bad.key")
	bad.write(t, "entrepot.toml", "[upstream.\"x.example\"]\nurl = \"https://x.example\"\ntrust_first_key = true\nhttp_proxy = \"http://user:"+client+"@pro xy:1\"\n")
	say(bad, "check-config", "--json")
	bad.write(t, "entrepot.toml", "[upstream.\"x.example\"]\nurl = \"https://user:"+client+"@x.example\"\ntrust_first_key = true\n")
	say(bad, "check-config")

	home.end(t)
	say(front, "audit", "verify", "--json")
	seen["the log"] = []byte(home.log.String())
	if !bytes.Contains(seen["the log"], []byte(`"level":"DEBUG"`)) || bytes.Count(seen["the log"], []byte(`"msg":"request"`)) < 20 {
		t.Error("the log does not say everything")
	}
	for where, text := range seen {
		c.in(t, where, text)
	}
	files := c.searchFiles(t, front.folder, "operator.key", "capability.key", "up.token")
	if files < 15 {
		t.Errorf("only %d files were searched", files)
	}
	c.searchFiles(t, author.folder, "author.key")
}

// searchFiles looks into every file below a folder but those that are secrets.
func (c canaries) searchFiles(t *testing.T, folder string, secrets ...string) (n int) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		for _, s := range secrets {
			if d.Name() == s {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		c.in(t, path, text)
		n++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// adminAnswer makes an admin call of a person's server.
func adminAnswer(t *testing.T, u *person, path string) []byte {
	t.Helper()
	conf, err := u.process(nil, nil).config("", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := newAdminClient(adminAddress(conf)).send(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
